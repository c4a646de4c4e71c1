//! What a rotation of the root CA finds on the nodes and in the API, and what it does there.
//!
//! A rotation goes through levels, each of which holds on every node before the next one begins. No
//! level is stored: it is computed from these facts.

/// One of the two roots of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootCa {
    /// The one that signs before it.
    Old,
    /// The one that signs after it.
    New,
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
    /// `ca.crt`, by which kubelet and the API server accept clients. Both read it again.
    pub ca: CaFile,
    /// The CA certificates in kubelet.conf.
    pub kubelet_trust: TrustedRoots,
    /// The issuer of kubelet's client certificate.
    pub kubelet_client: RootCa,
    /// What the running kubelet read at its start: the two before this.
    pub kubelet: LoadedFacts,
    /// What only a control-plane node has.
    pub control_plane: Option<ControlPlaneFacts>,
}

/// What a process read when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadedFacts {
    /// The CA certificates.
    pub trust: TrustedRoots,
    /// The issuer of its client certificate.
    pub client: RootCa,
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
    /// The issuer of the client certificates in them, and of apiserver-kubelet-client.
    pub clients: RootCa,
    /// The issuer of the API server's certificate, which it reads again.
    pub server: RootCa,
    /// What kube-controller-manager read at its start.
    pub controller_manager: LoadedFacts,
    /// What it read of `ca.crt` at its start, and publishes while it is the leader.
    pub root_ca: TrustedRoots,
    /// What kube-scheduler read at its start.
    pub scheduler: LoadedFacts,
}

/// What is found in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiFacts {
    /// The ConfigMaps kube-root-ca.crt and the token Secrets, which kube-controller-manager writes.
    pub published: TrustedRoots,
    /// cluster-info, and every caBundle that held the old root.
    pub objects: TrustedRoots,
}

/// A level of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

impl RotationLevel {
    /// All levels, from the first.
    pub const ALL: [Self; 6] =
        [Self::Rest, Self::Staged, Self::Trusted, Self::Clients, Self::Servers, Self::Distrusted];

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Rest => Self::Staged,
            Self::Staged => Self::Trusted,
            Self::Trusted => Self::Clients,
            Self::Clients => Self::Servers,
            Self::Servers | Self::Distrusted => Self::Distrusted,
        }
    }

    /// The one before it.
    #[must_use]
    pub fn previous(self) -> Self {
        match self {
            Self::Rest | Self::Staged => Self::Rest,
            Self::Trusted => Self::Staged,
            Self::Clients => Self::Trusted,
            Self::Servers => Self::Clients,
            Self::Distrusted => Self::Servers,
        }
    }
}

/// The levels between which a node or a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelRange {
    /// The highest level of which everything holds.
    pub floor: RotationLevel,
    /// The lowest level that explains everything: higher than the floor where a step to it or from
    /// it is made.
    pub ceiling: RotationLevel,
}

/// A program that reads its files only when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartedProgram {
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kubelet.
    Kubelet,
}

/// One step of a rotation on one node. Each is a transaction, or one restart.
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
    /// Issues the client certificates of the control plane.
    IssueClients(RootCa),
    /// Has kubelet's client certificate issued.
    IssueKubeletClient(RootCa),
    /// Issues the API server's certificate.
    IssueServer(RootCa),
    /// Restarts a program.
    Restart(RestartedProgram),
}
