//! Copies of the files that a change replaced, one folder a pass, mirroring the paths below it:
//! `backups/20261121T000000Z/etc/kubernetes/pki/apiserver.crt`. Readable by root alone, whatever
//! the originals were.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::{BACKUPS, LARGEST_FILE, StoreError};
use crate::model::{AbsolutePath, Secret, Timestamp};
use crate::sys::{Dir, FileError, Root, check_root_only, read_regular};

/// The name of a backup that is not whole, because it is being made or removed.
const HALF: &str = ".half";

/// The backups in a state folder. A node that never had any has none.
#[derive(Debug)]
pub struct Backups(Option<Dir>);

/// The backup that one pass made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(OsString);

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Backups {
    pub(super) fn of(state: &Dir) -> Self {
        Self(state.open_dir(OsStr::new(BACKUPS)).ok())
    }

    /// The backups below a root folder, for reading, without taking the store's lock.
    #[must_use]
    pub fn look(root: &Root, state: &AbsolutePath) -> Self {
        root.open_dir(state.as_path()).map_or(Self(None), |state| Self::of(&state))
    }

    /// The same, and says when they are there and can't be read.
    ///
    /// # Errors When the folder can't be opened: where something else stands in its place, or a
    /// symlink, which is not followed.
    pub fn open(root: &Root, state: &AbsolutePath) -> Result<Self, FileError> {
        match root.open_dir(state.as_path()).and_then(|state| state.open_dir(OsStr::new(BACKUPS))) {
            Ok(folder) => Ok(Self(Some(folder))),
            Err(e) if e.is_not_found() => Ok(Self(None)),
            Err(e) => Err(e),
        }
    }

    /// All of them, newest first. A folder that can't be read holds none.
    #[must_use]
    pub fn generations(&self) -> Vec<Generation> {
        let names = self.0.as_ref().and_then(|folder| folder.names().ok()).unwrap_or_default();
        let mut generations: Vec<_> =
            names.into_iter().filter(|name| is_stamp(name)).map(Generation).collect();
        generations.sort_by(|a, b| b.cmp(a));
        generations
    }

    /// What a file held before the pass that made this backup. `None` when the pass did not replace
    /// it.
    ///
    /// # Errors When the copy can't be read, or others than root can have written it.
    pub fn read(
        &self,
        generation: &Generation,
        path: &AbsolutePath,
    ) -> Result<Option<Secret>, FileError> {
        let Some(backups) = &self.0 else { return Ok(None) };
        match open_copy(backups, generation, path.as_path()) {
            Ok((file, shown)) => {
                let content = read_regular(file, &shown, LARGEST_FILE)?;
                check_root_only(&content.stat, &shown).map(|()| Some(content.bytes))
            }
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn open_copy(
    backups: &Dir,
    generation: &Generation,
    path: &Path,
) -> Result<(File, std::path::PathBuf), FileError> {
    check_root_only(&backups.examine()?, backups.path())?;
    let mut dir = backups.open_dir(&generation.0)?;
    check_root_only(&dir.examine()?, dir.path())?;
    let (folders, name) = components(path);
    for folder in folders {
        dir = dir.open_dir(folder)?;
        check_root_only(&dir.examine()?, dir.path())?;
    }
    Ok((dir.open(name)?, dir.path().join(name)))
}

/// A backup in the making. It gets its name when it is whole and durable.
#[derive(Debug)]
pub(super) struct Making {
    backups: Dir,
    generation: Dir,
    name: OsString,
    files: Vec<File>,
    folders: Vec<Dir>,
    seen: BTreeSet<std::path::PathBuf>,
}

impl Making {
    /// Makes the folder of this pass's backup.
    pub(super) fn begin(state: &Dir, now: Timestamp) -> Result<Self, StoreError> {
        let backups = state.create_dir(OsStr::new(BACKUPS))?;
        backups.make_private()?;
        // The folder of the backups may be new itself.
        state.sync()?;
        remove_all(&backups, OsStr::new(HALF))?;
        let generation = backups.create_dir(OsStr::new(HALF))?;
        // The umask of whoever started us is not the reason for a folder that we can't use.
        generation.make_private()?;
        let name = next_name(state, now);
        Ok(Self {
            backups,
            generation,
            name,
            files: Vec::new(),
            folders: Vec::new(),
            seen: BTreeSet::new(),
        })
    }

    /// Adds a copy. It is durable only after [`Self::finish`].
    pub(super) fn add(&mut self, path: &AbsolutePath, content: &Secret) -> Result<(), StoreError> {
        if !self.seen.insert(path.as_path().to_owned()) {
            return Ok(());
        }
        let (folders, name) = components(path.as_path());
        let mut made: Vec<Dir> = Vec::new();
        for folder in folders {
            let parent = made.last().unwrap_or(&self.generation);
            let next = parent.create_dir(folder)?;
            made.push(next);
        }
        let parent = made.last().unwrap_or(&self.generation);
        let mut file = parent.create_new(name)?;
        file.write_all(content.expose())
            .map_err(|e| FileError::from_io(parent.path().join(name), "write", e))?;
        self.files.push(file);
        for folder in made {
            if self.seen.insert(folder.path().to_owned()) {
                self.folders.push(folder);
            }
        }
        Ok(())
    }

    /// Removes it again: it would be kept in the place of one that is needed.
    pub(super) fn abandon(self) {
        let _ = remove_all(&self.backups, OsStr::new(HALF));
        let _ = remove(&self.backups, &self.name);
    }

    /// Makes all copies durable, and a backup of them.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        for file in &self.files {
            file.sync_all().map_err(|e| FileError::from_io(self.generation.path(), "sync", e))?;
        }
        for folder in self.folders.iter().chain([&self.generation]) {
            folder.sync()?;
        }
        self.backups.rename(OsStr::new(HALF), &self.name)?;
        Ok(self.backups.sync()?)
    }
}

/// Removes what a process left behind that was killed while it made or removed a backup. What can't
/// be removed is left for the next backup, which says why.
pub(super) fn sweep(state: &Dir) {
    let _ = state
        .open_dir(OsStr::new(BACKUPS))
        .and_then(|backups| remove_all(&backups, OsStr::new(HALF)));
}

/// Removes all but the newest `keep` backups. What can't be removed is left for the next time.
pub(super) fn prune(state: &Dir, keep: usize) -> Result<(), FileError> {
    let backups = state.open_dir(OsStr::new(BACKUPS))?;
    for old in Backups::of(state).generations().into_iter().skip(keep) {
        remove(&backups, &old.0)?;
    }
    Ok(())
}

/// Removes a backup. Half removed it is no backup any more.
fn remove(backups: &Dir, name: &OsStr) -> Result<(), FileError> {
    let half = OsStr::new(HALF);
    if backups.stat(name)?.is_none() {
        return Ok(());
    }
    remove_all(backups, half)?;
    backups.rename(name, half)?;
    remove_all(backups, half)
}

/// Removes a folder and what is in it. Nothing there is fine.
fn remove_all(parent: &Dir, name: &OsStr) -> Result<(), FileError> {
    let dir = match parent.open_dir(name) {
        Err(e) if e.is_not_found() => return Ok(()),
        dir => dir?,
    };
    for entry in dir.names()? {
        match dir.open_dir(&entry) {
            Ok(_) => remove_all(&dir, &entry)?,
            Err(_) => dir.remove(&entry)?,
        }
    }
    parent.remove_dir(name)
}

/// `20261121T000000Z`, or with a counter behind it, one past the newest, where a pass in the same
/// second made one already.
fn next_name(state: &Dir, now: Timestamp) -> OsString {
    let stamp = now.civil().strftime("%Y%m%dT%H%M%SZ").to_string();
    let newest = Backups::of(state)
        .generations()
        .into_iter()
        .find(|made| made.0.as_encoded_bytes().starts_with(stamp.as_bytes()));
    let Some(newest) = newest else { return stamp.into() };
    let count = newest
        .to_string()
        .rsplit_once('-')
        .and_then(|(_, count)| count.parse::<u32>().ok())
        .unwrap_or(0);
    format!("{stamp}-{:04}", count + 1).into()
}

fn is_stamp(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..8) && bytes.get(8) == Some(&b'T') && digits(9..15) && bytes.get(15) == Some(&b'Z')
}

fn components(path: &Path) -> (Vec<&OsStr>, &OsStr) {
    let folders = path.parent().into_iter().flatten().skip(1).collect();
    (folders, path.file_name().unwrap_or_default())
}
