//! The store itself, held alone.

use super::backup::Backups;
use super::journal::Journal;
use super::lock::Lock;
use crate::sys::{Dir, Root};

/// The store of one root folder, held alone: no other process has it while this value lives.
#[derive(Debug)]
pub struct Store<'r> {
    pub(super) root: &'r Root,
    pub(super) folder: Dir,
    pub(super) journal: Journal,
    pub(super) _lock: Lock,
}

impl<'r> Store<'r> {
    /// The backups of earlier changes.
    #[must_use]
    pub fn backups(&self) -> Backups {
        Backups::of(&self.folder)
    }
}
