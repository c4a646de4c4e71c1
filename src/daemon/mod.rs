//! The long-running process: it decides when passes are made, and handles signals and changes.
//!
//! [`run`] is the main loop; each source of its events has a file of its own.

mod backoff;
mod change_detector;
mod configuration;
mod deadlines;
mod node_reports;
mod notify;
mod once;
mod pass_runner;
mod run;
mod sandbox;
pub mod schedule;
mod signals;
mod timing;
pub mod watch;

pub use configuration::Options;
pub(crate) use configuration::last_good;
pub use notify::NotifySocket;
pub use once::once;
pub use run::run;
pub use signals::{SignalRequest, Signals};

use crate::observe::NodeError;
use crate::report::Status;
use crate::store::StoreError;
use crate::sys::{FileError, Root};

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The root directory, or a directory that is needed below it, can't be used.
    #[error(transparent)]
    Root(FileError),
    /// Another daemon runs.
    #[error("a kubecertd daemon runs already on this node{}", .0.map(|pid| format!(" (process \
        {pid})")).unwrap_or_default())]
    AlreadyRunning(Option<u32>),
    /// It can't be found out whether another daemon runs.
    #[error("whether a kubecertd daemon runs already is not known: {0}")]
    Lock(StoreError),
    /// Signals can't be handled.
    #[error("signals can't be received: {0}")]
    Signals(std::io::Error),
    /// The configuration is wrong, and there is no earlier one to fall back on.
    #[error(transparent)]
    Configuration(#[from] NodeError),
    /// The scheduler does not start.
    #[error(transparent)]
    Schedule(#[from] schedule::SchedulerFailed),
    /// The runtime can't be started, or a fault ended the work on it.
    #[error("the daemon can't run: {0}")]
    Runtime(std::io::Error),
}

impl DaemonError {
    /// A busy lock belongs to a daemon whose status file has its process id.
    fn from_lock(error: StoreError, root: &Root) -> Self {
        if matches!(error, StoreError::Busy { .. }) {
            Self::AlreadyRunning(Status::read(root).0.map(|status| status.pid))
        } else {
            Self::Lock(error)
        }
    }
}
