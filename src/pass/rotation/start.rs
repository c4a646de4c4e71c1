//! The beginning of a rotation: the new root is made, judged or renewed, this node is checked, the
//! keys are kept, and the intent is announced to the cluster.

use super::front_proxy::{ReplacedFrontProxy, replaced_front_proxy, why_not_published};
use super::kept::{RotationError, administrator_api, root_authority, sign};
use super::order::{OrderError, TOLERATED_SKEW, bridge_by, own_name};
use crate::act::{RotationKeys, RotationStepError};
use crate::cluster::{ClusterApi, ObjectError};
use crate::credentials::{
    Files, LoadedAuthority, LoadedKey, ObservedFiles, SuppliedRoot, load_authority,
};
use crate::formats::rotation_intent::RotationIntent;
use crate::formats::x509::{
    Certificate, DistinguishedName, NewRoot, PrivateKey, RootLifetime, new_root,
};
use crate::model::{
    Agreement, CaFile, ClockTrust, CredentialName, Digest, Material, ReplacedCa, RootCa,
    RotationLevel, SigningFiles, Timestamp,
};
use crate::observe::{ControllerManager, Node, Platform, find_rotation, issued_by_ca};
use crate::pass::ca_renewal::{ca_validity, renewed, renewed_others};
use crate::pass::decision::clock_trust;
use crate::pass::new_root::judge;
use crate::pass::{PassError, open_store, survey};
use crate::state::{KeptRotation, rotation_key};
use crate::store::{Backup, Change, Kind, NewFile};
use crate::sys::block_on;

/// What the rotation is to replace the root CA by.
#[derive(Debug)]
pub enum Replacement {
    /// A root CA that is made now, with this subject; without one, with that of the present one.
    Made(Option<DistinguishedName>),
    /// The operator's own, and whether the system may trust it.
    Supplied(Box<SuppliedRoot>, bool),
    /// The present one with a later end: its key and all that it signed stay.
    Renewed,
}

/// What a rotation begins with.
#[derive(Debug)]
pub struct StartOrder {
    /// The new root.
    pub replacement: Replacement,
    /// Whether the operator orders each level.
    pub is_stepwise: bool,
    /// Who orders it.
    pub operator: String,
    /// An operator asserts that the clock is right.
    pub trust_clock: bool,
}

/// The present root CA and its key.
struct Present {
    certificate: Certificate,
    key: PrivateKey,
}

/// What is trusted in place of the present root CA.
struct NewTrust {
    certificate: Certificate,
    /// Its key, where it has one of its own.
    key: Option<PrivateKey>,
    /// The bridge to it, where it has a key of its own.
    bridge: Option<Certificate>,
    /// Other CAs that are renewed with it.
    others: Vec<Certificate>,
}

/// A rotation that is not announced yet.
pub(super) struct Prepared {
    /// Its intent, without the cluster.
    pub intent: RotationIntent,
    /// Why the CA of the front proxy is not replaced too.
    pub note: Option<String>,
    kept: KeptRotation,
    keys: PreparedKeys,
}

impl Prepared {
    /// The same, with the CA of the front proxy only where the API servers publish that.
    pub(super) async fn published(mut self, api: &ClusterApi) -> Result<Self, ObjectError> {
        if let Some(pair) = &self.intent.front_proxy
            && let Some(reason) = why_not_published(api, pair).await?
        {
            (self.intent.front_proxy, self.keys.front_proxy) = (None, None);
            self.note = Some(reason);
        }
        Ok(self)
    }
}

struct PreparedKeys {
    old: PrivateKey,
    /// The new root's, where it has one of its own.
    new: Option<PrivateKey>,
    front_proxy: Option<RotationKeys>,
}

/// A rotation that has begun.
#[derive(Debug)]
pub struct Started {
    /// Its intent.
    pub intent: RotationIntent,
    /// Why the CA of the front proxy is not replaced too.
    pub note: Option<String>,
}

