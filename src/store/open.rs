//! Opening the store.

use std::time::Duration;

use super::backup::remove_incomplete;
use super::error::StoreError;
use super::handle::Store;
use super::journal::{EarlierJournal, Journal};
use super::lock::Lock;
use super::recover::recover;
use super::recovered::Recovered;
use crate::model::AbsolutePath;
use crate::sys::Root;

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
        root.create_dir(state)?;
        let dir = root.trusted_dir(state.as_path())?;
        let lock = Lock::take(&dir, wait)?;
        let earlier = EarlierJournal::read(&dir)?;
        let mut recovered = Recovered::default();
        let unfinished = recover(root, &dir, &earlier, targets, &mut recovered)?;
        let (journal, note) = earlier.take_over(&dir, unfinished)?;
        recovered.notes.splice(0..0, note);
        remove_incomplete(&dir);
        Ok((Self { root, dir, journal, _lock: lock }, recovered))
    }
}

/// Whether the journal holds an unfinished change: some of its files may be old, others new.
/// Changes nothing and takes no lock.
#[must_use]
pub fn is_unfinished(root: &Root, state: &AbsolutePath) -> bool {
    root.open_dir(state.as_path()).is_ok_and(|dir| Journal::has_intent(&dir))
}
