//! The errors of probing a server, and the stage at which a connection was.

use std::fmt;
use std::io;

use rustls::AlertDescription;

use crate::formats::x509::ReadError;

/// Why the served certificate is not known, or why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address is invalid.
    #[error(
        "{0:?} is no address to connect to; host:port is needed, with an IPv6 address in brackets"
    )]
    Address(String),
    /// The name can't be resolved.
    #[error("the name {name} can't be resolved: {source}")]
    Name {
        /// The name.
        name: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// No server listens there.
    #[error("the connection was refused: nothing listens there")]
    Refused,
    /// The time was over.
    #[error("{0} was not established within the time limit")]
    TimedOut(Stage),
    /// The other side closed the connection.
    #[error("the server closed the connection before {0} was established")]
    Closed(Stage),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The server sent an alert.
    #[error("the server closed the TLS connection with the alert {0:?}")]
    Alert(AlertDescription),
    /// The certificate is not accepted for this connection, or the server did not prove that it has
    /// the key.
    #[error("the server's certificate, or its proof of having the key, is not accepted: {0}")]
    NotAccepted(String),
    /// The server's certificate can't be read.
    #[error("the server's certificate can't be understood: {0}")]
    Unreadable(#[from] ReadError),
    /// Client and server have no common parameters, or one of them violated the protocol.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The system refused.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution and TCP.
    Connection,
    /// TLS.
    Handshake,
    /// The response to a request.
    Answer,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "a TCP connection",
            Self::Handshake => "a TLS handshake",
            Self::Answer => "an answer",
        })
    }
}

impl ProbeError {
    /// Maps an error that a TLS stream returns at that stage.
    pub(in crate::drivers) fn from_stream(error: io::Error, stage: Stage) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::from_tls(error);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe => Self::Closed(stage),
            _ => Self::Io(error),
        }
    }

    fn from_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::InvalidCertificate(reason) => Self::NotAccepted(reason.to_string()),
            other => Self::Handshake(other.to_string()),
        }
    }
}