/// Begins a rotation.
///
/// # Errors
/// When this node or its root CA is not ready for it, or the cluster refuses.
pub fn start(node: &Node, order: StartOrder, now: Timestamp) -> Result<Started, OrderError> {
    let prepared = prepare(node, order, now)?;
    let own = own_name(node, now);
    block_on(announce(node, prepared, own, now))?
}

/// Refuses a cluster with other nodes: their part of a replacement is not carried out yet.
async fn refuse_other_nodes(api: &ClusterApi, own: Option<&String>) -> Result<(), OrderError> {
    let nodes = api.nodes().await.map_err(RotationError::from)?.answer;
    let others: Vec<_> =
        nodes.into_iter().map(|node| node.name).filter(|name| own != Some(name)).collect();
    if others.is_empty() { Ok(()) } else { Err(OrderError::OtherNodes(others)) }
}

/// Makes the new root and the intent. Nothing is written.
pub(super) fn prepare(
    node: &Node,
    order: StartOrder,
    now: Timestamp,
) -> Result<Prepared, OrderError> {
    if node.platform == Platform::StarlingX {
        return Err(OrderError::Platform(PassError::Platform));
    }
    let state = &node.settings.paths.state;
    let (kept, note) = KeptRotation::read(&node.root, state);
    if let Some(note) = note {
        return Err(OrderError::NotReady(note));
    }
    if kept.intent.is_some() {
        return Err(OrderError::UnderWay);
    }
    let old = present(node, now)?;
    check_clock(node, order.trust_clock, now)?;
    let goal = match order.replacement {
        Replacement::Renewed => RotationLevel::Renewed,
        Replacement::Made(_) | Replacement::Supplied(..) if order.is_stepwise => {
            RotationLevel::Staged
        }
        Replacement::Made(_) | Replacement::Supplied(..) => RotationLevel::Servers,
    };
    let NewTrust { certificate, key, bridge, others } =
        new_trust(node, order.replacement, &old, now)?;
    let ReplacedFrontProxy { pair, keys: front_proxy, note } = match goal {
        RotationLevel::Renewed => ReplacedFrontProxy::default(),
        _ => replaced_front_proxy(node, now)?,
    };
    let agreement = Agreement {
        generation: first_generation(&kept, now),
        from: RotationLevel::Rest,
        to: RotationLevel::Rest,
    };
    let intent = RotationIntent {
        cluster: String::new(),
        old: old.certificate.clone(),
        new: certificate,
        bridge,
        bridge_back: None,
        others,
        front_proxy: pair,
        agreement,
        goal,
        is_stepwise: order.is_stepwise,
        paused: None,
        without: Vec::new(),
        started: now,
        operator: order.operator,
    };
    check_ready(node, &intent, now)?;
    let keys = PreparedKeys { old: old.key, new: key, front_proxy };
    Ok(Prepared { intent, note, kept, keys })
}

/// Later than that of any earlier rotation: a node that was installed again remembers none.
fn first_generation(kept: &KeptRotation, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    kept.generation.saturating_add(1).max(seconds)
}

/// Writes the keys, then the role and the object, then what this node keeps.
async fn announce(
    node: &Node,
    prepared: Prepared,
    own: Option<String>,
    now: Timestamp,
) -> Result<Started, OrderError> {
    let api = administrator_api(node).await.map_err(RotationError::from)?;
    let failed = |e: ObjectError| OrderError::from(RotationError::from(e));
    if api.rotation().await.map_err(failed)?.is_some() {
        return Err(OrderError::UnderWay);
    }
    let Prepared { intent, note, kept, keys } = prepared.published(&api).await.map_err(failed)?;
    // In a renewal no key has to get to other nodes.
    if !intent.is_renewal() {
        refuse_other_nodes(&api, own.as_ref()).await?;
    }
    let cluster = api.cluster_uid().await.map_err(failed)?;
    let intent = RotationIntent { cluster, ..intent };
    keep_keys(node, &keys, now)?;
    api.publish_role().await.map_err(failed)?;
    let signers: Vec<_> = [&keys.old].into_iter().chain(&keys.new).collect();
    let signed = sign(&intent, &signers)?;
    match api.create_rotation(&signed).await {
        Ok(_) => {}
        Err(ObjectError::Exists(_)) => return Err(OrderError::UnderWay),
        Err(error) => return Err(failed(error)),
    }
    let generation = intent.agreement.generation;
    kept.with_intent(generation, Some(signed)).write(&node.root, &node.settings.paths.state)?;
    Ok(Started { intent, note })
}

