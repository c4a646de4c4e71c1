//! The directories that are kept open while a node is observed.
//!
//! A walk opens and examines every directory on its way, and an observation walks through the same
//! few directories for each file. A directory is kept if only root can write it and everything
//! above it: no other user can put another one in its place before the next walk. In every other
//! directory, each walk looks anew.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::stat::FileStat;

use super::Dir;

/// The number of directories that are kept: each takes a descriptor.
const MAX_KEPT: usize = 64;

/// An open directory, and its metadata when it was opened.
#[derive(Clone, Debug)]
pub(super) struct ExaminedDir {
    pub(super) dir: Dir,
    pub(super) stat: FileStat,
}

/// The directories that are kept, by their paths without symlinks.
#[derive(Debug)]
pub(super) struct KeptDirs {
    top: Option<Dir>,
    dirs: Mutex<HashMap<OsString, ExaminedDir>>,
}

impl KeptDirs {
    /// Begins with the root directory.
    pub(super) fn new(top: Option<Dir>) -> Self {
        Self { top, dirs: Mutex::default() }
    }

    /// The root directory.
    pub(super) fn top(&self) -> Option<Dir> {
        self.top.clone()
    }

    /// The directory with this path.
    pub(super) fn get(&self, path: &Path) -> Option<ExaminedDir> {
        self.dirs().get(path.as_os_str()).cloned()
    }

    /// Keeps a directory that only root can write, and to which only such directories lead.
    pub(super) fn keep(&self, dir: &ExaminedDir) {
        let mut dirs = self.dirs();
        if dirs.len() < MAX_KEPT {
            dirs.insert(dir.dir.path().as_os_str().to_owned(), dir.clone());
        }
    }

    /// A thread that panicked left the map whole.
    fn dirs(&self) -> MutexGuard<'_, HashMap<OsString, ExaminedDir>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::sys::Root;

    use super::*;

    #[test]
    fn kept_directories_are_limited() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap().keeping_dirs();
        for number in 0..MAX_KEPT + 9 {
            let dir = format!("dir{number}");
            std::fs::create_dir(disk.path().join(&dir)).unwrap();
            root.open_dir(&Path::new("/").join(dir)).unwrap();
        }
        assert_eq!(root.kept.unwrap().dirs().len(), MAX_KEPT);
    }
}
