//! What is found on a node of the two roots of a rotation.
//!
//! What has to agree in the end is a list, and what a program has read is compared with its files
//! as they are now. The planner makes its facts of it.

use super::{CaFile, Chain, CredentialName, RootCa, SigningFiles, TrustedRoots};

/// What is found on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRotation {
    /// `ca.crt`.
    pub ca: CaFile,
    /// The roots of which kubelet was seen to accept clients; `None` where that is not known.
    pub kubelet_accepts: Option<TrustedRoots>,
    /// The CA certificates in each kubeconfig of kubelet.
    pub kubelet_trust: Vec<TrustedRoots>,
    /// kubelet's client certificate.
    pub kubelet_client: Chain,
    /// What the running kubelet has read.
    pub kubelet: ReadByProgram,
    /// The certificate that kubelet serves, where the root signs it.
    pub kubelet_server: Option<ServedByKubelet>,
    /// What only a control-plane node has.
    pub control_plane: Option<FoundControlPlane>,
}

/// Whether a program uses a certificate as it is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It does.
    Current,
    /// It uses an earlier one.
    Outdated,
    /// That is not known, or it does not run.
    NotKnown,
}

/// Whether a program that reads its files when it starts has read them as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadByProgram {
    /// The CA certificates.
    pub trust: bool,
    /// Its client certificate.
    pub client: Reading,
}

/// The certificate that kubelet serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedByKubelet {
    /// The one in the file.
    pub file: Chain,
    /// Whether it is the one that is shown.
    pub shown: Reading,
}

/// The CAs that are renewed with the root CA: those of etcd and of the front proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherCas {
    /// Whether their renewed certificates are in place.
    pub are_in_place: bool,
    /// Whether etcd has read its CA certificates as they are, where it runs here.
    pub read_by_etcd: bool,
    /// Whether the API server has.
    pub read_by_api_server: bool,
}

/// What is found on a control-plane node alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundControlPlane {
    /// The root whose key is in `ca.key`.
    pub ca_key: RootCa,
    /// The flags of kube-controller-manager's manifest, and the certificate in its own files.
    pub signing: SigningFiles,
    /// Whether the key in its own files fits the certificate there.
    pub signing_fits: bool,
    /// Whether the running kube-controller-manager has these flags.
    pub signing_is_loaded: bool,
    /// The certificates that one of the roots signed and no step issues anew.
    pub not_issued_here: Vec<(CredentialName, RootCa)>,
    /// The CA certificates in each kubeconfig of the control plane.
    pub kubeconfigs: Vec<TrustedRoots>,
    /// The other CAs that are renewed with the root.
    pub other_cas: OtherCas,
    /// The client certificates that the root signs.
    pub clients: Vec<Chain>,
    /// The serving certificates that the root signs.
    pub servers: Vec<Chain>,
    /// The roots of which the API server was seen to accept clients; `None` where that is not
    /// known.
    pub api_server_accepts: Option<TrustedRoots>,
    /// Whether the API server shows the certificate in its file.
    pub server_shown: Reading,
    /// Whether its connections to kubelets have the client certificate in its file.
    pub kubelet_client_used: Reading,
    /// Whether it has read the roots by which it verifies kubelets, where it does.
    pub kubelet_ca_is_read: Option<bool>,
    /// What kube-controller-manager has read.
    pub controller_manager: ReadByProgram,
    /// Whether it has read `ca.crt`, which it publishes.
    pub root_ca_is_read: bool,
    /// What kube-scheduler has read.
    pub scheduler: ReadByProgram,
    /// The CA of the front proxy, where it is replaced with the root CA.
    pub front_proxy: Option<FoundFrontProxy>,
}

/// What is found of the CA of the front proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFrontProxy {
    /// `front-proxy-ca.crt`.
    pub ca: CaFile,
    /// The CA whose key is in `front-proxy-ca.key`.
    pub ca_key: RootCa,
    /// The CA that issued each client certificate of it: front-proxy-client, as a rule.
    pub clients: Vec<RootCa>,
    /// Whether the API server has had the time to read all of them.
    pub is_read: bool,
}
