//! The parts of a profile: authorities, credentials and services, and how their real places are
//! found.

use serde::Deserialize;

use super::template::ProfileTemplate;
use crate::model::{
    AbsolutePath, AuthorityName, CredentialName, Essential, Location, Renewal, ServiceKind,
    ServiceName, Takes, Version,
};
use crate::settings::ProfileName;

/// The authorities, credentials and services of a kind of node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// The authorities.
    pub authorities: Vec<ProfileAuthority>,
    /// The credentials.
    pub credentials: Vec<ProfileCredential>,
    /// The services, in the order in which they are restarted.
    pub services: Vec<ProfileService>,
    /// Serving certificates that only flags name, so that there are no usual places.
    pub serving: Vec<ProfileServing>,
    /// Files that are no credential and that no renewal replaces.
    pub protected: Vec<ProtectedFile>,
    /// Credentials that only other nodes of the cluster have: copies of them in the configuration,
    /// which may be the same on all nodes, are left out.
    pub elsewhere: Vec<CredentialName>,
}

/// Serving certificates of a static pod that are there only where a flag names them. Any CA of the
/// node may have signed them; what another one signed is only watched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ServingFragment")]
pub struct ProfileServing {
    /// The name; of several pairs the beginning of it.
    pub name: CredentialName,
    /// The service, which reads the files again by itself.
    pub service: ServiceName,
    /// The flags.
    pub flags: ServingFlags,
    /// Where the service serves TLS with it.
    pub served_at: Option<ServedAt>,
}

/// The flags that name serving certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServingFlags {
    /// One for the certificate, one for the key.
    Pair {
        /// The flag that names the certificate.
        certificate: String,
        /// The flag that names the key.
        key: String,
    },
    /// One that may be repeated, each time with a pair: `CERTIFICATE,KEY` or
    /// `CERTIFICATE,KEY:NAMES`.
    Pairs(String),
}

/// A file that no renewal replaces, such as a signing key for tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a file")]
pub struct ProtectedFile {
    /// The usual file.
    pub file: AbsolutePath,
    /// The flags that name the real one.
    #[serde(default)]
    pub flags: Vec<FileFlag>,
}

/// A flag of a static pod that names a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of a pod and a flag")]
pub struct FileFlag {
    /// The pod.
    pub pod: String,
    /// The flag.
    pub file: String,
}

/// An authority and how its real place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileAuthority {
    /// Its name.
    pub name: AuthorityName,
    /// The usual certificate.
    pub certificate: AbsolutePath,
    /// The usual key.
    pub key: AbsolutePath,
    /// Whether it is the root of the whole cluster.
    pub root: bool,
    /// The flags that name the real files; the first that is there wins.
    pub flags: Vec<AuthorityFlags>,
    /// The flags that name the real key, where the one beside the certificate is missing or does
    /// not fit.
    pub key_flags: Option<KeyFlags>,
    /// What a client with a certificate of it may do, where that is not for each client of the
    /// cluster.
    pub clients_may: Option<String>,
    /// Whether nodes of this kind have no key of it.
    pub key_elsewhere: bool,
}

/// The flags of a static pod that name an authority's files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
pub struct AuthorityFlags {
    /// The pod.
    pub pod: String,
    /// The flag that names the certificate.
    pub certificate: String,
    /// The flag that names the key. Without one, the key lies beside the certificate.
    pub key: Option<String>,
    /// Whether the certificate's flag may name a bundle made for verifying. Then a file of another
    /// name than the authority's usual one counts only where there is none of the usual name with
    /// one of its CAs, neither beside it nor at the usual place.
    #[serde(default)]
    pub bundle: bool,
}

/// The flags of a static pod that name a signing certificate and its key. They never decide where
/// an authority is: the key counts only for an authority whose certificate is that file, or is in
/// it too.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
pub struct KeyFlags {
    /// The pod.
    pub pod: String,
    /// The flag that names the certificate.
    pub certificate: String,
    /// The flag that names the key.
    pub key: String,
}

