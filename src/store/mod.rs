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
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod handle;
mod journal;
mod link;
pub(crate) mod lock;
mod metadata;
mod open;
mod quarantine;
mod recover;
mod recovered;
mod stage;
mod trust;

pub use backup::Backups;
pub use commit::{ChangeOutcome, Commit};
pub use error::StoreError;
pub(crate) use files::BACKUPS;
pub use files::LARGEST_FILE;
pub use generation::Generation;
pub use handle::Store;
pub use link::NewLink;
pub use open::is_unfinished;
pub use recovered::Recovered;
pub use stage::{Backup, Change, Checked, Kind, NewFile, Staged};

#[cfg(test)]
mod tests;
