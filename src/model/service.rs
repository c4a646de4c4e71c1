//! The catalog's entry of a service: what it is, where its health is asked, and how it takes a new
//! credential.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{AbsolutePath, ContentName, CredentialName, ServiceName, TrustFile};

/// A program that uses credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name used in output and configuration.
    pub name: ServiceName,
    /// What kind of program it is.
    pub kind: ServiceKind,
    /// Where its health is asked, as an URL. `None` when nothing says so.
    pub health: Option<String>,
    /// Set where other services depend on it: it is stopped only while its peers on other nodes
    /// carry on, and where it is not healthy afterwards, the services after it are left alone.
    pub essential: Option<Essential>,
    /// The Lease in `kube-system` by which its instances on several nodes elect a leader; `None`
    /// where they elect none.
    pub leader_lease: Option<String>,
    /// The credentials it uses.
    pub uses: Vec<Use>,
    /// The files whose CA certificates it verifies others by and reads only when it starts.
    pub trusts: Vec<TrustFile>,
    /// A file in which it needs exactly one certificate: with more of them it does not work after
    /// its next start.
    pub one_certificate: Option<AbsolutePath>,
    /// Whether it keeps certificates in memory that expire a year after its start, so that it has
    /// to be restarted before.
    pub ages: bool,
    /// Whether the operator lists it: then it has to be on this node.
    pub configured: bool,
}

impl Service {
    /// Everything that it reads: the credentials, then the CA certificates.
    pub fn contents(&self) -> impl Iterator<Item = ContentName> {
        let used = self.uses.iter().map(|one| one.credential.clone().into());
        let trusted = self.trusts.iter();
        used.chain(trusted.map(|file| ContentName::CaCertificates(file.path().clone())))
    }
}

/// A service that the whole cluster depends on, by how its peers on other nodes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Essential {
    /// A member of etcd: more than half of them have to carry on.
    EtcdMember,
    /// An API server: another one has to carry on.
    ApiServer,
}

/// What kind of program a service is, and how it is made to read a new credential that it does not
/// read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// A static pod, by the name in its manifest.
    StaticPod {
        /// The pod's name without the node's suffix.
        pod: String,
        /// The manifest's file name, when there is one on this node.
        manifest: Option<String>,
        /// How long its container may take to end by itself when it is stopped.
        grace: Duration,
    },
    /// A systemd unit.
    Unit {
        /// Its full name.
        unit: String,
        /// What is done to it.
        refresh: UnitRefresh,
    },
    /// A process that is no unit.
    Process {
        /// The file that holds its number.
        pid_file: AbsolutePath,
        /// The signal that makes it read its files again.
        signal: Signal,
        /// The unit whose processes a pid file that others can write may name.
        unit: Option<String>,
    },
    /// Something that only a command reaches.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        limit: Duration,
    },
}

impl ServiceKind {
    /// The name of a static pod, without the node's suffix.
    #[must_use]
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::StaticPod { pod, .. } => Some(pod),
            Self::Unit { .. } | Self::Process { .. } | Self::Command { .. } => None,
        }
    }

    /// Whether the process goes on running when it gets a new credential: then its start is no
    /// evidence of which one it uses.
    #[must_use]
    pub fn keeps_running(&self) -> bool {
        match self {
            Self::StaticPod { .. } => false,
            Self::Unit { refresh, .. } => {
                !matches!(refresh, UnitRefresh::Restart | UnitRefresh::Signal(Signal::Term))
            }
            Self::Process { signal, .. } => *signal != Signal::Term,
            Self::Command { .. } => true,
        }
    }
}

/// What is done to a systemd unit so that it reads a new credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitRefresh {
    /// It is restarted.
    Restart,
    /// It is reloaded.
    Reload,
    /// It is reloaded where it can be, and else restarted.
    ReloadOrRestart,
    /// Its main process is sent a signal.
    Signal(Signal),
}

/// A signal that programs take for an order to read their files again, or to make way for their
/// successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Signal {
    /// SIGHUP.
    #[serde(rename = "HUP")]
    Hup,
    /// SIGUSR1.
    #[serde(rename = "USR1")]
    Usr1,
    /// SIGUSR2.
    #[serde(rename = "USR2")]
    Usr2,
    /// SIGTERM.
    #[serde(rename = "TERM")]
    Term,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Term => "SIGTERM",
        })
    }
}

/// A container of a static pod that uses credentials, and that no service of the catalog stands
/// for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticConsumer {
    /// The pod's name without the node's suffix.
    pub pod: String,
    /// The manifest's file name.
    pub manifest: String,
    /// The container.
    pub container: String,
    /// The credentials of which it mounts a file by itself, or names one.
    pub uses: Vec<CredentialName>,
}

/// One credential that a service uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The credential.
    pub credential: CredentialName,
    /// How the service takes a new one.
    pub takes: Takes,
    /// Where the service serves TLS with it, `host:port`, as its manifest says. `None` when it
    /// serves nothing with it, or does not run here.
    pub served_at: Option<String>,
    /// The remote port of the connections that the service opens with it, where these matter.
    pub to_port: Option<u16>,
    /// The kubeconfig with which one request is made through the service after a renewal, so that
    /// it, and no user's, is the one that fails.
    pub first_request: Option<CredentialName>,
}

/// How a service takes a new credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takes {
    /// It reads the files again by itself.
    Reloads,
    /// New connections use the new one; open ones keep the old one.
    NewConnections,
    /// It has to be restarted.
    Restart,
    /// It has to be restarted, by an operator: the configuration does not list it.
    #[serde(skip)]
    ByHand,
}
