//! Opening the store.

use std::time::Duration;

use super::error::StoreError;
use super::handle::Store;
use super::journal::Journal;
use super::lock::Lock;
use super::recovered::Recovered;
use crate::model::AbsolutePath;
use crate::sys::Root;

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
        root.create_folder(state)?;
        let folder = root.trusted_folder(state.as_path())?;
        let lock = Lock::take(&folder, wait)?;
        let (journal, mut recovered) = Journal::open(&folder)?;
        let mut store = Self { root, folder, journal, _lock: lock };
        store.recover(targets, &mut recovered)?;
        Ok((store, recovered))
    }
}

/// Whether a change was journaled that is not finished: its files may be half old, half new.
/// Changes nothing, and takes no lock.
#[must_use]
pub fn is_unfinished(root: &Root, state: &AbsolutePath) -> bool {
    root.folder(state.as_path()).is_ok_and(|folder| Journal::has_intent(&folder))
}
