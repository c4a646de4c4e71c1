//! The orders of an operator about the rotation of the root CA: each is an intent that is signed
//! and written into the cluster and on this node; the daemons do the rest.

use std::time::Duration;

use super::coordinate::{NodeStanding, standings_of, write};
use super::kept::{
    Rotation, RotationError, administrator_api, keys, read_rotation, root_authority,
    verify_of_cluster,
};
use crate::act::{RotationKeys, RotationStepError};
use crate::cluster::{ClusterApi, ObjectError, RotationObject};
use crate::credentials::{LoadedAuthority, LoadedKey, ObservedFiles, SuppliedRoot, load_authority};
use crate::formats::kubeadm::ca_certificate_validity;
use crate::formats::manifest::Pod;
use crate::formats::rotation_intent::{IntentError, RotationIntent};
use crate::formats::x509::{
    BridgeError, Certificate, DistinguishedName, IssueError, KeyError, NewRootError, PrivateKey,
    ReadError, RootLifetime, Terms, bridge, new_root, random_serial,
};
use crate::model::{
    Agreement, CaFile, ClockFacts, ClockTrust, CredentialName, InvalidName, Material, RootCa,
    RotationLevel, SigningFiles, Timestamp,
};
use crate::observe::{
    Node, Platform, RotationTrouble, SigningValues, controller_manager_manifest, find_rotation,
    issued_by_root, node_name,
};
use crate::pass::new_root::{InstallRootError, judge, list};
use crate::pass::{PassError, open_store, survey};
use crate::plan::{RootFault, judge_clock};
use crate::state::{KeptRotation, KeptStanding, PassMemory, rotation_key};
use crate::store::{Backup, Change, Kind, LARGEST_FILE, NewFile, StoreError};
use crate::sys::{FileError, block_on};

/// What the rotation is to replace the root CA by.
#[derive(Debug)]
pub enum Replacement {
    /// A root CA that is made now, with this subject; without one, with that of the present one.
    Made(Option<DistinguishedName>),
    /// The operator's own, and whether the system may trust it.
    Supplied(Box<SuppliedRoot>, bool),
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

/// What an operator orders on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing is changed any more, for this reason.
    Pause(String),
    /// It goes on.
    Resume,
    /// The next level.
    Step,
    /// Back to the beginning.
    Back,
    /// The old root is distrusted, and the rotation ends.
    Complete,
}

/// A rotation as it stands.
#[derive(Debug)]
pub struct Standing {
    /// Its intent.
    pub intent: RotationIntent,
    /// The nodes, as they report.
    pub nodes: Vec<NodeStanding>,
}

