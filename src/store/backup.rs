//! Backups: copies of the files that a change replaced, one directory per pass, with the paths of
//! the originals: `backups/20261121T000000Z/etc/kubernetes/pki/apiserver.crt`. Readable by root
//! alone, whatever the modes of the originals.
//!
//! Files that others can write have a directory of their own, `backups/20261121T000000Z-others`:
//! they can have such files replaced repeatedly, which displaces no backup of root's files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::generation::Generation;
use super::{BACKUPS, LARGEST_FILE, StoreError};
use crate::model::{AbsolutePath, Secret, Timestamp};
use crate::sys::{Dir, FileError, Root, check_root_only, read_regular};

/// The name of an incomplete backup, which is being made or removed.
const INCOMPLETE: &str = ".half";

/// The backups in a state directory. Empty where there is no directory of backups yet.
#[derive(Debug)]
pub struct Backups(Option<Dir>);

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
        self.0.as_ref().and_then(|dir| list(dir).ok()).unwrap_or_default()
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
    let mut dir = backups.open_dir(generation.name())?;
    check_root_only(&dir.examine()?, dir.path())?;
    let (dirs, file_name) = components(path);
    for name in dirs {
        dir = dir.open_dir(name)?;
        check_root_only(&dir.examine()?, dir.path())?;
    }
    Ok((dir.open(file_name)?, dir.path().join(file_name)))
}

/// All backups in a directory, newest first.
fn list(backups: &Dir) -> Result<Vec<Generation>, FileError> {
    let mut found: Vec<_> = backups.names()?.into_iter().filter_map(Generation::parse).collect();
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// A backup that is being made. It gets its name when it is complete and durable.
#[derive(Debug)]
pub(super) struct UnfinishedBackup {
    backups: Dir,
    generation: Dir,
    name: Generation,
    files: Vec<File>,
    dirs: Vec<Dir>,
    seen: BTreeSet<std::path::PathBuf>,
}

impl UnfinishedBackup {
    /// Creates the directory of a backup that will be the newest. `others` says that others than
    /// root can write the files.
    pub(super) fn begin(state: &Dir, now: Timestamp, others: bool) -> Result<Self, StoreError> {
        let backups = state.create_dir(OsStr::new(BACKUPS))?;
        backups.make_private()?;
        // The directory of backups may be new itself.
        state.sync()?;
        remove_all(&backups, OsStr::new(INCOMPLETE))?;
        let name = Generation::next(now, list(&backups)?.first(), others);
        let generation = backups.create_dir(OsStr::new(INCOMPLETE))?;
        // The umask may have left a mode with which the directory can't be used.
        generation.make_private()?;
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

    /// Removes the incomplete backup: it would only take up space.
    pub(super) fn abandon(self) {
        let _ = remove_all(&self.backups, OsStr::new(INCOMPLETE));
    }

    /// Makes all copies durable, gives the backup its name, and returns the name.
    pub(super) fn finish(&self) -> Result<Generation, StoreError> {
        for file in &self.files {
            file.sync_all().map_err(|e| FileError::from_io(self.generation.path(), "sync", e))?;
        }
        for dir in self.dirs.iter().chain([&self.generation]) {
            dir.sync()?;
        }
        self.backups.rename(OsStr::new(INCOMPLETE), self.name.name())?;
        self.backups.sync().inspect_err(|_| {
            // It would be kept instead of an older one that is needed.
            let _ = remove(&self.backups, self.name.name());
        })?;
        Ok(self.name.clone())
    }
}

/// Removes an incomplete backup of a process that was killed. Where that fails, the next backup
/// reports the error.
pub(super) fn remove_incomplete(state: &Dir) {
    let _ = state
        .open_dir(OsStr::new(BACKUPS))
        .and_then(|backups| remove_all(&backups, OsStr::new(INCOMPLETE)));
}

/// Removes all but the newest `keep` backups of root's files, and all but as many of files that
/// others can write; never one that this pass has `made`. The next call retries what can't be
/// removed.
pub(super) fn prune(state: &Dir, keep: usize, made: &[Generation]) -> Result<(), FileError> {
    let backups = state.open_dir(OsStr::new(BACKUPS))?;
    let (others, own): (Vec<_>, Vec<_>) =
        list(&backups)?.into_iter().partition(Generation::is_writable_by_others);
    let old = own.into_iter().skip(keep).chain(others.into_iter().skip(keep));
    for old in old.filter(|one| !made.contains(one)) {
        remove(&backups, old.name())?;
    }
    Ok(())
}

/// Removes a backup. It is renamed first, durably, so that an incomplete one is not used.
fn remove(backups: &Dir, name: &OsStr) -> Result<(), FileError> {
    let incomplete = OsStr::new(INCOMPLETE);
    if backups.stat(name)?.is_none() {
        return Ok(());
    }
    remove_all(backups, incomplete)?;
    backups.rename(name, incomplete)?;
    backups.sync()?;
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

fn components(path: &Path) -> (Vec<&OsStr>, &OsStr) {
    let dirs = path.parent().into_iter().flatten().skip(1).collect();
    (dirs, path.file_name().unwrap_or_default())
}
