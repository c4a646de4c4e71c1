//! The settings of the metrics for Prometheus: a textfile, and a local address or socket. Both are
//! off by default.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::values::written_as_text;
use crate::model::{AbsolutePath, InvalidPath};

/// The word for neither file nor address.
const OFF: &str = "off";
/// Before the path of a socket.
const UNIX: &str = "unix:";

/// The file that node_exporter's textfile collector reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Textfile {
    /// None.
    Off,
    /// This one.
    File(AbsolutePath),
}

/// A text that is not such a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTextfile {
    /// No path of a file.
    #[error("{0}: give the full path of a file, or \"off\"")]
    Path(InvalidPath),
    /// A file that would never be read.
    #[error("{0:?} does not end in \".prom\", and node_exporter reads only files that do")]
    Name(String),
}

impl FromStr for Textfile {
    type Err = InvalidTextfile;

    fn from_str(text: &str) -> Result<Self, InvalidTextfile> {
        if text == OFF {
            return Ok(Self::Off);
        }
        let path = AbsolutePath::new(text).map_err(InvalidTextfile::Path)?;
        if path.as_path().extension().is_none_or(|ending| ending != "prom") {
            return Err(InvalidTextfile::Name(text.to_owned()));
        }
        Ok(Self::File(path))
    }
}

impl fmt::Display for Textfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// The address at which metrics are served over HTTP; never reachable from a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At a loopback address.
    Loopback(SocketAddr),
    /// At a unix socket.
    Unix(AbsolutePath),
}

/// A text that is no such place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidListen {
    /// Neither of the two forms.
    #[error(
        "{0:?} is not an address to listen at: use an address of this machine with a port, such as \
         \"127.0.0.1:9809\", a socket, such as \"unix:/run/kubecertd/metrics.sock\", or \"off\""
    )]
    Form(String),
    /// It can be reached from outside.
    #[error(
        "{0} can be reached from other machines: only 127.0.0.0/8, [::1] and unix sockets are \
         allowed, since there is neither encryption nor a password; put a proxy in front of it, \
         or use the textfile"
    )]
    NotLoopback(SocketAddr),
    /// Port 0, which means any free port.
    #[error("port 0 means any free port: give the one that Prometheus scrapes")]
    NoPort,
    /// No path for a socket.
    #[error("{UNIX} has to be followed by the full path of a socket: {0}")]
    Path(InvalidPath),
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if text == OFF {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            return AbsolutePath::new(path).map(Self::Unix).map_err(InvalidListen::Path);
        }
        let address: SocketAddr = text.parse().map_err(|_| InvalidListen::Form(text.to_owned()))?;
        if !address.ip().is_loopback() {
            return Err(InvalidListen::NotLoopback(address));
        }
        if address.port() == 0 { Err(InvalidListen::NoPort) } else { Ok(Self::Loopback(address)) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

written_as_text!(Textfile, "the path of a file, or \"off\"");
written_as_text!(
    Listen,
    "an address of this machine with a port, \"unix:\" and the path of a socket, or \"off\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_accepts_only_loopback() {
        for text in [
            "off",
            "127.0.0.1:9809",
            "127.1.2.3:80",
            "[::1]:9809",
            "unix:/run/kubecertd/metrics.sock",
        ] {
            assert_eq!(
                text.parse::<Listen>().map(|listen| listen.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "0.0.0.0:9809",
            "192.168.0.1:9809",
            "[::]:9809",
            "[2001:db8::1]:9809",
            "[::ffff:192.168.0.1]:9809",
        ] {
            assert_eq!(
                text.parse::<Listen>(),
                Err(InvalidListen::NotLoopback(text.parse().unwrap()))
            );
        }
    }

    #[test]
    fn invalid_listen_is_refused() {
        for text in [
            "",
            ":9809",
            "9809",
            "localhost:9809",
            "127.0.0.1",
            "http://127.0.0.1:9809",
            "/run/x.sock",
            "OFF",
        ] {
            assert_eq!(text.parse::<Listen>(), Err(InvalidListen::Form(text.to_owned())));
        }
        assert_eq!("127.0.0.1:0".parse::<Listen>(), Err(InvalidListen::NoPort));
        for text in ["unix:", "unix:x.sock", "unix:/"] {
            assert!(matches!(text.parse::<Listen>(), Err(InvalidListen::Path(_))), "{text}");
        }
    }

    #[test]
    fn textfile_must_end_in_prom() {
        for text in ["off", "/var/lib/prometheus/node-exporter/kubecertd.prom"] {
            assert_eq!(text.parse::<Textfile>().map(|file| file.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            "/tmp/kubecertd.txt".parse::<Textfile>(),
            Err(InvalidTextfile::Name("/tmp/kubecertd.txt".to_owned()))
        );
        assert!(matches!("kubecertd.prom".parse::<Textfile>(), Err(InvalidTextfile::Path(_))));
    }
}
