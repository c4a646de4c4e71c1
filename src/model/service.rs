//! What the catalog says of a service: what it is, where it can be asked, and how it takes a new credential.

use serde::Deserialize;

use super::{CredentialName, ServiceName};

/// A thing that uses credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name used in output and configuration.
    pub name: ServiceName,
    /// What kind of thing it is.
    pub kind: ServiceKind,
    /// Where its health is asked, as an URL. `None` when nothing says so.
    pub health: Option<String>,
    /// The credentials it uses.
    pub uses: Vec<Use>,
    /// Whether it keeps certificates in memory that end a year after its start, so that it has to be restarted before.
    pub ages: bool,
    /// Whether the whole cluster lives on it, so that it is stopped only where its like on other nodes carry on.
    pub quorum: bool,
}

/// What kind of thing a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// A static pod, by the name in its manifest.
    StaticPod {
        /// The pod's name without the node's suffix.
        pod: String,
        /// The manifest's file name, when there is one on this node.
        manifest: Option<String>,
    },
    /// A systemd unit.
    Unit(String),
}

/// One credential that a service uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The credential.
    pub credential: CredentialName,
    /// How the service takes a new one.
    pub takes: Takes,
    /// Where the service serves TLS with it, `host:port`, as its manifest says. `None` when it serves nothing with it, or does not
    /// run here.
    pub served_at: Option<String>,
    /// The remote port of the connections that the service opens with it, where these matter.
    pub to_port: Option<u16>,
}

/// How a service takes a new credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takes {
    /// It reads the files again by itself.
    Reloads,
    /// New connections use the new one; open ones live on with the old one.
    NewConnections,
    /// It has to be restarted.
    Restart,
}