/// Keeps the keys of a replacement, old and new: each node makes its steps with them, forth and
/// back.
fn keep_keys(node: &Node, keys: &PreparedKeys, now: Timestamp) -> Result<(), OrderError> {
    let PreparedKeys { old, new: Some(new), front_proxy } = keys else { return Ok(()) };
    let state = &node.settings.paths.state;
    let (mut store, _) = open_store(node)?;
    let mut files = Vec::new();
    let of_roots = [(ReplacedCa::Root, RootCa::Old, old), (ReplacedCa::Root, RootCa::New, new)];
    let of_front_proxy = front_proxy.iter().flat_map(|keys| {
        let old = keys.old.iter().map(|key| (ReplacedCa::FrontProxy, RootCa::Old, key));
        old.chain(keys.new.iter().map(|key| (ReplacedCa::FrontProxy, RootCa::New, key)))
    });
    let keys: Vec<_> = of_roots.into_iter().chain(of_front_proxy).collect();
    for (ca, root, key) in &keys {
        let path = rotation_key(state, *ca, *root);
        node.root.create_dir_of(&path)?;
        let old = Files::read(&node.root, &path)?;
        let old = old.map(|old| Digest::of(old.expose()));
        files.push(NewFile { path, content: key.to_pem()?, old, kind: Kind::AuthorityKey });
    }
    let credential = CredentialName::new("ca")?;
    let change = Change { credential, files, link: None, backup: Backup::Unwanted };
    let change = store.stage(change)?.check(|contents| {
        for (content, (_, _, key)) in contents.iter().zip(&keys) {
            let found = PrivateKey::from_pem(content.expose())?;
            if found.public_key_der() != key.public_key_der() {
                return Err(OrderError::from(RotationStepError::ReadBack));
            }
        }
        Ok(())
    })?;
    let keep = usize::from(node.settings.backups.keep.get());
    let commit = store.commit(vec![change], now, keep);
    commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
    Ok(())
}

fn present(node: &Node, now: Timestamp) -> Result<Present, OrderError> {
    let authority = root_authority(node)?;
    let file = &authority.certificate;
    let refused = |reason: String| OrderError::Present(format!("{file}: {reason}"));
    match load_authority(&node.root, authority) {
        LoadedAuthority::Absent => Err(refused("it does not exist".to_owned())),
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            Err(OrderError::Present(reason))
        }
        LoadedAuthority::Present { anchors, key, .. } => {
            let mut all = anchors.iter();
            let (Some(certificate), None) = (all.next(), all.next()) else {
                return Err(refused(
                    "it holds several CA certificates: is another rotation under way? Keep the \
                     one whose key is in ca.key"
                        .to_owned(),
                ));
            };
            if !certificate.is_self_signed() {
                return Err(refused(format!(
                    "it is an intermediate CA, issued by {}: only a root CA is replaced; have \
                     that PKI issue another one",
                    certificate.issuer
                )));
            }
            if !certificate.is_valid_at(now) {
                return Err(refused(
                    "it is not valid now: `kubecertd ca renew --offline` renews it with its own \
                     key"
                    .to_owned(),
                ));
            }
            let key = match key {
                LoadedKey::Usable(key) => key,
                LoadedKey::Absent => {
                    return Err(refused(format!(
                        "its key {} is not on this node: with an external CA the root CA is \
                         replaced where its key is",
                        authority.key
                    )));
                }
                LoadedKey::Unusable(reason) => return Err(OrderError::Present(reason)),
            };
            Ok(Present { certificate: certificate.clone(), key })
        }
    }
}

/// By an untrusted clock nothing is signed.
fn check_clock(node: &Node, trust: bool, now: Timestamp) -> Result<(), OrderError> {
    match clock_trust(node, trust, now) {
        ClockTrust::NotTrusted(reason) => Err(OrderError::Clock(reason)),
        ClockTrust::Trusted | ClockTrust::TrustedUnsynchronised => Ok(()),
    }
}

