//! Crash-safe replacement of files: stage, check, commit, recover; with a journal, backups and a
//! lock.
//!
//! A change replaces the files of one credential. New files are staged beside their targets under a
//! dot-name, checked there, and renamed into place only after a journal on disk says what is about
//! to happen. Killed at any instruction, every credential on disk is whole after the next
//! [`Store::open`]: a journaled change is finished, an unjournaled one is swept away.
//!
//! What lives here knows files and bytes. It does not know what a certificate is: whether a staged
//! file is right is for the caller's check to say.

mod alarms;
mod aside;
mod backup;
mod commit;
mod copies;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod link;
pub(crate) mod lock;
mod metadata;
mod ours;
mod recover;
mod requests;
mod services;
pub(crate) mod small;
mod stage;
mod state;
mod trust;

use std::ffi::OsStr;
use std::time::Duration;

pub use alarms::{AlarmState, read_alarms, update_alarms};
pub use backup::{Backups, Generation};
pub use commit::{Commit, Outcome};
pub use copies::Lineages;
pub use error::StoreError;
pub use link::NewLink;
pub use ours::not_trusted;
pub use recover::Recovered;
pub use requests::{Pending, pending};
pub use services::{read_services, write_services};
pub use stage::{Backup, Change, Checked, Kind, NewFile, Staged};
pub use state::{State, read_hold, read_last_good, remove_hold, write_hold, write_last_good};

use crate::model::AbsolutePath;
use crate::sys::{Dir, Root};
use journal::Journal;
use lock::Lock;

/// No certificate, key or kubeconfig is larger than this; nothing beyond it is read into memory.
pub const LARGEST_FILE: u64 = 1 << 20;

/// The store of one root folder, held alone: no other process has it while this value lives.
#[derive(Debug)]
pub struct Store<'r> {
    root: &'r Root,
    folder: Dir,
    journal: Journal,
    _lock: Lock,
}

impl<'r> Store<'r> {
    /// Takes the lock, finishes what an earlier process left unfinished, and sweeps away what it
    /// left behind beside `targets`, the files that can be replaced.
    ///
    /// # Errors [`StoreError::Busy`] when another process still has the lock after `wait`;
    /// otherwise when the state folder can't be used or an unfinished change can't be finished.
    pub fn open(
        root: &'r Root,
        state: &AbsolutePath,
        wait: Duration,
        targets: &[AbsolutePath],
    ) -> Result<(Self, Recovered), StoreError> {
        root.create_dir(state)?;
        let folder = root.trusted_dir(state.as_path())?;
        let lock = Lock::take(&folder, wait)?;
        let (journal, mut recovered) = Journal::open(&folder)?;
        let mut store = Self { root, folder, journal, _lock: lock };
        store.recover(targets, &mut recovered)?;
        Ok((store, recovered))
    }

    /// The backups of earlier changes.
    #[must_use]
    pub fn backups(&self) -> Backups {
        Backups::of(&self.folder)
    }
}

/// Whether a change was journaled that is not finished: its files may be half old, half new.
/// Changes nothing, and takes no lock.
#[must_use]
pub fn is_unfinished(root: &Root, state: &AbsolutePath) -> bool {
    root.open_dir(state.as_path()).is_ok_and(|folder| Journal::has_intent(&folder))
}

/// The name under which the backups' folder stands in the state folder.
pub(crate) const BACKUPS: &str = "backups";

/// A staged file's name: hidden, so that no component reads it, and telling its target, so that a
/// sweep finds it.
fn staged_prefix(name: &OsStr) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".kubecertd-");
    prefix
}

#[cfg(test)]
mod tests;
