//! What a rotation of the root CA finds on the nodes and in the API, and what it does there.
//!
//! A replacement goes through levels, one after the other, forth or back. The nodes agree on the
//! level that they work to; whether a node has it is computed from these facts, and stored nowhere.
//! A renewal with the same key has one level: whatever the one root signed verifies by the other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two roots of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootCa {
    /// The one that signs before it.
    Old,
    /// The one that signs after it.
    New,
}

impl RootCa {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// The roots that a file or a process trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustedRoots {
    /// The old root alone.
    Old,
    /// Both.
    Both,
    /// The new root alone.
    New,
}

impl TrustedRoots {
    /// Whether it has this root.
    #[must_use]
    pub fn has(self, root: RootCa) -> bool {
        match root {
            RootCa::Old => self != Self::New,
            RootCa::New => self != Self::Old,
        }
    }

    /// Another value than this one: for what is known to be outdated.
    #[must_use]
    pub fn outdated(self) -> Self {
        match self {
            Self::Both => Self::Old,
            Self::Old | Self::New => Self::Both,
        }
    }

    /// The roots that a list of certificates has; `None` where it has neither.
    #[must_use]
    pub fn of(has_old: bool, has_new: bool) -> Option<Self> {
        match (has_old, has_new) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Old),
            (false, true) => Some(Self::New),
            (false, false) => None,
        }
    }

    /// These roots, in the order in which they are written.
    #[must_use]
    pub fn in_order(self) -> &'static [RootCa] {
        match self {
            Self::Old => &[RootCa::Old],
            Self::Both => &[RootCa::Old, RootCa::New],
            Self::New => &[RootCa::New],
        }
    }
}

/// A certificate and what is shown behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// The root that signed it.
    pub issuer: RootCa,
    /// Whether a bridge stands behind it: a certificate of the other root for this root's key.
    pub bridge: bool,
}

impl Chain {
    /// Whether it verifies where these roots are trusted.
    #[must_use]
    pub fn verifies_by(self, trusted: TrustedRoots) -> bool {
        trusted.has(self.issuer) || (self.bridge && trusted.has(self.issuer.other()))
    }
}

/// Which bridges a rotation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bridges {
    /// Of the new root, signed by the old one.
    pub forth: bool,
    /// Of the old root, signed by the new one: for the way back from where clients may know the new
    /// root alone.
    pub back: bool,
}

impl Bridges {
    /// A certificate of a root, with the bridge of that root behind it where there is one.
    #[must_use]
    pub fn behind(self, issuer: RootCa) -> Chain {
        let bridge = match issuer {
            RootCa::Old => self.back,
            RootCa::New => self.forth,
        };
        Chain { issuer, bridge }
    }
}

/// The certificates in `ca.crt`, in their order: that of the root whose key is in `ca.key` comes
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaFile {
    /// The old root alone.
    Old,
    /// The old root, then the new one.
    OldNew,
    /// The new root, then the old one.
    NewOld,
    /// The new root alone.
    New,
}

impl CaFile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Old, Self::OldNew, Self::NewOld, Self::New];

    /// Its certificates, in their order.
    #[must_use]
    pub fn in_order(self) -> &'static [RootCa] {
        match self {
            Self::Old => &[RootCa::Old],
            Self::OldNew => &[RootCa::Old, RootCa::New],
            Self::NewOld => &[RootCa::New, RootCa::Old],
            Self::New => &[RootCa::New],
        }
    }

    /// Another value than this one: for what is known to be outdated.
    #[must_use]
    pub fn outdated(self) -> Self {
        match self {
            Self::OldNew => Self::NewOld,
            Self::Old | Self::NewOld | Self::New => Self::OldNew,
        }
    }

    /// The roots that it trusts.
    #[must_use]
    pub fn trust(self) -> TrustedRoots {
        match self {
            Self::Old => TrustedRoots::Old,
            Self::OldNew | Self::NewOld => TrustedRoots::Both,
            Self::New => TrustedRoots::New,
        }
    }
}

/// A CA that a rotation replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplacedCa {
    /// The root CA.
    #[default]
    Root,
    /// That of the front proxy, which is replaced with it.
    FrontProxy,
}

impl ReplacedCa {
    /// The file below the state directory with its key before or after that.
    #[must_use]
    pub fn key_name(self, root: RootCa) -> &'static str {
        match (self, root) {
            (Self::Root, RootCa::Old) => "rotation/old.key",
            (Self::Root, RootCa::New) => "rotation/new.key",
            (Self::FrontProxy, RootCa::Old) => "rotation/front-proxy-old.key",
            (Self::FrontProxy, RootCa::New) => "rotation/front-proxy-new.key",
        }
    }
}

