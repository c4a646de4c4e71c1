//! Backups: copies of the files that a change replaced, one directory per pass, with the paths of
//! the originals: `backups/20261121T000000Z/etc/kubernetes/pki/apiserver.crt`. Readable by root
//! alone, whatever the modes of the originals.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::{BACKUPS, LARGEST_FILE, StoreError};
use crate::model::{AbsolutePath, Secret, Timestamp};
use crate::sys::{Dir, FileError, Root, check_root_only, read_regular};

/// The name of an incomplete backup, which is being made or removed.
const INCOMPLETE: &str = ".half";

/// The backups in a state directory. Empty where there is no directory of backups yet.
#[derive(Debug)]
pub struct Backups(Option<Dir>);

/// The backup of one pass.
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

    /// Opens the backups below a root directory for reading, without the store's lock. Empty where
    /// they can't be opened.
    #[must_use]
    pub fn open_or_empty(root: &Root, state: &AbsolutePath) -> Self {
        root.open_dir(state.as_path()).map_or(Self(None), |state| Self::of(&state))
    }

    /// Opens the backups below a root directory for reading, without the store's lock.
    ///
    /// # Errors
    /// When the directory exists and can't be opened, for example because it is a symlink, which is
    /// not followed.
    pub fn open(root: &Root, state: &AbsolutePath) -> Result<Self, FileError> {
        match root.open_dir(state.as_path()).and_then(|state| state.open_dir(OsStr::new(BACKUPS))) {
            Ok(dir) => Ok(Self(Some(dir))),
            Err(e) if e.is_not_found() => Ok(Self(None)),
            Err(e) => Err(e),
        }
    }

    /// All backups, newest first. Empty where the directory can't be read.
    #[must_use]
    pub fn generations(&self) -> Vec<Generation> {
        let names = self.0.as_ref().and_then(|dir| dir.names().ok()).unwrap_or_default();
        let mut generations: Vec<_> =
            names.into_iter().filter(|name| is_stamp(name)).map(Generation).collect();
        generations.sort_by(|a, b| b.cmp(a));
        generations
    }

    /// Reads the content of a file before the pass that made this backup. `None` when the pass did
    /// not replace the file.
    ///
    /// # Errors
    /// When the copy can't be read, or others than root can have written it.
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
    let (dirs, file_name) = components(path);
    for name in dirs {
        dir = dir.open_dir(name)?;
        check_root_only(&dir.examine()?, dir.path())?;
    }
    Ok((dir.open(file_name)?, dir.path().join(file_name)))
}

/// A backup that is being made. It gets its name when it is complete and durable.
#[derive(Debug)]
pub(super) struct UnfinishedBackup {
    backups: Dir,
    generation: Dir,
    name: OsString,
    files: Vec<File>,
    dirs: Vec<Dir>,
    seen: BTreeSet<std::path::PathBuf>,
}

impl UnfinishedBackup {
    /// Creates the directory of this pass's backup.
    pub(super) fn begin(state: &Dir, now: Timestamp) -> Result<Self, StoreError> {
        let backups = state.create_dir(OsStr::new(BACKUPS))?;
        backups.make_private()?;
        // The directory of backups may be new itself.
        state.sync()?;
        remove_all(&backups, OsStr::new(INCOMPLETE))?;
        let generation = backups.create_dir(OsStr::new(INCOMPLETE))?;
        // The umask may have left a mode with which the directory can't be used.
        generation.make_private()?;
        let name = next_name(state, now);
        Ok(Self {
            backups,
            generation,
            name,
            files: Vec::new(),
            dirs: Vec::new(),
            seen: BTreeSet::new(),
        })
    }

    /// Adds a copy of a file. It is durable only after [`Self::finish`].
    pub(super) fn add(&mut self, path: &AbsolutePath, content: &Secret) -> Result<(), StoreError> {
        if !self.seen.insert(path.as_path().to_owned()) {
            return Ok(());
        }
        let (dirs, file_name) = components(path.as_path());
        let mut made: Vec<Dir> = Vec::new();
        for name in dirs {
            let parent = made.last().unwrap_or(&self.generation);
            let next = parent.create_dir(name)?;
            made.push(next);
        }
        let parent = made.last().unwrap_or(&self.generation);
        let mut file = parent.create_new(file_name)?;
        file.write_all(content.expose())
            .map_err(|e| FileError::from_io(parent.path().join(file_name), "write", e))?;
        self.files.push(file);
        for dir in made {
            if self.seen.insert(dir.path().to_owned()) {
                self.dirs.push(dir);
            }
        }
        Ok(())
    }

    /// Removes the backup: it would be kept instead of an older one that is needed.
    pub(super) fn abandon(self) {
        let _ = remove_all(&self.backups, OsStr::new(INCOMPLETE));
        let _ = remove(&self.backups, &self.name);
    }

    /// Makes all copies durable and gives the backup its name.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        for file in &self.files {
            file.sync_all().map_err(|e| FileError::from_io(self.generation.path(), "sync", e))?;
        }
        for dir in self.dirs.iter().chain([&self.generation]) {
            dir.sync()?;
        }
        self.backups.rename(OsStr::new(INCOMPLETE), &self.name)?;
        Ok(self.backups.sync()?)
    }
}

/// Removes an incomplete backup of a process that was killed. Where that fails, the next backup
/// reports the error.
pub(super) fn remove_incomplete(state: &Dir) {
    let _ = state
        .open_dir(OsStr::new(BACKUPS))
        .and_then(|backups| remove_all(&backups, OsStr::new(INCOMPLETE)));
}

/// Removes all but the newest `keep` backups. The next call retries what can't be removed.
pub(super) fn prune(state: &Dir, keep: usize) -> Result<(), FileError> {
    let backups = state.open_dir(OsStr::new(BACKUPS))?;
    for old in Backups::of(state).generations().into_iter().skip(keep) {
        remove(&backups, &old.0)?;
    }
    Ok(())
}

/// Removes a backup. It is renamed first, so that an incomplete one is not used.
fn remove(backups: &Dir, name: &OsStr) -> Result<(), FileError> {
    let incomplete = OsStr::new(INCOMPLETE);
    if backups.stat(name)?.is_none() {
        return Ok(());
    }
    remove_all(backups, incomplete)?;
    backups.rename(name, incomplete)?;
    remove_all(backups, incomplete)
}

/// Removes a directory and its content. Succeeds where it does not exist.
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

/// The name of a new backup: `20261121T000000Z`, with the next counter appended where a pass in the
/// same second has made a backup already.
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
    let dirs = path.parent().into_iter().flatten().skip(1).collect();
    (dirs, path.file_name().unwrap_or_default())
}
