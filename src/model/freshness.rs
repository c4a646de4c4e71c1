//! The judgement of a service: whether it uses what is on the disk, and what is to be done about
//! it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ContentName, ServiceName, Timestamp, Urgency};

/// The evidence of which certificate a service uses, the best first.
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
    /// The last request to reload that it accepted.
    #[serde(rename = "told")]
    ReloadRequest,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serves => "served certificate",
            Self::Sees => "file in container",
            Self::Started => "start time",
            Self::Connections => "open connections",
            Self::ReloadRequest => "last reload request",
        })
    }
}

/// Whether a service uses the content that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Fresh(Evidence),
    /// It uses an outdated one.
    Stale(Evidence),
    /// It uses the new one, while open connections still carry an outdated one, which may stay
    /// until then. This is no fault.
    Lingering {
        /// How many.
        connections: usize,
        /// When they will be closed.
        until: Timestamp,
    },
    /// It reloads the files by itself, and what it read can't be verified.
    ByItself,
    /// It does not run. It reads what is there when it starts.
    NotRunning,
    /// It can't be verified: the reason.
    Unknown(String),
}

/// What is to be done so that a service uses the credentials on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is started: it does not run, because it could not with the earlier credential.
    Start,
    /// It is observed until it serves the new one, which it reloads by itself; where it does not
    /// within the limit, it is restarted.
    Await,
    /// It is restarted.
    Restart,
    /// Its open connections that carry the old one are closed; where the kernel can't do that, it
    /// is restarted.
    CloseConnections,
}

/// One service that is to be refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshStep {
    /// The service.
    pub service: ServiceName,
    /// The instance that was observed, by [`super::Instance::id`]. Its successor is not meant.
    pub instance: String,
    /// What is to be done.
    pub remedy: Remedy,
    /// The contents that it is done for, with the fingerprints (in hex) that are on the disk. None
    /// where a service is restarted for its age alone.
    pub contents: Vec<(ContentName, String)>,
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
    /// How urgent it is, by the certificate that the service uses.
    pub urgency: Urgency,
}

impl RefreshStep {
    /// Whether the certificate that the service uses has expired: then nothing defers the step, not
    /// even the state of other nodes.
    #[must_use]
    pub fn is_too_late(&self) -> bool {
        self.urgency == Urgency::Expired
    }
}
