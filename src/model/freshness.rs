//! What is thought of a service: whether it works with the credential that is on the disk, and what is to be done about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CredentialName, ServiceName, Timestamp, Uptime};

/// By what it is known which credential a service works with, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// What it serves on its own socket.
    Serves,
    /// The file as it sees it.
    Sees,
    /// When it started, against when this content appeared.
    Started,
    /// Connections that were open when the credential was replaced.
    Connections,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serves => "by what it serves",
            Self::Sees => "by the file it sees",
            Self::Started => "by its start",
            Self::Connections => "by its connections",
        })
    }
}

/// Whether a service works with the credential that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Fresh(Evidence),
    /// It works with an earlier one.
    Stale(Evidence),
    /// It works with the new one, and this many open connections with an earlier one, which can stay until then: no fault.
    Lingering {
        /// How many.
        connections: usize,
        /// When they will be closed.
        until: Timestamp,
    },
    /// It reads the files anew by itself each time, and shows nobody what it read.
    ByItself,
    /// It does not run: it will read what is there when it starts.
    NotRunning,
    /// It can't be told, for this reason.
    Unknown(String),
}

/// When a credential's present content came to be where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appeared {
    /// SHA-256 of its certificate, in hex.
    pub fingerprint: String,
    /// When, by the clock that no step moves.
    pub at: Uptime,
    /// The certificate's last valid second.
    pub not_after: Timestamp,
}

/// What was done to a service for the sake of one certificate. Memory of it is only a brake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// The service.
    pub service: ServiceName,
    /// The credential that it held an earlier one of.
    pub credential: CredentialName,
    /// The certificate that it should have taken, by its fingerprint in hex.
    pub fingerprint: String,
    /// When.
    pub at: Timestamp,
}

/// What is to be done so that a service works with the credentials on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is looked at until it serves the new one, which it does by itself; where it does not within the limit, it is restarted.
    Await,
    /// It is restarted.
    Restart,
    /// Its open connections that carry the old one are closed; where the kernel can't do that, it is restarted.
    CloseConnections,
}

/// One service that something is to be done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshStep {
    /// The service.
    pub service: ServiceName,
    /// What is to be done.
    pub remedy: Remedy,
    /// The credentials that it is done for, with the fingerprints (in hex) that are on the disk.
    pub credentials: Vec<(CredentialName, String)>,
    /// Why, in one sentence without a stop.
    pub reason: String,
    /// Why it waits; `None` when it is done now.
    pub waits: Option<String>,
}
