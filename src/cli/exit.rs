//! How a command ends, for scripts: documented in the help text and the README.

use std::process::ExitCode;

use super::Failure;
use crate::daemon::DaemonError;
use crate::pass::PassError;
use crate::store::StoreError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// Nothing could be done of what should be.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Something is due or wrong.
    Attention = 3,
    /// Some of it was done.
    Partly = 4,
    /// What is due waits for a better moment, or for the clock.
    Waiting = 5,
    /// Another process is at work.
    Busy = 75,
    /// The configuration is wrong, or does not fit this kind of node.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Root(_)
            | Failure::UnknownName { .. }
            | Failure::UnknownAuthority { .. }
            | Failure::Hold(_)
            | Failure::Restore(_)
            | Failure::Request(_) => Self::Usage,
            Failure::Daemon(DaemonError::AlreadyRunning(_)) => Self::Busy,
            Failure::Daemon(DaemonError::Configuration(_)) => Self::Configuration,
            Failure::Node(_) | Failure::Pass(PassError::Platform) => Self::Configuration,
            Failure::Pass(PassError::Store(StoreError::Busy { .. })) => Self::Busy,
            Failure::Pass(_)
            | Failure::Demo(_)
            | Failure::Daemon(_)
            | Failure::File(_)
            | Failure::Authority(_) => Self::Failed,
        }
    }
}