fn new_trust(
    node: &Node,
    replacement: Replacement,
    present: &Present,
    now: Timestamp,
) -> Result<NewTrust, OrderError> {
    let old = &present.certificate;
    let with_bridge = |NewRoot { certificate, key }| {
        let bridge = bridge_by(old, &present.key, &certificate, now)?;
        Ok(NewTrust { certificate, key: Some(key), bridge: Some(bridge), others: Vec::new() })
    };
    match replacement {
        Replacement::Renewed => {
            let certificate = renewed(node, old, &present.key, TOLERATED_SKEW, now)?;
            let others = renewed_others(node, old, TOLERATED_SKEW, now)?;
            Ok(NewTrust { certificate, key: None, bridge: None, others })
        }
        Replacement::Made(subject) => {
            let subject = subject.unwrap_or_else(|| old.subject.clone());
            if subject.is_equivalent_to(&old.subject) && old.subject_key_identifier.is_none() {
                return Err(OrderError::Present(format!(
                    "the present root CA has no subject key identifier, so that a new one needs \
                     another name than {subject}: --subject",
                )));
            }
            let validity = ca_validity(node, old);
            let lifetime = RootLifetime { now, tolerated_skew: TOLERATED_SKEW, validity };
            with_bridge(new_root(&subject, &old.key_algorithm, &lifetime)?)
        }
        Replacement::Supplied(root, allow_trusted) => {
            let judged = judge(node, *root, allow_trusted, now)?;
            if !judged.judgement.is_usable() {
                return Err(OrderError::Refused(judged.judgement.faults));
            }
            let SuppliedRoot { certificate, key } = judged.root;
            let key = key.ok_or(OrderError::NoKey)?;
            if certificate.public_key_der() == old.public_key_der() {
                return Err(OrderError::Present(
                    "it has the key of the present root CA: --renew renews that, and `kubecertd \
                     ca trust` takes a renewed certificate"
                        .to_owned(),
                ));
            }
            with_bridge(NewRoot { certificate, key })
        }
    }
}

/// Whether this node is as it is without a rotation, and nothing on it is broken.
fn check_ready(node: &Node, intent: &RotationIntent, now: Timestamp) -> Result<(), OrderError> {
    let authority = root_authority(node)?;
    let survey = survey(node, now);
    for credential in issued_by_ca(&node.catalog, authority) {
        let judged = survey.credentials.iter().find(|one| one.facts.credential == *credential);
        let is_broken = judged.is_some_and(|one| {
            !matches!(one.facts.material, Material::Whole(_) | Material::Absent)
        });
        if is_broken {
            return Err(OrderError::Credential(credential.name.to_string()));
        }
    }
    let found = find_rotation(node, &ObservedFiles::of(&node.root), intent, None)?;
    if intent.is_renewal() {
        return Ok(());
    }
    let Some(own) = &found.control_plane else {
        return Err(OrderError::NotReady("it is no control-plane node".to_owned()));
    };
    if found.ca != CaFile::Old || own.signing != SigningFiles::CaFiles {
        return Err(OrderError::NotReady(
            "kube-controller-manager signs with other files than ca.crt and ca.key".to_owned(),
        ));
    }
    let others: Vec<_> = own.not_issued_here.iter().map(|(name, _)| name.to_string()).collect();
    if !others.is_empty() {
        return Err(OrderError::NotReady(format!(
            "{}: issued by the root CA, and not by kubecertd, so that nothing would issue it by \
             the new one",
            others.join(", ")
        )));
    }
    let signer = ControllerManager::read(node, &node.root).map_err(OrderError::NotReady)?;
    signer.signing_values(authority).map_err(OrderError::NotReady)?;
    if let Some(flag) = signer.pod.per_usage_signing_flags().first() {
        return Err(OrderError::NotReady(format!(
            "kube-controller-manager has --{flag}: kubecertd replaces the root CA only where \
             --cluster-signing-cert-file alone says what it signs with"
        )));
    }
    Ok(())
}
