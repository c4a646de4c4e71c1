//! After a crash: what was journaled is finished, what was not is swept away.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::aside;
use super::journal::Entry;
use super::link::FoundLink;
use super::trust::Known;
use super::{LARGEST_FILE, Store, StoreError, staged_prefix};
use crate::model::{AbsolutePath, CredentialName, Digest};
use crate::sys::{Dir, FileError, Place, Root, read_regular};

/// What was found and done at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Credentials whose replacement was begun by an earlier process and is finished now.
    pub finished: Vec<CredentialName>,
    /// Credentials whose replacement was journaled, but which somebody else has changed since: left
    /// as they are.
    pub dropped: Vec<CredentialName>,
    /// How many staged files that nobody waits for were removed.
    pub swept: usize,
    /// What an operator should know.
    pub notes: Vec<String>,
}

impl Store<'_> {
    /// Finishes what is in the journal, and sweeps away other staged files beside `targets`.
    pub(super) fn recover(
        &mut self,
        targets: &[AbsolutePath],
        recovered: &mut Recovered,
    ) -> Result<(), StoreError> {
        let journaled = self.journal.intent().to_vec();
        let (intent, refused) = Known::new(self.root, targets).split(journaled.clone());
        let doubt = self.journal.was_lost() || !refused.is_empty();
        if !refused.is_empty() {
            recovered.notes.extend(refused.iter().map(|why| format!("{why}; it is not followed")));
            recovered.notes.extend(self.journal.keep_copy(&self.folder));
        }
        let mut changes: BTreeMap<CredentialName, Vec<Entry>> = BTreeMap::new();
        for entry in &intent {
            changes.entry(entry.credential().clone()).or_default().push(entry.clone());
        }
        let mut unfinished = Vec::new();
        for (credential, entries) in changes {
            match finish(self.root, &entries) {
                Ok(true) => recovered.finished.push(credential),
                Ok(false) => recovered.dropped.push(credential),
                Err(e) => {
                    recovered.notes.push(format!(
                        "{credential}: its replacement was begun earlier \
                        and still can't be finished: {e}"
                    ));
                    unfinished.extend(entries);
                }
            }
        }
        let awaited = unfinished.iter().flat_map(staged_paths).collect();
        let left = left_behind(self.root, targets, &awaited);
        if doubt && !left.is_empty() {
            recovered.notes.push(format!(
                "{} staged files that the journal may have been about are kept in {}: they may \
                 hold a key; remove them when all is well",
                left.len(),
                self.folder.path().join(aside::FOLDER).display()
            ));
            left.iter().for_each(|(dir, name)| aside::keep_staged(dir, name, &self.folder));
        }
        recovered.swept = left.iter().filter(|(dir, name)| dir.remove(name).is_ok()).count();
        if !journaled.is_empty() || self.journal.was_lost() {
            self.journal.write(unfinished)?;
        }
        super::backup::sweep(&self.folder);
        Ok(())
    }
}

/// One file of a journaled change, as it is found.
struct Found<'e> {
    dir: Dir,
    name: &'e OsStr,
    staged: &'e OsStr,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The target holds the new content.
    Done,
    /// The target is still the old one, and the staged file waits beside it.
    Waiting,
    /// The target is neither, or there is nothing to put in its place.
    Overtaken {
        /// Whether the staged file is there and whole.
        staged: bool,
    },
}

/// What of a journaled change there is to be found.
enum Part<'e> {
    File(Found<'e>),
    Link(FoundLink<'e>),
}

impl Part<'_> {
    /// Whether it is seen that the change was begun.
    fn is_begun(&self) -> bool {
        match self {
            Self::File(file) => file.state == State::Done,
            Self::Link(link) => link.leads,
        }
    }

    fn is_overtaken(&self) -> bool {
        match self {
            Self::File(file) => matches!(file.state, State::Overtaken { .. }),
            Self::Link(link) => link.is_overtaken(),
        }
    }

    fn is_possible(&self) -> bool {
        match self {
            Self::File(file) => file.state != State::Overtaken { staged: false },
            Self::Link(link) => link.possible,
        }
    }

    fn settle(&self, finish: bool) -> Result<(), FileError> {
        match self {
            Self::File(file) if finish && file.state != State::Done => {
                file.dir.rename(file.staged, file.name)
            }
            Self::File(file) => file.dir.remove(file.staged),
            Self::Link(link) if finish && !link.is_done() => link.finish(),
            Self::Link(link) => link.give_up(),
        }
    }

    fn sync(&self) -> Result<(), FileError> {
        match self {
            Self::File(file) => file.dir.sync(),
            Self::Link(link) => link.dir.sync(),
        }
    }
}

