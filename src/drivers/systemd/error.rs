//! Errors of the connection to systemd.

use std::time::Duration;

use zbus::{DBusError, fdo};

/// Why a call to systemd or a job failed.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// No bus listens at the socket.
    #[error("cannot connect to the system bus: {0}")]
    NoBus(String),
    /// There is a bus, but systemd is not on it.
    #[error("systemd is not on the system bus")]
    NoSystemd,
    /// The bus closed the connection.
    #[error("the connection to the system bus broke")]
    Broken,
    /// No answer in time.
    #[error("no answer from systemd within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// The job did not finish in time. It is not cancelled.
    #[error("{job} of {unit} did not finish within {} s, and may continue", limit.as_secs_f32())]
    Unfinished {
        /// The kind of job.
        job: &'static str,
        /// The unit.
        unit: String,
        /// The limit.
        limit: Duration,
    },
    /// There is no unit of this name.
    #[error("there is no unit {0}")]
    NoSuchUnit(String),
    /// The unit does not run, and is not started.
    #[error("{unit} does not run ({sub}); it is not started for this")]
    NotActive {
        /// The unit.
        unit: String,
        /// Its state, as systemd names it.
        sub: String,
    },
    /// The unit has no way to reload.
    #[error("{0} can't reload: it has no ExecReload; restart it instead")]
    CannotReload(String),
    /// The job finished without success.
    #[error("{job} of {unit} ended as {result}: see journalctl -u {unit}")]
    Job {
        /// The kind of job.
        job: &'static str,
        /// The unit.
        unit: String,
        /// Its result.
        result: JobResult,
    },
    /// systemd refused.
    #[error("systemd refused: {message} ({name})")]
    Refused {
        /// The error's name.
        name: String,
        /// systemd's message.
        message: String,
    },
    /// The answer lacks a property that every version has.
    #[error("systemd's answer has no {0} that can be understood")]
    Incomplete(&'static str),
    /// Another error of the bus.
    #[error("the system bus: {0}")]
    Bus(zbus::Error),
}

/// The result of a job without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// Another job replaced it, or it was cancelled.
    Canceled,
    /// systemd's own timeout was over.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit that it depends on failed.
    Dependency,
    /// It did not apply to the unit's state.
    Skipped,
    /// Another result, as systemd names it.
    Other(String),
}

impl JobResult {
    pub(super) fn from_word(word: String) -> Self {
        match word.as_str() {
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            _ => Self::Other(word),
        }
    }
}

impl std::fmt::Display for JobResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        })
    }
}

impl From<zbus::Error> for SystemdError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => Self::Refused {
                name: name.to_string(),
                message: message.unwrap_or_else(|| "without a reason".to_owned()),
            },
            zbus::Error::FDO(error) => match *error {
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Self::NoSystemd,
                fdo::Error::NoReply(_) | fdo::Error::Disconnected(_) => Self::Broken,
                fdo::Error::ZBus(error) => Self::Bus(error),
                error => Self::Refused {
                    name: error.name().to_string(),
                    message: error.description().unwrap_or_default().to_owned(),
                },
            },
            zbus::Error::InputOutput(_) => Self::Broken,
            error => Self::Bus(error),
        }
    }
}
