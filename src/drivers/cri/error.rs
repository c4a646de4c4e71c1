//! What can go wrong between here and the container runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::{Code, Status};

/// Why the container runtime could not be asked or told something.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// There is no socket.
    #[error("there is no socket {}: is the container runtime running, and is this its \
        socket?", .0.display())]
    NoSocket(PathBuf),
    /// There is a socket, but nobody listens.
    #[error("nobody listens at {}: start the container runtime", .0.display())]
    NotListening(PathBuf),
    /// The socket could not be used for another reason.
    #[error("cannot connect to the container runtime at {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Somebody answers there who knows neither version of the interface.
    #[error("{} answers, but not as a container runtime: is this its socket, and is its cri plugin \
        enabled?", .0.display())]
    NotARuntime(PathBuf),
    /// No answer in time.
    #[error("the container runtime did not answer {call} within {} s", limit.as_secs_f32())]
    Limit {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The runtime has no such container (any more).
    #[error("the container runtime has no container {0}")]
    NoContainer(String),
    /// The connection broke: the runtime ended or was started again.
    #[error("the connection to the container runtime broke during {call}: {reason}")]
    Broken {
        /// What was asked.
        call: &'static str,
        /// What is known of it.
        reason: String,
    },
    /// The runtime answered that it can't or won't.
    #[error("the container runtime refused {call}: {message} ({code:?})")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// The kind of refusal.
        code: Code,
        /// The runtime's words.
        message: String,
    },
    /// The answer lacks what it must have.
    #[error("the container runtime's answer to {call} has no {missing}")]
    Incomplete {
        /// What was asked.
        call: &'static str,
        /// What is not in it.
        missing: &'static str,
    },
}

impl CriError {
    /// For a connection that could not be opened.
    pub(super) fn connecting(socket: &Path, source: std::io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::NoSocket(socket),
            std::io::ErrorKind::ConnectionRefused => Self::NotListening(socket),
            _ => Self::Connect { socket, source },
        }
    }

    /// For a call that did not end well.
    pub(super) fn calling(call: &'static str, status: &Status) -> Self {
        // A status that has a cause was made on this side; the other side's is words alone.
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
