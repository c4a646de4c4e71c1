//! The failures of commands.

use crate::observe::NodeError;
use crate::sys::FileError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The root folder can't be used.
    #[error("--root {0}")]
    Root(FileError),
    /// The node can't be worked on.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The pass could not be made.
    #[error(transparent)]
    Pass(#[from] crate::pass::PassError),
    /// A name is not in the catalog.
    #[error("there is no credential {name:?}; there are {known}")]
    UnknownName {
        /// The name.
        name: String,
        /// The ones there are.
        known: String,
    },
    /// The daemon could not start.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::DaemonError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A hold that would have no effect.
    #[error("{0}")]
    Hold(String),
    /// There is no such authority on this node.
    #[error("there is no authority {name:?}; there are {known}")]
    UnknownAuthority {
        /// The name.
        name: String,
        /// The ones there are.
        known: String,
    },
    /// An authority, or what is to be compared with it, can't be read.
    #[error("{0}")]
    Authority(String),
    /// A restore of nothing, or of what is not there.
    #[error("{0}")]
    Restore(String),
    /// A request for nothing, or an answer that can't be read.
    #[error("{0}")]
    Request(String),
    /// The demo could not be shown.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
}
