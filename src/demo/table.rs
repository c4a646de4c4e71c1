//! The content of the node: the authorities and credentials that kubeadm 1.36 makes, and three of
//! an operator's own.
//!
//! Paths are relative to the node's root directory. Those of a pair are without `.crt` and `.key`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The node's name.
const NODE: &str = "cp1";
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 0, 1));
/// The URL of this node's API server for its own components.
pub(super) const LOCAL_SERVER: &str = "https://10.200.0.1:6443";
/// The URL of the cluster's API servers for administrators.
const CLUSTER_SERVER: &str = "https://k8s-api.example.com:6443";

/// The directory of kubelet's certificates.
pub(super) const KUBELET_PKI: &str = "var/lib/kubelet/pki";
/// The link to the certificate that kubelet uses.
pub(super) const KUBELET_LINK: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";
/// The kubeconfig that names the link.
pub(super) const KUBELET_CONF: &str = "etc/kubernetes/kubelet.conf";

/// The creator of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// kubeadm, on every node.
    Kubeadm,
    /// The operator, in the configuration.
    Operator,
}

/// An authority.
pub(super) struct AuthorityEntry {
    pub(super) name: &'static str,
    pub(super) common_name: &'static str,
    pub(super) files: &'static str,
    pub(super) origin: Origin,
}

/// A credential.
pub(super) struct CredentialEntry {
    pub(super) name: &'static str,
    pub(super) authority: &'static str,
    pub(super) organization: Option<&'static str>,
    pub(super) common_name: &'static str,
    pub(super) usage: Usage,
    pub(super) names: &'static [&'static str],
    pub(super) addresses: &'static [IpAddr],
    pub(super) place: CredentialFiles,
    /// Whether it must not be absent: a manifest or the configuration names it.
    pub(super) needed: bool,
    pub(super) origin: Origin,
}

/// The side of TLS that a certificate is for.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    Server,
    Client,
    Both,
}

