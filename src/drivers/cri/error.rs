//! Errors of the connection to the container runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::{Code, Status};

/// Why a call to the container runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// There is no socket.
    #[error("there is no socket {}: is the container runtime running, and is this its \
        socket?", .0.display())]
    NoSocket(PathBuf),
    /// There is a socket, but no process listens on it.
    #[error("no process listens at {}: start the container runtime", .0.display())]
    NotListening(PathBuf),
    /// The socket could not be used for another reason.
    #[error("cannot connect to the container runtime at {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The server knows neither version of the interface.
    #[error("{} answers, but not as a container runtime: is this its socket, and is its cri plugin \
        enabled?", .0.display())]
    NotARuntime(PathBuf),
    /// No answer in time.
    #[error("the container runtime did not answer {call} within {} s", limit.as_secs_f32())]
    Limit {
        /// The name of the call.
        call: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The runtime has no such container (any more).
    #[error("the container runtime has no container {0}")]
    NoContainer(String),
    /// The connection broke: the runtime exited or was restarted.
    #[error("the connection to the container runtime broke during {call}: {reason}")]
    Broken {
        /// The name of the call.
        call: &'static str,
        /// The reason.
        reason: String,
    },
    /// The runtime refused the call or failed.
    #[error("the container runtime refused {call}: {message} ({code:?})")]
    Refused {
        /// The name of the call.
        call: &'static str,
        /// The code of the status.
        code: Code,
        /// The runtime's message.
        message: String,
    },
    /// The answer lacks a required field.
    #[error("the container runtime's answer to {call} has no {missing}")]
    Incomplete {
        /// The name of the call.
        call: &'static str,
        /// The missing field.
        missing: &'static str,
    },
}

impl CriError {
    /// Maps an error of opening the connection.
    pub(super) fn connecting(socket: &Path, source: std::io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::NoSocket(socket),
            std::io::ErrorKind::ConnectionRefused => Self::NotListening(socket),
            _ => Self::Connect { socket, source },
        }
    }

    /// Maps an error of a call.
    pub(super) fn calling(call: &'static str, status: &Status) -> Self {
        // A status with a cause was made on this side; that of the other side has a message only.
        match std::error::Error::source(status) {
            Some(cause) => Self::Broken { call, reason: innermost(cause) },
            None => {
                Self::Refused { call, code: status.code(), message: status.message().to_owned() }
            }
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}
