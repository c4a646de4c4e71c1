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
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod journal;
mod link;
pub(crate) mod lock;
mod metadata;
mod open;
mod ours;
mod recover;
mod recovered;
mod requests;
mod services;
pub(crate) mod small;
mod stage;
mod state;
mod trust;

pub use alarms::{AlarmState, read_alarms, update_alarms};
pub use backup::{Backups, Generation};
pub use commit::{Commit, Outcome};
pub use copies::Lineages;
pub use error::StoreError;
pub(crate) use files::BACKUPS;
pub use files::LARGEST_FILE;
pub use handle::Store;
pub use link::NewLink;
pub use open::is_unfinished;
pub use ours::not_trusted;
pub use recovered::Recovered;
pub use requests::{Pending, pending};
pub use services::{read_services, write_services};
pub use stage::{Backup, Change, Checked, Kind, NewFile, Staged};
pub use state::{State, read_hold, read_last_good, remove_hold, write_hold, write_last_good};

#[cfg(test)]
mod tests;
