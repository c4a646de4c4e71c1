//! What is found on this node of the two roots of a rotation: in `ca.crt`, in the kubeconfigs,
//! behind the certificates, and in what the services have read.
//!
//! Certificates are compared byte for byte. Anything that is neither of the two roots and has their
//! place is another rotation, or a change by hand: then nothing is known, and the text says what
//! was found.

mod front_proxy;
mod read;
mod signing;

use super::controller_manager::CONTROLLER_MANAGER;
use super::{Catalog, Node};
use crate::credentials::{
    Cluster, Files as _, Loaded, LoadedKey, ObservedFiles, Stored, cluster, load, load_authority,
    read_key,
};
use crate::formats::rotation_intent::{CaPair, RotationIntent};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{
    AbsolutePath, Authority, CaFile, Chain, Credential, CredentialName, FoundControlPlane,
    FoundRotation, Location, OtherCas, Renewal, RootCa, ServiceMemory, TrustSource, TrustedRoots,
};
use crate::plan::JudgedService;

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const SCHEDULER: &str = "kube-scheduler";
const KUBELET: &str = "kubelet";

/// Why the facts of a rotation are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationTrouble {
    /// Something has the place of a root and is none of the two.
    #[error("{object}: {found}, which is no part of this rotation")]
    Interference {
        /// The file or object.
        object: String,
        /// What is there.
        found: String,
    },
    /// Something is missing or can't be read.
    #[error("{0}")]
    Unreadable(String),
}

/// The clients of which roots are accepted, where that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptedClients {
    /// By the API server of this node.
    pub api_server: Option<TrustedRoots>,
    /// By its kubelet.
    pub kubelet: Option<TrustedRoots>,
}

/// The services of this node, and what is remembered of them.
#[derive(Clone, Copy, Debug)]
pub struct RunningServices<'s> {
    /// As they were judged.
    pub judged: &'s [JudgedService],
    /// The memory by which they were.
    pub memory: &'s ServiceMemory,
    /// What was tried at them.
    pub accepted: AcceptedClients,
}

/// Finds the facts of a rotation on this node. Where the services are not given, they count as
/// having read everything: those of another root directory do not run.
///
/// # Errors
/// When something else has the place of a root, or can't be read.
pub fn find_rotation(
    node: &Node,
    files: &ObservedFiles,
    intent: &RotationIntent,
    services: Option<RunningServices<'_>>,
) -> Result<FoundRotation, RotationTrouble> {
    let catalog = &node.catalog;
    let missing = || RotationTrouble::Unreadable("the profile has no root CA".to_owned());
    let authority = catalog.root_authority().ok_or_else(missing)?;
    let finder = Finder { node, files, intent, roots: intent.roots(), services, authority };
    let ca = finder.ca_file(authority, &finder.roots)?;
    let kubelet = finder.kubelet_credential()?;
    let accepted = |of: fn(AcceptedClients) -> Option<TrustedRoots>| match services {
        Some(services) => of(services.accepted),
        None => Some(ca.trust()),
    };
    Ok(FoundRotation {
        ca,
        kubelet_accepts: accepted(|one| one.kubelet),
        kubelet_trust: finder.trust_of(catalog.kubeconfigs.iter())?,
        kubelet_client: kubelet,
        kubelet: finder.kubelet_read(),
        kubelet_server: None,
        control_plane: finder.control_plane(accepted(|one| one.api_server))?,
    })
}

struct Finder<'f> {
    node: &'f Node,
    files: &'f ObservedFiles,
    intent: &'f RotationIntent,
    roots: CaPair,
    services: Option<RunningServices<'f>>,
    authority: &'f Authority,
}

