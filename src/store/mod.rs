//! Crash-safe replacement of files: stage, check, commit, recover; with a journal, backups and a
//! lock.
//!
//! A change replaces the files of one credential. New files are staged beside their targets under a
//! dot-name, checked there, and renamed into place only after the change is in the journal on disk.
//! When the process is killed at any instruction, every credential on disk is whole after the next
//! [`Store::open`]: a journaled change is completed, the files of an unjournaled one are removed.
//!
//! The store handles files and bytes, not certificates: the caller checks the content of the staged
//! files.

mod backup;
mod commit;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod link;
pub(crate) mod lock;
mod metadata;
mod quarantine;
mod recover;
mod stage;
mod trust;

use std::ffi::OsStr;
use std::time::Duration;

pub use backup::{Backups, Generation};
pub use commit::{ChangeOutcome, Commit};
pub use error::StoreError;
pub use link::NewLink;
pub use recover::Recovered;
pub use stage::{Backup, Change, Checked, Kind, NewFile, Staged};

use crate::model::AbsolutePath;
use crate::sys::{Dir, Root};
use journal::Journal;
use lock::Lock;

/// The size limit of a certificate, key or kubeconfig in bytes; a larger file is not read.
pub const LARGEST_FILE: u64 = 1 << 20;

/// The store of one root directory. Holds its lock: no other process can open the same store.
#[derive(Debug)]
pub struct Store<'r> {
    root: &'r Root,
    dir: Dir,
    journal: Journal,
    _lock: Lock,
}

impl<'r> Store<'r> {
    /// Takes the lock, completes the changes that an earlier process left unfinished, and removes
    /// its staged files beside `targets`, the files that can be replaced.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another process still has the lock after `wait`; otherwise when
    /// the state directory can't be used.
    pub fn open(
        root: &'r Root,
        state: &AbsolutePath,
        wait: Duration,
        targets: &[AbsolutePath],
    ) -> Result<(Self, Recovered), StoreError> {
        root.create_folder(state)?;
        let dir = root.trusted_folder(state.as_path())?;
        let lock = Lock::take(&dir, wait)?;
        let (journal, mut recovered) = Journal::open(&dir)?;
        let mut store = Self { root, dir, journal, _lock: lock };
        store.recover(targets, &mut recovered)?;
        Ok((store, recovered))
    }

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

/// Whether the journal holds an unfinished change: some of its files may be old, others new.
/// Changes nothing and takes no lock.
#[must_use]
pub fn is_unfinished(root: &Root, state: &AbsolutePath) -> bool {
    root.folder(state.as_path()).is_ok_and(|dir| Journal::has_intent(&dir))
}

/// The directory of backups in the state directory.
pub(crate) const BACKUPS: &str = "backups";

/// The start of a staged file's name: hidden, so that no component reads the file, and with the
/// target's name, so that recovery finds it.
fn staged_prefix(name: &OsStr) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".kubecertd-");
    prefix
}

#[cfg(test)]
mod tests;