/// The names of the files of its own with which kube-controller-manager signs during a rotation, as
/// the certificate and the key.
pub const SIGNING_FILES: [&str; 2] = ["kubecertd-signing.crt", "kubecertd-signing.key"];

/// What kube-controller-manager signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningFiles {
    /// `ca.crt` and `ca.key`. With two certificates in `ca.crt` it signs nothing, and where it
    /// becomes the leader it fails.
    CaFiles,
    /// A certificate and a key in files of their own.
    Own(RootCa),
}

/// What is found on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RotationFacts {
    /// `ca.crt`.
    pub ca: CaFile,
    /// The roots by which kubelet accepts clients. It reads `ca.crt` again by itself.
    pub kubelet_accepts: TrustedRoots,
    /// The CA certificates in kubelet.conf.
    pub kubelet_trust: TrustedRoots,
    /// kubelet's client certificate.
    pub kubelet_client: Chain,
    /// What the running kubelet read at its start of the two before this.
    pub kubelet: LoadedFacts,
    /// The certificate that kubelet serves, and the running one does, where the root signs it.
    pub kubelet_server: Option<ServingFacts>,
    /// What only a control-plane node has.
    pub control_plane: Option<ControlPlaneFacts>,
}

/// What a process read when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadedFacts {
    /// The CA certificates.
    pub trust: TrustedRoots,
    /// Its client certificate.
    pub client: Chain,
}

/// A serving certificate that is read at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServingFacts {
    /// The one in the file.
    pub file: Chain,
    /// The one that is shown.
    pub shows: Chain,
}

/// What is found on a control-plane node alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlPlaneFacts {
    /// The root whose key is in `ca.key`.
    pub ca_key: RootCa,
    /// The flags of kube-controller-manager's manifest, and the certificate in its own files.
    pub signing: SigningFiles,
    /// Whether the running kube-controller-manager has these flags.
    pub signing_is_loaded: bool,
    /// The CA certificates in the kubeconfigs of the administrators, kube-controller-manager and
    /// kube-scheduler.
    pub kubeconfigs: TrustedRoots,
    /// The client certificates in them, and apiserver-kubelet-client.
    pub clients: Chain,
    /// The API server's certificate.
    pub server: Chain,
    /// What the API server has read again of its files.
    pub api_server: ApiServerFacts,
    /// What kube-controller-manager read at its start.
    pub controller_manager: LoadedFacts,
    /// What it read of `ca.crt` at its start, and publishes while it is the leader: as it is there,
    /// or each change of the leader would write everything anew.
    pub root_ca: CaFile,
    /// What kube-scheduler read at its start.
    pub scheduler: LoadedFacts,
    /// The CA of the front proxy, where it is replaced with the root CA.
    pub front_proxy: Option<FrontProxyFacts>,
}

/// The CA of the front proxy on a control-plane node. The old and the new one are its own.
///
/// The API server shows front-proxy-client to the aggregated API servers, which verify it by what
/// all API servers of the cluster publish of front-proxy-ca.crt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontProxyFacts {
    /// `front-proxy-ca.crt`.
    pub ca: CaFile,
    /// The CA whose key is in `front-proxy-ca.key`.
    pub ca_key: RootCa,
    /// The CA that issued front-proxy-client.
    pub client: RootCa,
    /// The CA that issued what the API server shows; `None` until it has had the time to read the
    /// present one and `front-proxy-ca.crt`.
    pub shows: Option<RootCa>,
}

/// What an API server works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiServerFacts {
    /// The roots by which it accepts clients. It reads `ca.crt` again by itself.
    pub accepts: TrustedRoots,
    /// The certificate that it shows, which it reads again by itself.
    pub shows: Chain,
    /// The client certificate on its open connections to kubelets.
    pub kubelet_client: Chain,
    /// The roots by which it verifies kubelets, where it does. It reads them at its start.
    pub kubelet_ca: Option<TrustedRoots>,
}

/// A level of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationLevel {
    /// Nothing of a rotation is there.
    Rest,
    /// kube-controller-manager signs with files of its own, so that `ca.crt` may hold two
    /// certificates.
    Staged,
    /// Everything trusts both roots.
    Trusted,
    /// All client certificates are of the new root.
    Clients,
    /// All certificates are, and the new root signs.
    Servers,
    /// Only the new root is trusted.
    Distrusted,
    /// The new root has the old one's key, and is trusted in its place.
    Renewed,
}

