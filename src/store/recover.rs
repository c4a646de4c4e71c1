//! Recovery after a crash: completes journaled changes and removes other staged files. Where the
//! journal is not followed, they may hold the only copy of a key, and are quarantined.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::StoreError;
use super::files::{digest, staged_prefix, unresolved_place};
use super::journal::{EarlierJournal, Entry};
use super::link::FoundLink;
use super::quarantine::Quarantine;
use super::recovered::Recovered;
use super::trust::KnownTargets;
use crate::model::{AbsolutePath, CredentialName, Digest};
use crate::sys::{Dir, FileError, Root};

/// Completes the journaled changes and removes other staged files beside `targets`. Returns the
/// operations that are still unfinished. Does not write the journal.
pub(super) fn recover(
    root: &Root,
    state: &Dir,
    journal: &EarlierJournal,
    targets: &[AbsolutePath],
    recovered: &mut Recovered,
) -> Result<Vec<Entry>, StoreError> {
    let (intent, refused) = KnownTargets::new(root, targets).split(journal.intent());
    if !refused.is_empty() {
        recovered.notes.extend(refused.iter().map(|why| format!("{why}; it is not used")));
        recovered.notes.extend(journal.keep_copy(state));
    }
    let unfinished = complete(root, &intent, recovered);
    let awaited = unfinished.iter().flat_map(staged_paths).collect();
    let mut left = left_behind(root, targets, &awaited);
    if journal.is_lost() || !refused.is_empty() {
        let mut quarantine = Quarantine::new(state, journal.bytes());
        let mut saved = Vec::new();
        for (dir, name) in left {
            if quarantine.save(&dir, &name)? {
                saved.push((dir, name));
            }
        }
        recovered.notes.extend(quarantine.finish()?);
        left = saved;
    }
    recovered.swept = left.iter().filter(|(dir, name)| dir.remove(name).is_ok()).count();
    Ok(unfinished)
}

/// Completes the changes that may be followed, and returns those that are still unfinished.
fn complete(root: &Root, intent: &[Entry], recovered: &mut Recovered) -> Vec<Entry> {
    let mut changes: BTreeMap<CredentialName, Vec<Entry>> = BTreeMap::new();
    for entry in intent {
        changes.entry(entry.credential().clone()).or_default().push(entry.clone());
    }
    let mut unfinished = Vec::new();
    for (credential, entries) in changes {
        match finish(root, &entries) {
            Ok(true) => recovered.finished.push(credential),
            Ok(false) => recovered.dropped.push(credential),
            Err(e) => {
                recovered.notes.push(format!(
                    "{credential}: its interrupted replacement still can't be completed: {e}"
                ));
                unfinished.extend(entries);
            }
        }
    }
    unfinished
}

/// The state of one file of a journaled change after a crash.
struct FoundFile<'e> {
    dir: Dir,
    name: &'e OsStr,
    staged: &'e OsStr,
    state: TargetState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TargetState {
    /// The target has the new content.
    Done,
    /// The target has the old content, and the staged file is beside it.
    Waiting,
    /// The target has other content, or the staged file is missing.
    Overtaken {
        /// Whether the staged file exists and is complete.
        staged: bool,
    },
}

/// The state of one journaled operation after a crash.
enum FoundEntry<'e> {
    File(FoundFile<'e>),
    Link(FoundLink<'e>),
}

impl FoundEntry<'_> {
    /// Whether the change was visibly begun.
    fn is_begun(&self) -> bool {
        match self {
            Self::File(file) => file.state == TargetState::Done,
            Self::Link(link) => link.leads,
        }
    }

    fn is_overtaken(&self) -> bool {
        match self {
            Self::File(file) => matches!(file.state, TargetState::Overtaken { .. }),
            Self::Link(link) => link.is_overtaken(),
        }
    }

    fn is_possible(&self) -> bool {
        match self {
            Self::File(file) => file.state != TargetState::Overtaken { staged: false },
            Self::Link(link) => link.possible,
        }
    }

    fn settle(&self, finish: bool) -> Result<(), FileError> {
        match self {
            Self::File(file) if finish && file.state != TargetState::Done => {
                file.dir.rename(file.staged, file.name)
            }
            Self::File(file) => file.dir.remove(file.staged),
            Self::Link(link) if finish && !link.is_done() => link.finish(),
            Self::Link(link) => link.undo(),
        }
    }

    fn sync(&self) -> Result<(), FileError> {
        match self {
            Self::File(file) => file.dir.sync(),
            Self::Link(link) => link.dir.sync(),
        }
    }
}