/// A credential and how its real place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileCredential {
    /// Its name.
    pub name: CredentialName,
    /// kubeadm's name where that differs.
    pub kubeadm_name: Option<CredentialName>,
    /// The authority that signs it.
    pub authority: Option<AuthorityName>,
    /// How it is renewed.
    pub renewal: Renewal,
    /// Its usual location.
    pub location: Location,
    /// Where it lives when nothing is at the usual place.
    pub otherwise: Option<Location>,
    /// The flags that name the real files, and thereby say that the node needs it.
    pub flags: Option<CredentialFlags>,
    /// The credential whose directory it shares: when that one lies in another directory than
    /// usual, this one does.
    pub beside: Option<CredentialName>,
    /// The kubeconfig whose user may name the real file.
    pub referenced_by: Option<AbsolutePath>,
    /// Where a new one is tried before it takes the place of the old one.
    pub trial: Option<Trial>,
    /// The flags of the same pod that say at which names and addresses it is served.
    pub names: Option<NameFlags>,
    /// The subjects that it may have, as RFC 4514 writes them; `{node}` stands for the node's name.
    pub subjects: Vec<String>,
    /// What it is made from where it is lost.
    pub template: Option<ProfileTemplate>,
    /// Whether it is listed only where its files exist.
    pub if_present: bool,
}

/// The flags of a static pod that say for which names and addresses a certificate has to be valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of lists of flags")]
pub struct NameFlags {
    /// Flags with an address each.
    pub addresses: Vec<String>,
    /// Flags with a list of URLs each, of which those with `https` count.
    pub urls: Vec<String>,
    /// Flags with a list of networks each: the first address of the first of them counts.
    pub first_of: Vec<String>,
    /// Names that every client in the cluster may use.
    pub always: Vec<String>,
    /// Flags with an URL each, whose host counts where it is one of `always` with a domain behind
    /// it.
    pub in_domain_of: Vec<String>,
    /// Kubeconfigs whose server it is, as far as they trust its authority.
    pub servers: Vec<CredentialName>,
    /// The credential that says which node this is: its name counts too.
    pub node_of: Option<CredentialName>,
}

/// Where a new client certificate is tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a path, and perhaps a service")]
pub struct Trial {
    /// The service of this node that verifies it; none for a kubeconfig, which names its own
    /// server.
    pub service: Option<ServiceName>,
    /// The path of a request that has to be authenticated.
    pub path: String,
    /// The user to ask for, where the certificate is that of a front proxy.
    pub user: Option<String>,
}

/// The flags of a static pod that name a credential's files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CredentialFlagsFragment")]
pub struct CredentialFlags {
    /// The pod.
    pub pod: String,
    /// The flags.
    pub names: FlagNames,
}

/// The names of the flags for each kind of location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagNames {
    /// For a pair of files.
    Pair {
        /// The flag that names the certificate.
        certificate: String,
        /// The flag that names the key.
        key: String,
    },
    /// For a kubeconfig.
    Kubeconfig(String),
}

/// A service and how its real address is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileService {
    /// Its name.
    pub name: ServiceName,
    /// Its kind; a static pod without its manifest.
    pub kind: ServiceKind,
    /// The usual URL of its health; a probe in the manifest takes precedence.
    pub health: Option<String>,
    /// Whether other services need it: it is stopped only where its peers on other nodes are
    /// healthy, and the services after it can't work without it.
    pub essential: Option<Essential>,
    /// The Lease by which its instances elect a leader, where they do.
    pub leader_lease: Option<String>,
    /// The credentials it uses.
    pub uses: Vec<ProfileUse>,
    /// Where the CA certificates are that it reads only when it starts.
    pub trusts: Vec<ProfileTrust>,
    /// The flag for a file in which it needs exactly one certificate.
    pub one_certificate: Option<String>,
    /// The first version of Kubernetes in which certificates that it keeps in memory expire later
    /// than a year after its start; `None` where it keeps none.
    pub ages_before: Option<Version>,
}

/// One credential that a service uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct ProfileUse {
    /// The credential.
    pub credential: CredentialName,
    /// How the service takes a new one.
    pub takes: Takes,
    /// Where the service serves TLS with it.
    pub served_at: Option<ServedAt>,
    /// The remote port of the connections that the service opens with it.
    pub to_port: Option<u16>,
    /// The kubeconfig for the first request to kubelet through the service after a renewal.
    pub first_request: Option<CredentialName>,
}

