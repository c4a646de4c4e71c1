//! The CA of the front proxy, which gets a new key when the root CA does: the same programs hold
//! both.

use super::order::{OrderError, TOLERATED_SKEW};
use crate::act::RotationKeys;
use crate::cluster::{ClusterApi, ObjectError, RootChange};
use crate::credentials::{Loaded, LoadedAuthority, LoadedKey, load, load_authority};
use crate::formats::rotation_intent::CaPair;
use crate::formats::x509::{
    Certificate, DistinguishedName, NamePart, NewRoot, NewRootError, PrivateKey, RootLifetime,
    new_root,
};
use crate::model::{Authority, CaFile, Credential, ReplacedCa, Timestamp};
use crate::observe::{Node, issued_by_ca};
use crate::pass::ca_renewal::ca_validity;

/// What becomes of the CA of the front proxy.
#[derive(Default)]
pub(super) struct ReplacedFrontProxy {
    /// Its certificates, where it is replaced.
    pub pair: Option<CaPair>,
    /// Its keys, where it is.
    pub keys: Option<RotationKeys>,
    /// Why it is not, where the node has one.
    pub note: Option<String>,
}

/// Makes the CA that replaces it: with the same name, for as long as the old one is valid, or as
/// kubeadm's configuration says.
///
/// # Errors
/// When it is the root CA too, or no key or certificate can be made.
pub(super) fn replaced_front_proxy(
    node: &Node,
    now: Timestamp,
) -> Result<ReplacedFrontProxy, OrderError> {
    let Some(authority) = node.catalog.front_proxy_authority() else {
        return Ok(ReplacedFrontProxy::default());
    };
    let (old, old_key) = match present(node, authority, now) {
        Ok(Some(present)) => present,
        Ok(None) => return Ok(ReplacedFrontProxy::default()),
        Err(Stays::ForNow(reason)) => {
            let note = Some(stays(&reason));
            return Ok(ReplacedFrontProxy { note, ..ReplacedFrontProxy::default() });
        }
        Err(Stays::Root) => {
            return Err(OrderError::NotReady(format!(
                "{} holds the root CA: the front proxy needs a CA of its own before the root CA \
                 is replaced",
                authority.certificate
            )));
        }
    };
    let lifetime =
        RootLifetime { now, tolerated_skew: TOLERATED_SKEW, validity: ca_validity(node, &old) };
    match new_root(&name(&old), &old.key_algorithm, &lifetime) {
        Ok(NewRoot { certificate: new, key }) => Ok(ReplacedFrontProxy {
            pair: Some(CaPair { old, new }),
            keys: Some(RotationKeys {
                ca: ReplacedCa::FrontProxy,
                old: Some(old_key),
                new: Some(key),
            }),
            note: None,
        }),
        Err(error @ NewRootError::Subject(_)) => {
            let note = Some(stays(&error.to_string()));
            Ok(ReplacedFrontProxy { note, ..ReplacedFrontProxy::default() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Why the API servers would not publish it for aggregated ones; `None` where they do.
pub(super) async fn why_not_published(
    api: &ClusterApi,
    CaPair { old, new }: &CaPair,
) -> Result<Option<String>, ObjectError> {
    let change = RootChange { old: old.clone(), new: new.clone(), wanted: CaFile::Old };
    match api.observe_client_ca(ReplacedCa::FrontProxy, &change).await {
        Ok(Some(_)) => Ok(None),
        Ok(None) => Ok(Some(stays("no API server publishes it for aggregated API servers"))),
        Err(error @ ObjectError::Malformed { .. }) => Ok(Some(stays(&error.to_string()))),
        Err(error) => Err(error),
    }
}

fn stays(reason: &str) -> String {
    format!("the CA of the front proxy stays: {reason}")
}

/// Why it is not replaced.
enum Stays {
    /// This can be changed.
    ForNow(String),
    /// It is the root CA.
    Root,
}

impl From<String> for Stays {
    fn from(reason: String) -> Self {
        Self::ForNow(reason)
    }
}

/// The present one and its key; `None` where the node has none.
fn present(
    node: &Node,
    authority: &Authority,
    now: Timestamp,
) -> Result<Option<(Certificate, PrivateKey)>, Stays> {
    let file = &authority.certificate;
    let (anchors, key, key_file) = match load_authority(&node.root, authority) {
        LoadedAuthority::Present { anchors, key, key_file } => (anchors, key, key_file),
        LoadedAuthority::Absent => return Ok(None),
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            return Err(reason.into());
        }
    };
    let mut all = anchors.iter();
    let (Some(certificate), None) = (all.next(), all.next()) else {
        return Err(format!("{file}: it holds several CA certificates").into());
    };
    match twin(node, authority, certificate) {
        Some(other) if other.root => return Err(Stays::Root),
        Some(other) => return Err(format!("{file}: it is the CA {} too", other.name).into()),
        None => {}
    }
    if !certificate.is_self_signed() {
        return Err(format!("{file}: it is an intermediate CA").into());
    }
    if !certificate.is_valid_at(now) {
        return Err(format!("{file}: it is not valid now").into());
    }
    if let Some(reason) = unready(node, authority, certificate) {
        return Err(reason.into());
    }
    match key {
        LoadedKey::Usable(_) if key_file != authority.key => {
            Err(format!("its key is in {key_file}, and not in {}", authority.key).into())
        }
        LoadedKey::Usable(key) => Ok(Some((certificate.clone(), key))),
        LoadedKey::Absent => Err(format!("its key {} is not on this node", authority.key).into()),
        LoadedKey::Unusable(reason) => Err(reason.into()),
    }
}

/// Another CA of this node with the same key.
fn twin<'n>(
    node: &'n Node,
    authority: &Authority,
    certificate: &Certificate,
) -> Option<&'n Authority> {
    let has_key = |other: &&Authority| {
        let loaded = load_authority(&node.root, other);
        let is_it = |one: &Certificate| one.public_key_der() == certificate.public_key_der();
        other.name != authority.name && loaded.anchors().any(is_it)
    };
    let others = || node.catalog.authorities.iter();
    others().filter(|one| one.root).find(has_key).or_else(|| others().find(has_key))
}

/// The certificate of it that no step would issue by the new one.
fn unready(node: &Node, authority: &Authority, certificate: &Certificate) -> Option<String> {
    let catalog = &node.catalog;
    let reason = |credential: &Credential| {
        let is_issued = issued_by_ca(catalog, authority).any(|one| one.name == credential.name);
        match load(&node.root, credential) {
            Loaded::Whole(_) | Loaded::Absent if is_issued => None,
            _ if is_issued => Some("it has to be right first; see `kubecertd check`"),
            loaded => {
                let stored = loaded.stored().filter(|_| credential.copy_of().is_none())?;
                let is_of_it = stored.certificate.was_signed_by(certificate);
                is_of_it.then_some("it issued that, and kubecertd does not renew it")
            }
        }
    };
    let mut all = catalog.credentials.iter();
    all.find_map(|one| Some(format!("{}: {}", one.name, reason(one)?)))
}

/// The name of the new one. OpenSSL tells two CAs of one name apart by the subject key identifier
/// of the old one alone.
fn name(old: &Certificate) -> DistinguishedName {
    if old.subject_key_identifier.is_some() {
        return old.subject.clone();
    }
    let names = ["front-proxy-ca", "front-proxy-ca-2"];
    let names = names.map(|name| DistinguishedName::from_parts(&[(NamePart::CommonName, name)]));
    let mut others =
        names.into_iter().flatten().filter(|name| !name.is_equivalent_to(&old.subject));
    others.next().unwrap_or_else(|| old.subject.clone())
}