const API_SERVER_NAMES: &[&str] = &[
    NODE,
    "k8s-api.example.com",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// The first address of the services, the node's, and the cluster's external one.
const API_SERVER_ADDRESSES: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)),
    NODE_ADDRESS,
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)),
];
const ETCD_NAMES: &[&str] = &[NODE, "localhost"];
const ETCD_ADDRESSES: &[IpAddr] =
    &[NODE_ADDRESS, IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The files of a credential.
pub(super) enum CredentialFiles {
    /// In two files.
    Pair(&'static str),
    /// Embedded in a kubeconfig, whose user has the certificate's common name.
    Kubeconfig { file: &'static str, server: &'static str },
    /// In one file, as kubelet keeps its own.
    KubeletBundle,
}

pub(super) const AUTHORITIES: [AuthorityEntry; 4] = [
    AuthorityEntry {
        name: "ca",
        common_name: "kubernetes",
        files: "etc/kubernetes/pki/ca",
        origin: Origin::Kubeadm,
    },
    AuthorityEntry {
        name: "front-proxy-ca",
        common_name: "front-proxy-ca",
        files: "etc/kubernetes/pki/front-proxy-ca",
        origin: Origin::Kubeadm,
    },
    AuthorityEntry {
        name: "etcd-ca",
        common_name: "etcd-ca",
        files: "etc/kubernetes/pki/etcd/ca",
        origin: Origin::Kubeadm,
    },
    AuthorityEntry {
        name: "webhook-ca",
        common_name: "webhook-ca",
        files: "etc/webhook/ca",
        origin: Origin::Operator,
    },
];

/// What most credentials have in common: a client certificate without an organization.
const CLIENT: CredentialEntry = CredentialEntry {
    name: "",
    authority: "ca",
    organization: None,
    common_name: "",
    usage: Usage::Client,
    names: &[],
    addresses: &[],
    place: CredentialFiles::KubeletBundle,
    needed: true,
    origin: Origin::Kubeadm,
};

pub(super) const CREDENTIALS: [CredentialEntry; 14] = [
    CredentialEntry {
        name: "apiserver",
        common_name: "kube-apiserver",
        usage: Usage::Server,
        names: API_SERVER_NAMES,
        addresses: API_SERVER_ADDRESSES,
        place: CredentialFiles::Pair("etc/kubernetes/pki/apiserver"),
        ..CLIENT
    },
    CredentialEntry {
        name: "apiserver-kubelet-client",
        common_name: "kube-apiserver-kubelet-client",
        place: CredentialFiles::Pair("etc/kubernetes/pki/apiserver-kubelet-client"),
        ..CLIENT
    },
    CredentialEntry {
        name: "apiserver-etcd-client",
        authority: "etcd-ca",
        common_name: "kube-apiserver-etcd-client",
        place: CredentialFiles::Pair("etc/kubernetes/pki/apiserver-etcd-client"),
        ..CLIENT
    },
    CredentialEntry {
        name: "front-proxy-client",
        authority: "front-proxy-ca",
        common_name: "front-proxy-client",
        place: CredentialFiles::Pair("etc/kubernetes/pki/front-proxy-client"),
        ..CLIENT
    },
    CredentialEntry {
        name: "etcd/server",
        authority: "etcd-ca",
        common_name: NODE,
        usage: Usage::Both,
        names: ETCD_NAMES,
        addresses: ETCD_ADDRESSES,
        place: CredentialFiles::Pair("etc/kubernetes/pki/etcd/server"),
        ..CLIENT
    },
    CredentialEntry {
        name: "etcd/peer",
        authority: "etcd-ca",
        common_name: NODE,
        usage: Usage::Both,
        names: ETCD_NAMES,
        addresses: ETCD_ADDRESSES,
        place: CredentialFiles::Pair("etc/kubernetes/pki/etcd/peer"),
        ..CLIENT
    },
    CredentialEntry {
        name: "etcd/healthcheck-client",
        authority: "etcd-ca",
        common_name: "kube-etcd-healthcheck-client",
        place: CredentialFiles::Pair("etc/kubernetes/pki/etcd/healthcheck-client"),
        ..CLIENT
    },
    CredentialEntry {
        name: "admin.conf",
        organization: Some("kubeadm:cluster-admins"),
        common_name: "kubernetes-admin",
        place: CredentialFiles::Kubeconfig {
            file: "etc/kubernetes/admin.conf",
            server: CLUSTER_SERVER,
        },
        needed: false,
        ..CLIENT
    },
    CredentialEntry {
        name: "super-admin.conf",
        organization: Some("system:masters"),
        common_name: "kubernetes-super-admin",
        place: CredentialFiles::Kubeconfig {
            file: "etc/kubernetes/super-admin.conf",
            server: CLUSTER_SERVER,
        },
        needed: false,
        ..CLIENT
    },
    CredentialEntry {
        name: "controller-manager.conf",
        common_name: "system:kube-controller-manager",
        place: CredentialFiles::Kubeconfig {
            file: "etc/kubernetes/controller-manager.conf",
            server: LOCAL_SERVER,
        },
        ..CLIENT
    },
    CredentialEntry {
        name: "scheduler.conf",
        common_name: "system:kube-scheduler",
        place: CredentialFiles::Kubeconfig {
            file: "etc/kubernetes/scheduler.conf",
            server: LOCAL_SERVER,
        },
        ..CLIENT
    },
    CredentialEntry {
        name: "kubelet-client",
        organization: Some("system:nodes"),
        common_name: "system:node:cp1",
        place: CredentialFiles::KubeletBundle,
        needed: true,
        ..CLIENT
    },
    CredentialEntry {
        name: "webhook",
        authority: "webhook-ca",
        common_name: "webhook",
        usage: Usage::Server,
        names: &["webhook.example.com"],
        place: CredentialFiles::Pair("etc/webhook/tls"),
        origin: Origin::Operator,
        ..CLIENT
    },
    CredentialEntry {
        name: "metrics",
        common_name: "metrics",
        usage: Usage::Server,
        names: &["metrics.example.com"],
        place: CredentialFiles::Pair("etc/metrics/tls"),
        origin: Origin::Operator,
        ..CLIENT
    },
];
