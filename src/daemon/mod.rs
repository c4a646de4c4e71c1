//! The long-running process: when passes are made, and what else it listens to.
//!
//! [`run`] tells the story; each thing that wakes the daemon has a file of its own. What a pass
//! does is not told here.

mod backoff;
mod changes;
mod configuration;
mod duty;
mod log;
mod metrics;
mod once;
mod opened;
mod pace;
mod run;
pub mod schedule;
mod signals;
mod status;
mod supervisor;
pub mod watch;

pub use backoff::Backoff;
pub use configuration::Options;
pub(crate) use configuration::last_good;
pub use once::once;
pub use run::run;
pub use signals::{Signals, Wish};
pub use status::{LastPass, Status};
pub use supervisor::Supervisor;

use crate::observe::NodeError;
use crate::store::StoreError;
use crate::sys::{FileError, Root};

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The root folder, or a folder that is needed below it, can't be used.
    #[error(transparent)]
    Root(FileError),
    /// There is one already.
    #[error("a kubecertd daemon runs already on this node{}", .0.map(|pid| format!(" (process \
        {pid})")).unwrap_or_default())]
    AlreadyRunning(Option<u32>),
    /// Whether there is one already can't be found out.
    #[error("whether a kubecertd daemon runs already is not known: {0}")]
    Lock(StoreError),
    /// Signals can't be listened to.
    #[error("signals can't be listened to: {0}")]
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
    /// Who has the lock has written its status, or is about to.
    fn from_lock(error: StoreError, root: &Root) -> Self {
        let who = || Status::look(root).0.map(|status| status.pid);
        if matches!(error, StoreError::Busy { .. }) {
            Self::AlreadyRunning(who())
        } else {
            Self::Lock(error)
        }
    }
}
