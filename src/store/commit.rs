//! Commits checked changes: sync, back up, journal, rename, sync, clear the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::backup::{UnfinishedBackup, prune};
use super::generation::Generation;
use super::journal::{Entry, Journal, MAX_INTENT_SIZE};
use super::link::StagedLink;
use super::stage::StagedFile;
use super::{Backup, Checked, Kind, LARGEST_FILE, Store, StoreError};
use crate::model::{CredentialName, Secret, Timestamp};
use crate::sys::{Dir, FileError, Identity, read_regular};

/// The result of a commit.
#[derive(Debug, Default)]
pub struct Commit {
    /// One outcome per change.
    pub outcomes: Vec<ChangeOutcome>,
    /// The backups that were made: one of root's files, and one of files that others can write.
    pub backups: Vec<Generation>,
    /// Notes for an operator that are not failures of a change: a backup could not be made or
    /// removed.
    pub notes: Vec<String>,
}

/// The result of one change.
#[derive(Debug)]
pub struct ChangeOutcome {
    /// The credential that the files belong to.
    pub credential: CredentialName,
    /// Whether the files are replaced.
    pub result: Result<(), StoreError>,
}

/// A change whose new files are durable, and the old content of each.
type Settled = (Checked, Vec<Option<Secret>>);

impl Store<'_> {
    /// Replaces the files of all changes, each change completely or not at all. A change that fails
    /// does not prevent the others.
    pub fn commit(&mut self, changes: Vec<Checked>, now: Timestamp, keep_backups: usize) -> Commit {
        let mut commit = Commit::default();
        let ready = self.prepare(changes, now, &mut commit);
        for batch in batches(ready) {
            self.replace(batch, &mut commit);
        }
        if let Err(e) = prune(&self.dir, keep_backups, &commit.backups)
            && !e.is_not_found()
        {
            commit.notes.push(format!("an old backup could not be removed: {e}"));
        }
        commit
    }

    /// Takes the steps that can still fail without harm: makes new files durable, checks the
    /// targets again, backs up old files.
    fn prepare(&self, changes: Vec<Checked>, now: Timestamp, commit: &mut Commit) -> Vec<Checked> {
        let mut ready = Vec::new();
        let mut synced = BTreeSet::new();
        for change in changes {
            match settle(&change, &mut synced) {
                Ok(old) => ready.push((change, old)),
                Err(e) => commit
                    .outcomes
                    .push(ChangeOutcome { credential: change.credential.clone(), result: Err(e) }),
            }
        }
        let (others, own) = ready.into_iter().partition(|(change, _)| change.writable_by_others);
        let mut prepared = self.back_up_or_refuse(own, now, commit);
        prepared.extend(self.back_up_or_refuse(others, now, commit));
        prepared
    }

    /// Backs up the old files of changes, and returns those that may be made.
    fn back_up_or_refuse(
        &self,
        ready: Vec<Settled>,
        now: Timestamp,
        commit: &mut Commit,
    ) -> Vec<Checked> {
        let made = self.back_up(&ready, now);
        let changes = ready.into_iter().map(|(change, _)| change).collect();
        match made {
            Ok(made) => {
                commit.backups.extend(made);
                changes
            }
            Err(e) => without_backup(changes, e, commit),
        }
    }

    fn back_up(&self, ready: &[Settled], now: Timestamp) -> Result<Option<Generation>, StoreError> {
        let others = ready.iter().any(|(change, _)| change.writable_by_others);
        let backed_up = ready.iter().filter(|(change, _)| change.backup != Backup::Unwanted);
        let files = backed_up.flat_map(|(change, contents)| change.files.iter().zip(contents));
        let files = files.filter(|(file, _)| file.kind != Kind::AuthorityKey);
        let mut copies =
            files.filter_map(|(file, content)| Some((&file.target, content.as_ref()?))).peekable();
        if copies.peek().is_none() {
            // An empty backup would replace an older one that is needed.
            return Ok(None);
        }
        let mut making = UnfinishedBackup::begin(&self.dir, now, others)?;
        let made = copies
            .try_for_each(|(path, content)| making.add(path, content))
            .and_then(|()| making.finish());
        if made.is_err() {
            making.abandon();
        }
        made.map(Some)
    }

    /// Journals and makes the renames. Once the journal is written, they are completed, now or at
    /// the next start.
    fn replace(&mut self, mut batch: Vec<Checked>, commit: &mut Commit) {
        let touched: BTreeSet<_> = batch.iter().map(|change| change.credential.clone()).collect();
        // A change that an earlier pass could not complete stays journaled, unless this commit
        // replaces it.
        let left: Vec<_> = self
            .journal
            .intent()
            .iter()
            .filter(|entry| !touched.contains(entry.credential()))
            .cloned()
            .collect();
        let intent = left.iter().cloned().chain(batch.iter().flat_map(entries)).collect();
        if let Err(e) = self.journal.write(intent) {
            // The journal may be on the disk in spite of the error. Then the next start completes
            // the change and needs the staged files, unless the earlier journal can be written
            // again.
            let keep = self.journal.write(left).is_err();
            batch.iter_mut().for_each(|change| change.keep_staged(keep));
            let error = Arc::new(e);
            let failed = |change: Checked| ChangeOutcome {
                credential: change.credential.clone(),
                result: Err(StoreError::Journal(Arc::clone(&error))),
            };
            commit.outcomes.extend(batch.into_iter().map(failed));
            return;
        }
        let mut results: Vec<_> = batch.iter().map(rename).collect();
        sync_dirs(&batch, &mut results);
        let mut unfinished = BTreeSet::new();
        for (mut change, (begun, result)) in batch.into_iter().zip(results) {
            if result.is_err() && begun {
                unfinished.insert(change.credential.clone());
            }
            change.keep_staged(begun);
            commit.outcomes.push(ChangeOutcome { credential: change.credential.clone(), result });
        }
        let still_to_do = |entry: &&Entry| {
            !touched.contains(entry.credential()) || unfinished.contains(entry.credential())
        };
        let left = self.journal.intent().iter().filter(still_to_do).cloned().collect();
        if let Err(e) = self.journal.write(left) {
            commit.notes.push(format!(
                "the journal could not be cleared, which does no harm; the \
                next start clears it: {e}"
            ));
        }
    }
}