/// Finishes the change of one credential. `false` when somebody else was faster and it is dropped
/// instead.
///
/// Begun means finished: as soon as one file has its new content, only the others' new content
/// makes the credential whole, whatever they hold now. Not begun and overtaken means dropped.
fn finish(root: &Root, entries: &[Entry]) -> Result<bool, FileError> {
    let found = entries.iter().map(|entry| look(root, entry)).collect::<Result<Vec<_>, _>>()?;
    let begun = found.iter().any(Part::is_begun);
    let overtaken = found.iter().any(Part::is_overtaken);
    let finish = found.iter().all(Part::is_possible) && (begun || !overtaken);
    found.iter().try_for_each(|part| part.settle(finish))?;
    found.iter().try_for_each(Part::sync)?;
    Ok(finish)
}

fn look<'e>(root: &Root, entry: &'e Entry) -> Result<Part<'e>, FileError> {
    match entry {
        Entry::Replace { folder, name, staged, old, new, .. } => {
            look_at_file(root, folder, [name, staged], *old, *new).map(Part::File)
        }
        Entry::Link { folder, name, staged, file, dated, old, new, .. } => {
            FoundLink::look(root, folder, [name, staged, file, dated], old.as_deref(), *new)
                .map(Part::Link)
        }
    }
}

fn look_at_file<'e>(
    root: &Root,
    folder: &Path,
    names: [&'e String; 2],
    old: Option<Digest>,
    new: Digest,
) -> Result<Found<'e>, FileError> {
    let dir = root.open_dir(folder)?;
    let [name, staged] = names.map(OsStr::new);
    let target = digest(&dir, name)?;
    let waiting = digest(&dir, staged)? == Some(new);
    let state = if target == Some(new) {
        State::Done
    } else if target == old && waiting {
        State::Waiting
    } else {
        State::Overtaken { staged: waiting }
    };
    Ok(Found { dir, name, staged, state })
}

pub(super) fn digest(dir: &Dir, name: &OsStr) -> Result<Option<Digest>, FileError> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    read_regular(file, &dir.path().join(name), LARGEST_FILE)
        .map(|content| Some(Digest::of(content.bytes.expose())))
}

fn staged_paths(entry: &Entry) -> Vec<PathBuf> {
    match entry {
        Entry::Replace { folder, staged, .. } => vec![folder.join(staged)],
        Entry::Link { folder, staged, file, .. } => vec![folder.join(staged), folder.join(file)],
    }
}

/// The staged files beside the targets that no journal waits for. What can't be looked at is left:
/// it harms nobody, and the pass that meets the same file says what is wrong with it.
fn left_behind(
    root: &Root,
    targets: &[AbsolutePath],
    awaited: &BTreeSet<PathBuf>,
) -> Vec<(Rc<Dir>, OsString)> {
    let mut folders: BTreeMap<PathBuf, (Rc<Dir>, Vec<OsString>)> = BTreeMap::new();
    let places = targets
        .iter()
        .flat_map(|target| root.locate(target).ok().into_iter().chain(own_place(root, target)));
    for place in places {
        let prefix = staged_prefix(&place.name);
        folders
            .entry(place.dir.path().to_owned())
            .or_insert_with(|| (Rc::new(place.dir), Vec::new()))
            .1
            .push(prefix);
    }
    folders
        .into_values()
        .flat_map(|(dir, prefixes)| left_behind_in(&dir, &prefixes, awaited))
        .collect()
}

/// Where the name itself stands, be it a symlink.
pub(super) fn own_place(root: &Root, target: &AbsolutePath) -> Option<Place> {
    let (folder, name) = (target.as_path().parent()?, target.as_path().file_name()?);
    Some(Place { dir: root.open_dir(folder).ok()?, name: name.to_owned() })
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
