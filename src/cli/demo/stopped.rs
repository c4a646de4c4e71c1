//! Why the demo stopped early.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::observe::NodeError;
use crate::sys::FileError;

/// Why the part of the demo with the daemon stopped early.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum DemoStopped {
    /// A signal asked for it.
    #[error("the demo was interrupted")]
    Interrupted,
    /// Signals can't be handled.
    #[error("the demo can't listen to signals: {0}")]
    Signals(io::Error),
    /// The runtime can't be started, or a fault ended the work on it.
    #[error("the demo can't run: {0}")]
    Runtime(#[from] io::Error),
    /// A file can't be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory of the node can't be opened.
    #[error(transparent)]
    Root(#[from] FileError),
    /// The node can't be read.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A command can't be started.
    #[error("{command}: can't be started: {source}")]
    NotStarted {
        /// The command line.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A command failed.
    #[error("{command}: failed: {status}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The daemon ended by itself.
    #[error("the daemon ended: {0}; its log above says why")]
    DaemonEnded(ExitStatus),
    /// An event did not happen.
    #[error("{event}: did not happen within {limit} seconds; the log above may say why",
        limit = .limit.as_secs())]
    TimedOut {
        /// The event.
        event: &'static str,
        /// The limit.
        limit: Duration,
    },
}
