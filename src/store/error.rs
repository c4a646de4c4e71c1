//! What can keep the store from replacing a file.

use std::path::PathBuf;
use std::sync::Arc;

use crate::sys::FileError;

/// A change that was not made, or not finished, and why.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else replaced a file after it was looked at.
    #[error("{}: was changed by somebody else in the meantime; it is left as it is, and the next \
        pass looks at it again", .0.display())]
    Changed(PathBuf),
    /// Two files of one credential are the same one.
    #[error("{}: both the certificate and the key lead here by different names; use one name for \
        both, or two files", .0.display())]
    SameFile(PathBuf),
    /// What is to be swapped is no symlink of the kind that is.
    #[error("{}: is no symlink to a dated file, so it is not made to lead to another \
        one", .0.display())]
    NotALink(PathBuf),
    /// Another process is at work.
    #[error("{}: another kubecertd is at work on this node; try again when it is \
        done", .lock.display())]
    Busy {
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// The old files could not be copied.
    #[error("no backup could be made, so nothing was replaced: {0}")]
    Backup(Arc<StoreError>),
    /// The change could not be written to the journal.
    #[error("the change could not be journaled, so nothing was replaced: {0}")]
    Journal(Arc<StoreError>),
    /// More is to be done at once than the journal holds.
    #[error("{}: {reason}", .path.display())]
    JournalContent {
        /// The journal's path.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A name that the journal can't hold.
    #[error("{}: its name is not UTF-8, which the journal needs; rename it", .0.display())]
    NotUtf8(PathBuf),
    /// A change was begun, and the system refused in the middle of it.
    #[error(
        "{source}; the change is half made and stays in the journal, and the next pass finishes it"
    )]
    Unfinished {
        /// What was refused.
        source: FileError,
    },
}
