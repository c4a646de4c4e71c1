//! The CA of the front proxy, which gets a new key when the root CA does: the same programs hold
//! both.

use super::order::{OrderError, TOLERATED_SKEW};
use crate::act::RotationKeys;
use crate::credentials::{LoadedAuthority, LoadedKey, load_authority};
use crate::formats::rotation_intent::CaPair;
use crate::formats::x509::{
    Certificate, NewRoot, NewRootError, PrivateKey, RootLifetime, new_root,
};
use crate::model::{ReplacedCa, Timestamp};
use crate::observe::Node;
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
/// When no key or certificate can be made.
pub(super) fn replaced_front_proxy(
    node: &Node,
    now: Timestamp,
) -> Result<ReplacedFrontProxy, OrderError> {
    let present = match present(node, now) {
        Ok(Some(present)) => present,
        Ok(None) => return Ok(ReplacedFrontProxy::default()),
        Err(reason) => return Ok(stays(&reason)),
    };
    let (old, old_key) = present;
    let lifetime =
        RootLifetime { now, tolerated_skew: TOLERATED_SKEW, validity: ca_validity(node, &old) };
    match new_root(&old.subject, &old.key_algorithm, &lifetime) {
        Ok(NewRoot { certificate: new, key }) => Ok(ReplacedFrontProxy {
            pair: Some(CaPair { old, new }),
            keys: Some(RotationKeys {
                ca: ReplacedCa::FrontProxy,
                old: Some(old_key),
                new: Some(key),
            }),
            note: None,
        }),
        Err(error @ NewRootError::Subject(_)) => Ok(stays(&error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn stays(reason: &str) -> ReplacedFrontProxy {
    let note = Some(format!("the CA of the front proxy stays: {reason}"));
    ReplacedFrontProxy { note, ..ReplacedFrontProxy::default() }
}

/// The present one and its key; `None` where the node has none besides the root CA. The text says
/// why it can't be replaced.
fn present(node: &Node, now: Timestamp) -> Result<Option<(Certificate, PrivateKey)>, String> {
    let Some(authority) = node.catalog.front_proxy_authority() else { return Ok(None) };
    let file = &authority.certificate;
    let (anchors, key) = match load_authority(&node.root, authority) {
        LoadedAuthority::Present { anchors, key, .. } => (anchors, key),
        LoadedAuthority::Absent => return Ok(None),
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            return Err(reason);
        }
    };
    let mut all = anchors.iter();
    let (Some(certificate), None) = (all.next(), all.next()) else {
        return Err(format!("{file}: it holds several CA certificates"));
    };
    if is_root(node, certificate) {
        return Ok(None);
    }
    if let Some(reason) = refusal(certificate, now) {
        return Err(format!("{file}: {reason}"));
    }
    match key {
        LoadedKey::Usable(key) => Ok(Some((certificate.clone(), key))),
        LoadedKey::Absent => Err(format!("its key {} is not on this node", authority.key)),
        LoadedKey::Unusable(reason) => Err(reason),
    }
}

/// Some clusters have one CA for everything.
fn is_root(node: &Node, certificate: &Certificate) -> bool {
    node.catalog.root_authority().is_some_and(|root| {
        let loaded = load_authority(&node.root, root);
        let is_root = |one: &Certificate| one.public_key_der() == certificate.public_key_der();
        loaded.anchors().any(is_root)
    })
}

/// Why a CA can't be replaced by one of its name.
fn refusal(certificate: &Certificate, now: Timestamp) -> Option<&'static str> {
    if !certificate.is_self_signed() {
        return Some("it is an intermediate CA");
    }
    if !certificate.is_valid_at(now) {
        return Some("it is not valid now");
    }
    // OpenSSL tells two CAs of one name apart by that alone.
    certificate.subject_key_identifier.is_none().then_some("it has no subject key identifier")
}
