//! The facts of a service: whether it runs, its health, and what it holds of each credential that
//! it uses. The judgement of them is [`super::Freshness`].

use std::time::Duration;

use super::{AbsolutePath, CredentialName, Digest, Service, Takes, Timestamp, Uptime};

/// What is found of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// The catalog's entry.
    pub service: Service,
    /// Whether it runs.
    pub presence: Presence,
    /// Its health.
    pub health: Health,
    /// What it holds, for each of [`Service::uses`], in that order.
    pub holds: Vec<Holding>,
}

/// Whether a service runs. Texts say what was found, or what could not be found out and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is not on this node: it has no manifest, or there is no such unit.
    Absent,
    /// It is on this node, and does not run now.
    Down(String),
    /// It runs.
    Running(Instance),
    /// It can't be found out: the container runtime does not answer, say.
    Unknown(String),
    /// It can't be observed from this machine: only a command reaches it.
    OutOfSight,
}

impl Presence {
    /// What runs, if it does.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        match self {
            Self::Running(instance) => Some(instance),
            Self::Absent | Self::Down(_) | Self::Unknown(_) | Self::OutOfSight => None,
        }
    }
}

/// A service that runs: this one container or process, and not its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Identifies it: the container's id, or the process's id and start.
    pub id: String,
    /// The process that leads it, in this machine's numbers; `None` where the runtime does not say.
    pub pid: Option<u32>,
    /// When it started.
    pub started: Uptime,
    /// The same by the wall clock as it is now.
    pub started_at: Timestamp,
    /// How long it has been running.
    pub age: Duration,
}

/// The health that a service reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It reported that it is healthy.
    Healthy,
    /// It reported that it is not, or did not answer: the reason.
    Unhealthy(String),
    /// No address for it is known, or it does not run.
    NotAsked,
}

/// What a service holds of one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The credential.
    pub credential: CredentialName,
    /// How the service takes a new one.
    pub takes: Takes,
    /// What it serves on its own socket; `None` where it serves nothing by this credential, or does
    /// not run.
    pub serves: Option<Serves>,
    /// The credential's files as it sees them, compared with the host's; empty where that can't be
    /// compared.
    pub sees: Vec<(AbsolutePath, Sees)>,
    /// Its open connections on which it shows the credential, by the kernel's cookies, whichever
    /// certificate it was at the time; empty for other ways of taking a new one than
    /// [`Takes::NewConnections`], `None` where they can't be looked at.
    pub connections: Option<Vec<u64>>,
}

/// What was served to a TLS client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// This certificate, on a socket that is the service's own.
    Certificate {
        /// SHA-256 of it.
        fingerprint: Digest,
        /// Its serial number, in hex.
        serial: String,
    },
    /// The socket at its address belongs to something else, such as a proxy: the served certificate
    /// proves nothing.
    NotItsOwn(String),
    /// Nothing that could be read: the reason.
    Nothing(String),
}

/// What a service sees at a file's path, compared with what the host has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sees {
    /// The same content.
    Same,
    /// Another content: the mount still holds the file that was replaced.
    Another,
    /// No file.
    Nothing,
    /// It can't be found out: the reason.
    Unknown(String),
}

/// A container that mounts a credential's file and is no service of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The container's name.
    pub container: String,
    /// Its pod, as `namespace/name`.
    pub pod: String,
    /// The credentials whose files it mounts.
    pub uses: Vec<CredentialName>,
}