/// Where CA certificates are that a service reads only when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "flag, kubeconfig or file")]
pub enum ProfileTrust {
    /// In the PEM file that a flag of its pod names.
    Flag(String),
    /// In the kubeconfig that this credential is part of.
    Kubeconfig(CredentialName),
    /// In this PEM file.
    File(AbsolutePath),
}

impl ProfileTrust {
    /// The credential that names the kubeconfig.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        match self {
            Self::Kubeconfig(name) => Some(name),
            Self::Flag(_) | Self::File(_) => None,
        }
    }
}

/// Where a service serves TLS with a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ServedAtFragment")]
pub enum ServedAt {
    /// As flags for the host and for the port say.
    Flags {
        /// The flags that may name the address; the first that names one address and not all of
        /// them wins.
        hosts: Vec<String>,
        /// The flag that names the port.
        port: String,
        /// The port when the flag is not there.
        default_port: u16,
    },
    /// At the first `https` URL of a flag with a list of URLs.
    Urls(String),
    /// Always there, `host:port`.
    Address(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ServingFragment {
    name: CredentialName,
    service: ServiceName,
    certificate: Option<String>,
    key: Option<String>,
    pairs: Option<String>,
    served_at: Option<ServedAt>,
}

impl TryFrom<ServingFragment> for ProfileServing {
    type Error = &'static str;

    fn try_from(entry: ServingFragment) -> Result<Self, Self::Error> {
        let flags = match (entry.certificate, entry.key, entry.pairs) {
            (Some(certificate), Some(key), None) => ServingFlags::Pair { certificate, key },
            (None, None, Some(flag)) => ServingFlags::Pairs(flag),
            _ => return Err("expected the flags for certificate and key, or the one for pairs"),
        };
        let ServingFragment { name, service, served_at, .. } = entry;
        Ok(Self { name, service, flags, served_at })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
struct CredentialFlagsFragment {
    pod: String,
    certificate: Option<String>,
    key: Option<String>,
    kubeconfig: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ServedAtFragment {
    hosts: Option<Vec<String>>,
    port: Option<String>,
    default_port: Option<u16>,
    urls: Option<String>,
    address: Option<String>,
}

impl TryFrom<CredentialFlagsFragment> for CredentialFlags {
    type Error = &'static str;

    fn try_from(flags: CredentialFlagsFragment) -> Result<Self, Self::Error> {
        let names = match (flags.certificate, flags.key, flags.kubeconfig) {
            (Some(certificate), Some(key), None) => FlagNames::Pair { certificate, key },
            (None, None, Some(kubeconfig)) => FlagNames::Kubeconfig(kubeconfig),
            _ => {
                return Err(
                    "expected the flags for certificate and key, or the one for kubeconfig",
                );
            }
        };
        Ok(Self { pod: flags.pod, names })
    }
}

impl TryFrom<ServedAtFragment> for ServedAt {
    type Error = &'static str;

    fn try_from(place: ServedAtFragment) -> Result<Self, Self::Error> {
        match place {
            ServedAtFragment {
                hosts: Some(hosts),
                port: Some(port),
                default_port: Some(default_port),
                urls: None,
                address: None,
            } => Ok(Self::Flags { hosts, port, default_port }),
            ServedAtFragment {
                hosts: None,
                port: None,
                default_port: None,
                urls: Some(flag),
                address: None,
            } => Ok(Self::Urls(flag)),
            ServedAtFragment {
                hosts: None,
                port: None,
                default_port: None,
                urls: None,
                address: Some(address),
            } => {
                if is_address(&address) {
                    Ok(Self::Address(address))
                } else {
                    Err("expected address to be HOST:PORT, such as 127.0.0.1:8443")
                }
            }
            _ => Err("expected hosts, port and default_port, or urls, or address"),
        }
    }
}

/// A name, an address, or an address of IPv6 in brackets; then a port.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |host: &str| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host =
        in_brackets.map_or_else(|| plain(host), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    host && port.parse::<u16>().is_ok_and(|port| port != 0)
}