impl Finder<'_> {
    /// What the file of a CA that is replaced holds.
    fn ca_file(&self, authority: &Authority, pair: &CaPair) -> Result<CaFile, RotationTrouble> {
        let found = self.pem(&authority.certificate)?;
        pair.file(&found).ok_or_else(|| {
            let subjects: Vec<_> = found.iter().map(describe).collect();
            interference(&authority.certificate, &subjects.join(", "))
        })
    }

    /// Whose key its key file has; `None` where it does not exist.
    fn ca_key_file(
        &self,
        authority: &Authority,
        pair: &CaPair,
    ) -> Result<Option<RootCa>, RotationTrouble> {
        let file = &authority.key;
        match read_key(self.files, file) {
            LoadedKey::Absent => Ok(None),
            LoadedKey::Unusable(reason) => Err(RotationTrouble::Unreadable(reason)),
            LoadedKey::Usable(key) => match pair.owner(&key) {
                Some(root) => Ok(Some(root)),
                None => Err(interference(file, "the key of another CA")),
            },
        }
    }

    fn pem(&self, file: &AbsolutePath) -> Result<Vec<Certificate>, RotationTrouble> {
        let unreadable = |reason: String| RotationTrouble::Unreadable(format!("{file}: {reason}"));
        let content =
            self.files.read(file).map_err(|e| RotationTrouble::Unreadable(e.to_string()))?;
        let content = content.ok_or_else(|| unreadable("it does not exist".to_owned()))?;
        certificates(content.expose()).map_err(|e| unreadable(e.to_string()))
    }

    /// The roots in these kubeconfigs, each with the credential that it is part of. One that names
    /// `ca.crt` for its CA certificates follows that. One that has neither root is for another
    /// server, unless its client certificate is of this cluster.
    fn trust_of<'p>(
        &self,
        kubeconfigs: impl Iterator<Item = (&'p CredentialName, &'p AbsolutePath)>,
    ) -> Result<Vec<TrustedRoots>, RotationTrouble> {
        let mut all = Vec::new();
        for (credential, file) in kubeconfigs {
            let Some(Cluster { source, certificates, .. }) = cluster(self.files, file) else {
                continue;
            };
            if source == TrustSource::File(self.authority.certificate.clone()) {
                continue;
            }
            let found = certificates
                .map_err(|reason| RotationTrouble::Unreadable(format!("{file}: {reason}")))?;
            match (self.intent.trusted_in(&found), source) {
                (Some(trusted), TrustSource::Embedded) => all.push(trusted),
                (Some(_), _) => {
                    let text = "its CA certificates are in another file than ca.crt";
                    return Err(interference(file, text));
                }
                (None, _) if self.is_of_cluster(credential, &found) => {
                    let subjects: Vec<_> = found.iter().map(describe).collect();
                    let found = format!("it trusts {}", list_or_nothing(&subjects));
                    return Err(interference(file, &found));
                }
                (None, _) => {}
            }
        }
        Ok(all)
    }

    /// Whether a kubeconfig is for this cluster although it has neither root: by its client
    /// certificate, or by another certificate of one of the two roots' keys.
    fn is_of_cluster(&self, credential: &CredentialName, trusted: &[Certificate]) -> bool {
        let of_root = |one: &Credential| {
            one.name == *credential && one.authority.as_ref() == Some(&self.authority.name)
        };
        let keys = [&self.intent.old, &self.intent.new].map(Certificate::public_key_der);
        self.node.catalog.credentials.iter().any(of_root)
            || trusted.iter().any(|one| keys.contains(&one.public_key_der()))
    }

    fn kubelet_credential(&self) -> Result<Chain, RotationTrouble> {
        let names: Vec<_> = self.node.catalog.kubeconfigs.iter().collect();
        let missing = "kubelet's client certificate is not known".to_owned();
        let Some((name, kubeconfig)) = names.first() else {
            return Err(RotationTrouble::Unreadable(missing));
        };
        let mut all = self.node.catalog.credentials.iter();
        let credential = all.find(|one| one.name == **name);
        let credential = credential.ok_or(RotationTrouble::Unreadable(missing))?;
        let embedded = Location::Kubeconfig((*kubeconfig).clone());
        let embedded = Credential { location: embedded, ..credential.clone() };
        let stored = match load(self.files, credential) {
            Loaded::Whole(stored) => Some(*stored),
            _ => load(self.files, &embedded).stored(),
        };
        let stored = stored.ok_or_else(|| {
            RotationTrouble::Unreadable(format!(
                "{}: there is no certificate with its key",
                credential.location
            ))
        })?;
        self.chain(credential, &stored)
    }

    fn chain(&self, credential: &Credential, stored: &Stored) -> Result<Chain, RotationTrouble> {
        let found = self.intent.chain_of(&stored.certificate, &stored.further);
        found.ok_or_else(|| {
            let issuer = format!("a certificate of {}", stored.certificate.issuer);
            interference(&credential.location, &issuer)
        })
    }

    fn control_plane(
        &self,
        api_server_accepts: Option<TrustedRoots>,
    ) -> Result<Option<FoundControlPlane>, RotationTrouble> {
        let Some(ca_key) = self.ca_key()? else { return Ok(None) };
        let (clients, servers) = self.leaves()?;
        let kubeconfigs: Vec<_> = self.node.catalog.kubeconfigs_of_others().collect();
        let kubeconfigs = kubeconfigs.iter().map(|(credential, file)| (credential, file));
        let (signing, signing_is_loaded) = self.signing()?;
        Ok(Some(FoundControlPlane {
            ca_key,
            signing,
            signing_fits: self.signing_fits(signing),
            signing_is_loaded,
            not_issued_here: self.not_issued_here(),
            kubeconfigs: self.trust_of(kubeconfigs)?,
            other_cas: self.other_cas(),
            clients,
            servers,
            api_server_accepts,
            server_shown: self.server_shown(),
            kubelet_client_used: self.kubelet_client_used(),
            kubelet_ca_is_read: self.kubelet_ca_is_read(),
            controller_manager: self.read_at_start(CONTROLLER_MANAGER),
            root_ca_is_read: self.has_read(CONTROLLER_MANAGER, |name| self.is_ca_file(name)),
            scheduler: self.read_at_start(SCHEDULER),
            front_proxy: self.front_proxy()?,
        }))
    }

    fn ca_key(&self) -> Result<Option<RootCa>, RotationTrouble> {
        match self.ca_key_file(self.authority, &self.roots)? {
            None if self.authority.key_elsewhere => Ok(None),
            None => Err(missing(&self.authority.key)),
            found => Ok(found),
        }
    }

    /// The CAs of this node that are renewed with the root CA, and their readers.
    fn other_cas(&self) -> OtherCas {
        let others = &self.intent.others;
        let has_read = |service: &str| {
            let is_here = self.node.catalog.services.iter().any(|one| one.name.as_str() == service);
            others.is_empty()
                || !is_here
                || self.has_read(service, |name| name.credential().is_none())
        };
        OtherCas {
            are_in_place: !self.node.catalog.authorities.iter().any(|ca| self.is_outdated(ca)),
            read_by_etcd: has_read(ETCD),
            read_by_api_server: has_read(API_SERVER),
        }
    }

    /// Whether one of them is still to be put in its place.
    fn is_outdated(&self, authority: &Authority) -> bool {
        let loaded = load_authority(self.files, authority);
        let renews = |new: &Certificate, old: &Certificate| {
            new.is_of_same_ca(old) && new.not_after > old.not_after
        };
        let mut others = self.intent.others.iter();
        others.any(|new| loaded.anchors().any(|old| renews(new, old)))
    }

    /// The client certificates and the serving certificates that the root signs.
    fn leaves(&self) -> Result<(Vec<Chain>, Vec<Chain>), RotationTrouble> {
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for credential in issued_by_ca(&self.node.catalog, self.authority) {
            let Loaded::Whole(stored) = load(self.files, credential) else { continue };
            let chain = self.chain(credential, &stored)?;
            if is_for_servers(&stored.certificate) { &mut servers } else { &mut clients }
                .push(chain);
        }
        Ok((clients, servers))
    }

    /// The certificates of this node that one of the two roots signed and no step issues anew.
    fn not_issued_here(&self) -> Vec<(CredentialName, RootCa)> {
        let catalog = &self.node.catalog;
        let is_issued = |one: &Credential| {
            let of_root = one.authority.as_ref() == Some(&self.authority.name);
            catalog.kubeconfigs.contains_key(&one.name)
                || one.copy_of().is_some()
                || (of_root && one.renewal == Renewal::Ours)
        };
        let others = catalog.credentials.iter().filter(|one| !is_issued(one));
        let found = others.filter_map(|one| {
            let stored = load(self.files, one).stored()?;
            let chain = self.intent.chain_of(&stored.certificate, &stored.further)?;
            Some((one.name.clone(), chain.issuer))
        });
        // One whose key is missing or does not fit is in use as long as its program runs.
        let broken = issued_by_ca(catalog, self.authority).filter_map(|one| {
            let loaded = load(self.files, one);
            let is_whole = matches!(loaded, Loaded::Whole(_));
            let stored = loaded.stored().filter(|_| !is_whole)?;
            let chain = self.intent.chain_of(&stored.certificate, &stored.further)?;
            Some((one.name.clone(), chain.issuer))
        });
        found.chain(broken).collect()
    }
}

/// The credentials of the catalog that a CA issues and kubecertd renews.
pub fn issued_by_ca<'c>(
    catalog: &'c Catalog,
    authority: &'c Authority,
) -> impl Iterator<Item = &'c Credential> {
    catalog.credentials.iter().filter(|one| {
        one.authority.as_ref() == Some(&authority.name) && one.renewal == Renewal::Ours
    })
}

/// Whether a certificate is a server's alone. One for both sides counts as a client's.
#[must_use]
pub fn is_for_servers(certificate: &Certificate) -> bool {
    let usage = certificate.extended_key_usage.as_ref();
    usage.is_some_and(|usage| usage.server_auth && !usage.client_auth)
}

fn interference(object: &impl ToString, found: &str) -> RotationTrouble {
    RotationTrouble::Interference { object: object.to_string(), found: found.to_owned() }
}

fn missing(file: &AbsolutePath) -> RotationTrouble {
    RotationTrouble::Unreadable(format!("{file}: it does not exist"))
}

fn list_or_nothing(all: &[String]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn describe(certificate: &Certificate) -> String {
    let serial = &certificate.serial;
    format!("the certificate of {} with the serial number {serial}", certificate.subject)
}
