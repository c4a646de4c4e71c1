//! Exit codes for scripts, documented in the help text and the README.

use std::process::ExitCode;

use super::Failure;
use crate::daemon::DaemonError;
use crate::pass::PassError;
use crate::store::StoreError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success, and nothing to do.
    Fine = 0,
    /// Nothing of the work could be done.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Something is due or wrong.
    Attention = 3,
    /// Some of the work was done.
    Partly = 4,
    /// Due renewals are deferred, or the clock is not trusted.
    Waiting = 5,
    /// Another process is working.
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
            Failure::Node(_) | Failure::Schedule(_) | Failure::Pass(PassError::Platform) => {
                Self::Configuration
            }
            Failure::Pass(PassError::Store(StoreError::Busy { .. })) => Self::Busy,
            Failure::Pass(_)
            | Failure::Demo(_)
            | Failure::Daemon(_)
            | Failure::File(_)
            | Failure::Authority(_) => Self::Failed,
        }
    }
}