impl fmt::Display for RotationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl RotationLevel {
    /// The levels of a replacement, from the first.
    pub const ALL: [Self; 6] =
        [Self::Rest, Self::Staged, Self::Trusted, Self::Clients, Self::Servers, Self::Distrusted];

    /// Its name in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Staged => "staged",
            Self::Trusted => "trusted",
            Self::Clients => "clients",
            Self::Servers => "servers",
            Self::Distrusted => "distrusted",
            Self::Renewed => "renewed",
        }
    }

    /// Whether a rotation ends with it.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Rest | Self::Distrusted | Self::Renewed)
    }

    /// The next one on the way to another; itself where it is that one.
    #[must_use]
    pub fn towards(self, goal: Self) -> Self {
        if self == Self::Renewed || goal == Self::Renewed {
            return goal;
        }
        let mut between = Self::ALL.into_iter().filter(|level| match goal > self {
            true => *level > self && *level <= goal,
            false => *level < self && *level >= goal,
        });
        let next = if goal > self { between.next() } else { between.next_back() };
        next.unwrap_or(self)
    }
}

/// What the nodes have agreed on: each of them works to the second level, and has everything of the
/// first or of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agreement {
    /// It grows by one with each change.
    pub generation: u64,
    /// The level that all nodes had when it was made, or were on their way to or from.
    pub from: RotationLevel,
    /// The level to which they work.
    pub to: RotationLevel,
}

/// How far a node is with an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeProgress {
    /// The generation of the last agreement that it has worked by.
    pub generation: u64,
    /// Whether it has everything of the level of that one.
    #[serde(rename = "done")]
    pub is_done: bool,
}

/// A program that reads its files only when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartedProgram {
    /// etcd, only where its CA is renewed.
    Etcd,
    /// kube-apiserver, only where it verifies kubelets, or etcd's CA is renewed.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kubelet.
    Kubelet,
}

/// A program that reads files again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReloadingProgram {
    /// kube-apiserver: `ca.crt`, the certificate that it shows, and those with which it connects to
    /// kubelets and to aggregated API servers.
    ApiServer,
    /// kubelet: `ca.crt`.
    Kubelet,
}

/// Certificates that are shown with a bridge behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BridgeHolder {
    /// The client certificates of the control plane.
    Clients,
    /// kubelet's client certificate.
    KubeletClient,
    /// The API server's certificate.
    Server,
    /// The certificate that kubelet serves.
    KubeletServer,
}

/// One step of a rotation on one node. Each is a transaction, a restart, or a time of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RotationStep {
    /// Gives kube-controller-manager these files to sign with. Its manifest changes where they were
    /// `ca.crt` and `ca.key`, or become these.
    Sign(SigningFiles),
    /// Writes `ca.crt`.
    WriteCa(CaFile),
    /// Writes `ca.crt` and `ca.key` together.
    SwapCa(CaFile, RootCa),
    /// Writes the CA certificates into the kubeconfigs of the control plane.
    TrustInKubeconfigs(TrustedRoots),
    /// Writes them into kubelet.conf.
    TrustInKubelet(TrustedRoots),
    /// Writes the renewed certificates of other CAs.
    RenewOthers,
    /// Issues the client certificates of the control plane, with a bridge behind them where there
    /// is one.
    IssueClients(RootCa),
    /// Has kubelet's client certificate issued, and keeps it only where this root signed it.
    IssueKubeletClient(RootCa),
    /// Issues the API server's certificate.
    IssueServer(RootCa),
    /// Has the certificate that kubelet serves issued, and keeps it only where this root signed it.
    IssueKubeletServer(RootCa),
    /// Puts the bridge behind certificates that lack it.
    AddBridge(BridgeHolder),
    /// Removes the bridge from behind certificates.
    DropBridge(BridgeHolder),
    /// Writes `front-proxy-ca.crt`.
    WriteFrontProxyCa(CaFile),
    /// Writes `front-proxy-ca.crt` and `front-proxy-ca.key` together.
    SwapFrontProxyCa(CaFile, RootCa),
    /// Issues front-proxy-client by this CA of the front proxy.
    IssueFrontProxyClient(RootCa),
    /// Waits until a program has read its files again.
    Await(ReloadingProgram),
    /// Restarts a program.
    Restart(RestartedProgram),
}
