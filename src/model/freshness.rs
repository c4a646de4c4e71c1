//! What is thought of a service: whether it works with the credential that is on the disk, and what
//! is to be done about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CredentialName, ServiceName, Timestamp};

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
    /// What it was told of last, and took without complaint.
    Told,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serves => "by what it serves",
            Self::Sees => "by the file it sees",
            Self::Started => "by its start",
            Self::Connections => "by its connections",
            Self::Told => "by what it was told last",
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
    /// It works with the new one, and this many open connections with an earlier one, which can
    /// stay until then: no fault.
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

/// What is to be done so that a service works with the credentials on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It does not run, because it could not with what was there before: it is started again.
    Revive,
    /// It is looked at until it serves the new one, which it does by itself; where it does not
    /// within the limit, it is restarted.
    Await,
    /// It is restarted.
    Restart,
    /// Its open connections that carry the old one are closed; where the kernel can't do that, it
    /// is restarted.
    CloseConnections,
}

/// One service that something is to be done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshStep {
    /// The service.
    pub service: ServiceName,
    /// The instance that was looked at, by [`super::Instance::id`]: its successor is not meant.
    pub instance: String,
    /// What is to be done.
    pub remedy: Remedy,
    /// The credentials that it is done for, with the fingerprints (in hex) that are on the disk.
    /// None where a service is restarted for its age alone.
    pub credentials: Vec<(CredentialName, String)>,
    /// The connections that are to be closed, by the kernel's cookies: with
    /// [`Remedy::CloseConnections`], and with [`Remedy::Await`] where both are needed.
    pub closing: Vec<u64>,
    /// Why, in one sentence without a stop.
    pub reason: String,
    /// Why it waits; `None` when it is done now.
    pub waits: Option<String>,
    /// For the remedies that end in a restart where they do not help: why that one would have to
    /// wait.
    pub restart_waits: Option<String>,
    /// Whether what the service works with has ended: then it waits for nobody, not even for other
    /// nodes.
    pub too_late: bool,
}
