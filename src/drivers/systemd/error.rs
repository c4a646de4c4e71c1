//! What can go wrong between here and systemd.

use std::time::Duration;

use zbus::{DBusError, fdo};

/// Why systemd could not be asked, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Nobody answers at the bus's socket.
    #[error("cannot connect to the system bus: {0}")]
    NoBus(String),
    /// There is a bus, but systemd is not on it.
    #[error("systemd is not on the system bus")]
    NoSystemd,
    /// The bus ended meanwhile.
    #[error("the connection to the system bus broke")]
    Broken,
    /// No answer in time.
    #[error("no answer from systemd within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// The job did not end in time. It is not withdrawn.
    #[error("{job} of {unit} was not over after {} s, and may go on", limit.as_secs_f32())]
    Unfinished {
        /// What was to be done.
        job: &'static str,
        /// The unit.
        unit: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// There is no unit of this name.
    #[error("there is no unit {0}")]
    NoSuchUnit(String),
    /// The unit does not run, and is left like that.
    #[error("{unit} does not run ({sub}); it is not started for this")]
    NotActive {
        /// The unit.
        unit: String,
        /// Its state, in systemd's word.
        sub: String,
    },
    /// The unit's definition has no way to reload.
    #[error("{0} can't reload: it has no ExecReload; restart it instead")]
    CannotReload(String),
    /// The job was done, and not well.
    #[error("{job} of {unit} ended as {result}: see journalctl -u {unit}")]
    Job {
        /// What was to be done.
        job: &'static str,
        /// The unit.
        unit: String,
        /// How it ended.
        result: JobResult,
    },
    /// systemd refused.
    #[error("systemd refused: {message} ({name})")]
    Refused {
        /// The error's name.
        name: String,
        /// systemd's words.
        message: String,
    },
    /// The answer lacks a property that every version has.
    #[error("systemd's answer has no {0} that can be understood")]
    Incomplete(&'static str),
    /// Something else on the bus.
    #[error("the system bus: {0}")]
    Bus(zbus::Error),
}

/// How a job ended that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// Another job took its place, or somebody withdrew it.
    Canceled,
    /// systemd's own limit was over.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit that it depends on failed.
    Dependency,
    /// It did not apply to the unit's state.
    Skipped,
    /// Another result, in systemd's word.
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
