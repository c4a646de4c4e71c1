//! The errors of the store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::sys::FileError;

/// The reason why a change was not made or not completed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program replaced a file after it was read.
    #[error("{}: was changed by another program in the meantime; it is left as it is, and the \
        next pass checks it again", .0.display())]
    Changed(PathBuf),
    /// Two paths of one credential lead to the same file.
    #[error("{}: the certificate and the key are both symlinks to this file; use one name for \
        both, or two files", .0.display())]
    SameFile(PathBuf),
    /// A path to be swapped is not a symlink to a dated file.
    #[error("{}: is no symlink to a dated file, so it is not changed", .0.display())]
    NotALink(PathBuf),
    /// Another process holds the lock.
    #[error("{}: another kubecertd holds the lock on this node; try again when it is \
        done", .lock.display())]
    Busy {
        /// The lock.
        lock: PathBuf,
    },
    /// The old files could not be copied.
    #[error("no backup could be made, so nothing was replaced: {0}")]
    Backup(Arc<StoreError>),
    /// The change could not be written to the journal.
    #[error("the change could not be journaled, so nothing was replaced: {0}")]
    Journal(Arc<StoreError>),
    /// The change does not fit into the journal.
    #[error("{}: {reason}", .path.display())]
    JournalContent {
        /// The journal's path.
        path: PathBuf,
        /// Why the change does not fit.
        reason: String,
    },
    /// A file name is not UTF-8.
    #[error("{}: its name is not UTF-8, which the journal needs; rename it", .0.display())]
    NotUtf8(PathBuf),
    /// A change was begun, and the system refused to complete it.
    #[error(
        "{source}; the change is incomplete and stays in the journal; the next pass completes it"
    )]
    Unfinished {
        /// The system's error.
        source: FileError,
    },
}