/// Makes the staged files durable and reads the old ones. Fails if an old file has changed since
/// the change was decided.
fn settle(
    change: &Checked,
    synced: &mut BTreeSet<Identity>,
) -> Result<Vec<Option<Secret>>, StoreError> {
    change
        .link
        .iter()
        .try_for_each(|link| link.settle().and_then(|()| Ok(sync_once(&link.dir, synced)?)))?;
    change.files.iter().map(|file| settle_file(file, synced)).collect()
}

fn settle_file(
    staged: &StagedFile,
    synced: &mut BTreeSet<Identity>,
) -> Result<Option<Secret>, StoreError> {
    let path = staged.place.path();
    staged
        .file
        .sync_all()
        .map_err(|e| FileError::from_io(staged.place.dir.path().join(&staged.name), "sync", e))?;
    // The staged name must be durable too: after a power loss between the renames, the next start
    // needs the other staged files.
    sync_once(&staged.place.dir, synced)?;
    let old = match staged.place.dir.open(&staged.place.name) {
        Ok(file) => Some(read_regular(file, &path, LARGEST_FILE)?.bytes),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(e.into()),
    };
    let digest = old.as_ref().map(|bytes| crate::model::Digest::of(bytes.expose()));
    if digest == staged.old { Ok(old) } else { Err(StoreError::Changed(path)) }
}

fn without_backup(changes: Vec<Checked>, error: StoreError, commit: &mut Commit) -> Vec<Checked> {
    let (wanted, required): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.backup != Backup::Required);
    if wanted.iter().any(|change| change.backup == Backup::Wanted) {
        commit.notes.push(format!(
            "no backup could be made; urgent and expired credentials are renewed without one: \
             {error}"
        ));
    }
    let error = Arc::new(error);
    let failed = |change: Checked| ChangeOutcome {
        credential: change.credential.clone(),
        result: Err(StoreError::Backup(Arc::clone(&error))),
    };
    commit.outcomes.extend(required.into_iter().map(failed));
    wanted
}

/// Whether a file of a change was renamed, and whether all files were.
type Renamed = (bool, Result<(), StoreError>);

/// Swaps the link of a change and renames all its files.
fn rename(change: &Checked) -> Renamed {
    if let Some(Err(source)) = change.link.as_ref().map(StagedLink::swap) {
        return (false, Err(source.into()));
    }
    let mut begun = change.link.is_some();
    for file in &change.files {
        if let Err(source) = file.place.dir.rename(&file.name, &file.place.name) {
            return (
                begun,
                Err(if begun { StoreError::Unfinished { source } } else { source.into() }),
            );
        }
        begun = true;
    }
    (begun, Ok(()))
}

/// Makes the new names durable, each directory once. A change stays in the journal where that
/// fails.
fn sync_dirs(batch: &[Checked], results: &mut [Renamed]) {
    let mut synced = BTreeSet::new();
    for (change, (_, result)) in batch.iter().zip(results).filter(|(_, (begun, _))| *begun) {
        for dir in change
            .link
            .iter()
            .map(|link| &link.dir)
            .chain(change.files.iter().map(|file| &file.place.dir))
        {
            if let Err(source) = sync_once(dir, &mut synced)
                && result.is_ok()
            {
                *result = Err(StoreError::Unfinished { source });
            }
        }
    }
}

/// Syncs a directory unless it is synced already. Where that fails, the next change in the same
/// directory tries again, because it has to report the error too.
fn sync_once(dir: &Dir, synced: &mut BTreeSet<Identity>) -> Result<(), FileError> {
    let identity = dir.identity()?;
    if !synced.contains(&identity) {
        dir.sync()?;
        synced.insert(identity);
    }
    Ok(())
}

/// Splits changes into as many journals as they need. The built-in credentials of a node need one.
fn batches(changes: Vec<Checked>) -> Vec<Vec<Checked>> {
    let mut batches: Vec<Vec<Checked>> = Vec::new();
    let mut used = 0;
    for change in changes {
        let size = Journal::size(&entries(&change));
        match batches.last_mut() {
            Some(batch) if used + size <= MAX_INTENT_SIZE => {
                used += size;
                batch.push(change);
            }
            _ => {
                used = size;
                batches.push(vec![change]);
            }
        }
    }
    batches
}

pub(super) fn entries(change: &Checked) -> Vec<Entry> {
    let link = change.link.iter().map(|link| link.entry(&change.credential));
    link.chain(change.files.iter().map(|file| entry(&change.credential, file))).collect()
}

fn entry(credential: &CredentialName, file: &StagedFile) -> Entry {
    // Staging refused names that are not UTF-8.
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Entry::Replace {
        credential: credential.clone(),
        dir: file.place.dir.path().to_owned(),
        name: text(&file.place.name),
        staged: text(&file.name),
        old: file.old,
        new: file.new,
    }
}
