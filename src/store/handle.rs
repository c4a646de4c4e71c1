//! The store, held by one process.

use super::backup::Backups;
use super::journal::Journal;
use super::lock::Lock;
use crate::sys::{Dir, Root};

/// The store of one root directory. Holds its lock: no other process can open the same store.
#[derive(Debug)]
pub struct Store<'r> {
    pub(super) root: &'r Root,
    pub(super) dir: Dir,
    pub(super) journal: Journal,
    pub(super) _lock: Lock,
}

impl Store<'_> {
    /// The state directory.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The backups of earlier changes.
    #[must_use]
    pub fn backups(&self) -> Backups {
        Backups::of(&self.dir)
    }
}