/// Completes the change of one credential. `false` when another program has changed a file and the
/// change is dropped instead.
///
/// A change that was begun is completed: when one file has its new content, the credential is whole
/// only with the new content of the others. A change that was not begun is dropped when a file was
/// overtaken.
fn finish(root: &Root, entries: &[Entry]) -> Result<bool, FileError> {
    let found =
        entries.iter().map(|entry| read_entry(root, entry)).collect::<Result<Vec<_>, _>>()?;
    let begun = found.iter().any(FoundEntry::is_begun);
    let overtaken = found.iter().any(FoundEntry::is_overtaken);
    let finish = found.iter().all(FoundEntry::is_possible) && (begun || !overtaken);
    found.iter().try_for_each(|part| part.settle(finish))?;
    found.iter().try_for_each(FoundEntry::sync)?;
    Ok(finish)
}

fn read_entry<'e>(root: &Root, entry: &'e Entry) -> Result<FoundEntry<'e>, FileError> {
    match entry {
        Entry::Replace { dir, name, staged, old, new, .. } => {
            read_file(root, dir, [name, staged], *old, *new).map(FoundEntry::File)
        }
        Entry::Link { dir, name, staged, file, dated, old, new, .. } => {
            FoundLink::read(root, dir, [name, staged, file, dated], old.as_deref(), *new)
                .map(FoundEntry::Link)
        }
    }
}

fn read_file<'e>(
    root: &Root,
    path: &Path,
    names: [&'e String; 2],
    old: Option<Digest>,
    new: Digest,
) -> Result<FoundFile<'e>, FileError> {
    let dir = root.open_dir(path)?;
    let [name, staged] = names.map(OsStr::new);
    let target = digest(&dir, name)?;
    let waiting = digest(&dir, staged)? == Some(new);
    let state = if target == Some(new) {
        TargetState::Done
    } else if target == old && waiting {
        TargetState::Waiting
    } else {
        TargetState::Overtaken { staged: waiting }
    };
    Ok(FoundFile { dir, name, staged, state })
}

fn staged_paths(entry: &Entry) -> Vec<PathBuf> {
    match entry {
        Entry::Replace { dir, staged, .. } => vec![dir.join(staged)],
        Entry::Link { dir, staged, file, .. } => vec![dir.join(staged), dir.join(file)],
    }
}

/// The staged files beside the targets that the journal does not name. A directory that can't be
/// read is skipped: its staged files do no harm, and the pass reports the error.
fn left_behind(
    root: &Root,
    targets: &[AbsolutePath],
    awaited: &BTreeSet<PathBuf>,
) -> Vec<(Rc<Dir>, OsString)> {
    let mut dirs: BTreeMap<PathBuf, (Rc<Dir>, Vec<OsString>)> = BTreeMap::new();
    let places = targets.iter().flat_map(|target| {
        root.locate(target).ok().into_iter().chain(unresolved_place(root, target))
    });
    for place in places {
        let prefix = staged_prefix(&place.name);
        dirs.entry(place.dir.path().to_owned())
            .or_insert_with(|| (Rc::new(place.dir), Vec::new()))
            .1
            .push(prefix);
    }
    dirs.into_values()
        .flat_map(|(dir, prefixes)| left_behind_in(&dir, &prefixes, awaited))
        .collect()
}

fn left_behind_in(
    dir: &Rc<Dir>,
    prefixes: &[OsString],
    awaited: &BTreeSet<PathBuf>,
) -> Vec<(Rc<Dir>, OsString)> {
    let left_behind = |name: &OsStr| {
        let bytes = name.as_encoded_bytes();
        prefixes.iter().any(|prefix| bytes.starts_with(prefix.as_encoded_bytes()))
            && !awaited.contains(&dir.path().join(name))
    };
    dir.names_matching(left_behind)
        .unwrap_or_default()
        .into_iter()
        .map(|name| (Rc::clone(dir), name))
        .collect()
}