/// Why an order is refused. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// This kind of node is not supported.
    #[error(transparent)]
    Platform(PassError),
    /// The rotation can't be read or written.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// There is one already.
    #[error(
        "the root CA is being replaced already: `kubecertd ca rotate status` shows how far it is"
    )]
    UnderWay,
    /// There is none.
    #[error("the root CA is not being replaced: `kubecertd ca rotate start` begins it")]
    None,
    /// The cluster has other nodes.
    #[error(
        "the cluster has other nodes: {}; this version replaces the root CA of a cluster with one \
         node alone", .0.join(", ")
    )]
    OtherNodes(Vec<String>),
    /// The clock is not trusted.
    #[error("{0}")]
    Clock(String),
    /// The present root can't be replaced in this way.
    #[error("{0}")]
    Present(String),
    /// The operator's own root is refused.
    #[error("it can't be the root CA of a cluster: {}", list(.0))]
    Refused(Vec<RootFault>),
    /// It can't be judged.
    #[error(transparent)]
    Judge(#[from] InstallRootError),
    /// No key was given with it.
    #[error("the private key of the new root CA is needed too: --key FILE")]
    NoKey,
    /// A credential is not as it is to be.
    #[error("{0}: it has to be right before the root CA is replaced; see `kubecertd check`")]
    Credential(String),
    /// Something on this node is not as it is without a rotation.
    #[error("this node is not ready: {0}")]
    NotReady(String),
    /// The facts of this node are not known.
    #[error(transparent)]
    Trouble(#[from] RotationTrouble),
    /// The nodes are on the way.
    #[error(
        "the nodes are on their way to level {0}: `kubecertd ca rotate status` shows what is \
         waited for"
    )]
    OnTheWay(RotationLevel),
    /// The last step needs a word of its own.
    #[error(
        "all certificates are of the new root CA; the next level distrusts the old one, and can't \
         be undone without effort: `kubecertd ca rotate complete` orders it"
    )]
    NeedsComplete,
    /// It is too early.
    #[error(
        "not all certificates are of the new root CA yet: it is completed when all nodes have \
         level 3"
    )]
    TooEarly,
    /// It is over already.
    #[error("it ends already")]
    Ends,
    /// The new root can't be made.
    #[error(transparent)]
    NewRoot(#[from] NewRootError),
    /// There is no bridge.
    #[error(
        "no bridge can be made from the old to the new root CA, so that clients would fail: {0}"
    )]
    Bridge(#[from] BridgeError),
    /// A key is not on this node.
    #[error(transparent)]
    Step(#[from] RotationStepError),
    /// The library failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A certificate can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key can't be written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name is no name, which should not happen.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No runtime could be made.
    #[error("the API can't be called: {0}")]
    Runtime(#[from] std::io::Error),
}

/// The present root CA and its key.
struct Present {
    certificate: Certificate,
    key: PrivateKey,
}

/// A rotation that is not announced yet.
pub(super) struct Prepared {
    /// Its intent, without the cluster.
    pub intent: RotationIntent,
    kept: KeptRotation,
    old: PrivateKey,
    new: PrivateKey,
}

/// Begins a rotation.
///
/// # Errors
/// When this node or its root CA is not ready for it, or the cluster refuses.
pub fn start(node: &Node, order: StartOrder, now: Timestamp) -> Result<RotationIntent, OrderError> {
    let Prepared { intent, kept, old, new } = prepare(node, order, now)?;
    let own = own_name(node, now);
    block_on(announce(node, intent, kept, own, (&old, &new), now))?
}

/// The other nodes of the cluster: their part of a rotation is not carried out yet.
async fn other_nodes(api: &ClusterApi, own: Option<&String>) -> Result<Vec<String>, OrderError> {
    let nodes = api.nodes().await.map_err(RotationError::from)?.answer;
    Ok(nodes.into_iter().map(|node| node.name).filter(|name| own != Some(name)).collect())
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
    let backdate = trusted_backdate(node, order.trust_clock, now)?;
    let new = replacement(node, order.replacement, &old.certificate, (now, backdate))?;
    let bridge = bridge_by(&old, &new.certificate, now, backdate)?;
    let agreement = Agreement {
        generation: first_generation(&kept, now),
        from: RotationLevel::Rest,
        to: RotationLevel::Rest,
    };
    let intent = RotationIntent {
        cluster: String::new(),
        old: old.certificate.clone(),
        new: new.certificate.clone(),
        bridge: Some(bridge),
        bridge_back: None,
        agreement,
        goal: if order.is_stepwise { RotationLevel::Staged } else { RotationLevel::Servers },
        is_stepwise: order.is_stepwise,
        paused: None,
        without: Vec::new(),
        started: now,
        operator: order.operator,
    };
    check_ready(node, &intent, now)?;
    Ok(Prepared { intent, kept, old: old.key, new: new.key })
}

/// Later than that of any earlier rotation: a node that was installed again remembers none.
fn first_generation(kept: &KeptRotation, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    kept.generation.saturating_add(1).max(seconds)
}

/// Writes the keys, then the role and the object, then what this node keeps.
async fn announce(
    node: &Node,
    intent: RotationIntent,
    kept: KeptRotation,
    own: Option<String>,
    (old, new): (&PrivateKey, &PrivateKey),
    now: Timestamp,
) -> Result<RotationIntent, OrderError> {
    let api = administrator_api(node).await.map_err(RotationError::from)?;
    let failed = |e: ObjectError| OrderError::from(RotationError::from(e));
    if api.rotation().await.map_err(failed)?.is_some() {
        return Err(OrderError::UnderWay);
    }
    let others = other_nodes(&api, own.as_ref()).await?;
    if !others.is_empty() {
        return Err(OrderError::OtherNodes(others));
    }
    let cluster = api.cluster_uid().await.map_err(failed)?;
    let intent = RotationIntent { cluster, ..intent };
    keep_keys(node, old, new, now)?;
    api.publish_role().await.map_err(failed)?;
    let place = "could not be signed";
    let unsigned = |source: IntentError| RotationError::Intent { place, source };
    let signed = intent.sign(&[old, new]).map_err(unsigned)?;
    match api.create_rotation(&signed).await {
        Ok(_) => {}
        Err(ObjectError::Exists(_)) => return Err(OrderError::UnderWay),
        Err(error) => return Err(failed(error)),
    }
    let generation = intent.agreement.generation;
    kept.with_intent(generation, Some(signed)).write(&node.root, &node.settings.paths.state)?;
    Ok(intent)
}

/// Keeps the keys of both roots: each node makes its steps with them, forth and back.
fn keep_keys(
    node: &Node,
    old: &PrivateKey,
    new: &PrivateKey,
    now: Timestamp,
) -> Result<(), OrderError> {
    let state = &node.settings.paths.state;
    let (mut store, _) = open_store(node)?;
    let mut files = Vec::new();
    for (root, key) in [(RootCa::Old, old), (RootCa::New, new)] {
        let path = rotation_key(state, root);
        node.root.create_dir_of(&path)?;
        let old = crate::credentials::Files::read(&node.root, &path)?;
        let old = old.map(|old| crate::model::Digest::of(old.expose()));
        files.push(NewFile { path, content: key.to_pem()?, old, kind: Kind::Private });
    }
    let credential = CredentialName::new("ca")?;
    // The key of an earlier rotation may still be needed.
    let change = Change { credential, files, link: None, backup: Backup::Wanted };
    let change = store.stage(change)?.check(|contents| {
        let keys = [old, new];
        for (content, key) in contents.iter().zip(keys) {
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

/// How much earlier than now validity begins; by an untrusted clock nothing is signed.
fn trusted_backdate(node: &Node, trust: bool, now: Timestamp) -> Result<Duration, OrderError> {
    let (memory, _) = PassMemory::read(&node.root, &node.settings.paths.state);
    let limit = crate::drivers::timedate::LIMIT;
    let synchronised = crate::drivers::timedate::synchronised_now(limit);
    let clock = ClockFacts { now, last_seen: memory.last_seen, synchronised };
    match judge_clock(&clock, trust) {
        ClockTrust::NotTrusted(reason) => Err(OrderError::Clock(reason)),
        ClockTrust::Trusted | ClockTrust::TrustedUnsynchronised => Ok(TOLERATED_SKEW),
    }
}

/// How far the clock of another node or client may be behind.
const TOLERATED_SKEW: Duration = Duration::from_secs(86_400);

/// The new root, and its key.
struct New {
    certificate: Certificate,
    key: PrivateKey,
}

fn replacement(
    node: &Node,
    replacement: Replacement,
    old: &Certificate,
    (now, backdate): (Timestamp, Duration),
) -> Result<New, OrderError> {
    match replacement {
        Replacement::Made(subject) => {
            let subject = subject.unwrap_or_else(|| old.subject.clone());
            if subject.is_equivalent_to(&old.subject) && old.subject_key_identifier.is_none() {
                return Err(OrderError::Present(format!(
                    "the present root CA has no subject key identifier, so that a new one needs \
                     another name than {subject}: --subject",
                )));
            }
            let validity = validity(node, old);
            let lifetime = RootLifetime { now, tolerated_skew: backdate, validity };
            let made = new_root(&subject, &old.key_algorithm, &lifetime)?;
            Ok(New { certificate: made.certificate, key: made.key })
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
                    "it has the key of the present root CA: `kubecertd ca trust` takes a renewed \
                     certificate"
                        .to_owned(),
                ));
            }
            Ok(New { certificate, key })
        }
    }
}

/// As kubeadm's configuration says, or as long as the old one was valid.
fn validity(node: &Node, old: &Certificate) -> Duration {
    let configuration = node.root.read_root_only(&node.settings.paths.kubeadm, LARGEST_FILE).ok();
    let stated = configuration.and_then(|content| {
        let text = String::from_utf8(content.bytes.expose().to_vec()).ok()?;
        ca_certificate_validity(&text).ok()?
    });
    let seconds = old.not_after.seconds_since(old.not_before);
    stated.unwrap_or(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

fn bridge_by(
    signer: &Present,
    of: &Certificate,
    now: Timestamp,
    backdate: Duration,
) -> Result<Certificate, OrderError> {
    let by = &signer.certificate;
    let terms = Terms {
        serial: random_serial()?,
        not_before: now.minus(backdate).max(by.not_before).max(of.not_before),
        not_after: by.not_after.min(of.not_after),
    };
    let der = bridge(of, by, &signer.key, &terms, now)?;
    Ok(Certificate::from_der(&der)?)
}

/// Whether this node is as it is without a rotation, and nothing on it is broken.
fn check_ready(node: &Node, intent: &RotationIntent, now: Timestamp) -> Result<(), OrderError> {
    let authority = root_authority(node)?;
    let survey = survey(node, now);
    for credential in issued_by_root(&node.catalog, authority) {
        let judged = survey.credentials.iter().find(|one| one.facts.credential == *credential);
        let is_broken = judged.is_some_and(|one| {
            !matches!(one.facts.material, Material::Whole(_) | Material::Absent)
        });
        if is_broken {
            return Err(OrderError::Credential(credential.name.to_string()));
        }
    }
    let found = find_rotation(node, &ObservedFiles::of(&node.root), intent, None)?;
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
    SigningValues::of_node(node, authority).map_err(OrderError::NotReady)?;
    if let Some(flag) = per_usage_flag(node) {
        return Err(OrderError::NotReady(format!(
            "kube-controller-manager has --{flag}: kubecertd replaces the root CA only where \
             --cluster-signing-cert-file alone says what it signs with"
        )));
    }
    Ok(())
}

fn per_usage_flag(node: &Node) -> Option<String> {
    let manifest = controller_manager_manifest(node)?;
    let content = node.root.read(&manifest, LARGEST_FILE).ok()?;
    let text = String::from_utf8(content.bytes.expose().to_vec()).ok()?;
    let pod = Pod::parse(&text).ok()?.of_component("kube-controller-manager");
    pod.per_usage_signing_flags().first().map(|flag| (*flag).to_owned())
}

/// Carries out an order about the rotation that is under way.
///
/// # Errors
/// When it does not fit how far the rotation is, or the cluster refuses.
pub fn carry_out(node: &Node, order: &Order, now: Timestamp) -> Result<RotationIntent, OrderError> {
    block_on(async {
        let api = administrator_api(node).await.map_err(RotationError::from)?;
        let (rotation, object) = find(node, &api, order).await?;
        let next = next(&rotation, order, now)?;
        write(node, &api, &object, &rotation, &next).await?;
        Ok(next)
    })?
}

/// The rotation as it stands, and how far the nodes are.
///
/// # Errors
/// When there is none, or it can't be read.
pub fn standing(node: &Node, now: Timestamp) -> Result<Standing, OrderError> {
    block_on(async {
        let api = administrator_api(node).await.map_err(RotationError::from)?;
        let found = api.rotation().await.map_err(RotationError::from)?;
        let object = found.ok_or(OrderError::None)?;
        let cluster = api.cluster_uid().await.map_err(RotationError::from)?;
        let intent = verify_of_cluster(node, &object.signed, &cluster)?;
        let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
        if intent.agreement.generation < kept.generation {
            return Err(replayed(&intent, &kept).into());
        }
        let mut nodes = standings_of(&api, &intent).await?;
        let name = own_name(node, now);
        let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
        let own = nodes.iter_mut().find(|one| name.as_ref() == Some(&one.node));
        if let (Some(own), Some(KeptStanding { progress, waits, held })) = (own, kept.standing) {
            // It is newer than what was reported to the cluster.
            (own.progress, own.reason) = (Some(progress), held.or(waits));
        }
        Ok(Standing { intent, nodes })
    })?
}

/// The name of this node in the cluster.
pub(super) fn own_name(node: &Node, now: Timestamp) -> Option<String> {
    let found = survey(node, now);
    node_name(found.credentials.iter().map(|judged| &judged.facts))
}

/// Reads the object; with [`Order::Resume`], one that was deleted is written again. Where it holds
/// anything else than what this node follows, or an earlier intent, the order is about the one that
/// this node keeps, and takes the place of that.
async fn find(
    node: &Node,
    api: &ClusterApi,
    order: &Order,
) -> Result<(Rotation, RotationObject), OrderError> {
    let cluster = api.cluster_uid().await.map_err(RotationError::from)?;
    let object = match api.rotation().await.map_err(RotationError::from)? {
        Some(object) => object,
        None => {
            let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
            let signed = kept.intent.filter(|_| *order == Order::Resume).ok_or(OrderError::None)?;
            verify_of_cluster(node, &signed, &cluster)?;
            api.create_rotation(&signed).await.map_err(RotationError::from)?
        }
    };
    let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
    let is_newer = |intent: &RotationIntent| intent.agreement.generation > kept.generation;
    let is_kept = kept.intent.as_ref() == Some(&object.signed);
    match verify_of_cluster(node, &object.signed, &cluster) {
        Ok(intent) if is_kept || is_newer(&intent) => {
            let keys = keys(node, &intent);
            let rotation = Rotation { intent, signed: object.signed.clone(), keys };
            Ok((rotation, object))
        }
        other => match read_rotation(node)? {
            Some(rotation) if rotation.intent.cluster == cluster => Ok((rotation, object)),
            Some(_) | None => Err(match other {
                Ok(intent) => replayed(&intent, &kept).into(),
                Err(error) => error.into(),
            }),
        },
    }
}

fn replayed(intent: &RotationIntent, kept: &KeptRotation) -> RotationError {
    RotationError::Replayed { found: intent.agreement.generation, known: kept.generation }
}

/// The intent after an order.
pub(super) fn next(
    rotation: &Rotation,
    order: &Order,
    now: Timestamp,
) -> Result<RotationIntent, OrderError> {
    use RotationLevel::{Distrusted, Rest, Servers};
    let Rotation { intent, keys, .. } = rotation;
    let goal = intent.goal;
    let Agreement { generation, from, to } = intent.agreement;
    let agreement = Agreement { generation: generation.saturating_add(1), from, to };
    let mut next = RotationIntent { agreement, ..intent.clone() };
    let is_settled = from == to && to == goal;
    match order {
        Order::Pause(reason) => next.paused = Some(reason.clone()),
        Order::Resume => next.paused = None,
        Order::Step => {
            if !is_settled {
                return Err(OrderError::OnTheWay(if from == to { to.towards(goal) } else { to }));
            }
            match to {
                Servers => return Err(OrderError::NeedsComplete),
                Distrusted => return Err(OrderError::Ends),
                level => next.goal = level.towards(Servers),
            }
            next.paused = None;
        }
        Order::Complete => {
            if !(is_settled && to == Servers) {
                return Err(if to == Distrusted { OrderError::Ends } else { OrderError::TooEarly });
            }
            (next.goal, next.paused) = (Distrusted, None);
        }
        Order::Back => {
            (next.goal, next.paused) = (Rest, None);
            if to == Distrusted {
                next.bridge_back = Some(back(&intent.new, &intent.old, keys, now)?);
            }
        }
    }
    Ok(next)
}

/// The bridge for clients that know the new root alone.
fn back(
    new: &Certificate,
    old: &Certificate,
    keys: &RotationKeys,
    now: Timestamp,
) -> Result<Certificate, OrderError> {
    let key = keys.of(RootCa::New)?;
    let key = PrivateKey::from_pem(key.to_pem()?.expose())?;
    let signer = Present { certificate: new.clone(), key };
    bridge_by(&signer, old, now, TOLERATED_SKEW)
}
