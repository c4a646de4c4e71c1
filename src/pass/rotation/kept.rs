//! The rotation that this node takes part in: the intent as it keeps it, or a newer one of the
//! cluster, and the keys that it has.

use std::time::Duration;

use crate::act::RotationKeys;
use crate::cluster::{ClusterApi, ClusterError, ObjectError};
use crate::credentials::{Files as _, LoadedKey, read_key};
use crate::formats::rotation_intent::{CaPair, IntentError, RotationIntent, SignedIntent};
use crate::formats::x509::{Certificate, PrivateKey, certificates};
use crate::model::{Agreement, Authority, ReplacedCa, RootCa, RotationLevel, Timestamp, days};
use crate::observe::{Node, signing_files};
use crate::state::{KeptRotation, rotation_key};
use crate::sys::FileError;

/// How long the key of a root that was replaced is kept: the old certificate can be issued again
/// where something was forgotten.
const OLD_KEY_KEPT: Duration = days(30);

/// A rotation.
#[derive(Debug)]
pub struct Rotation {
    /// Its intent, verified.
    pub intent: RotationIntent,
    /// The same, as it was signed.
    pub signed: SignedIntent,
    /// The keys of its roots that are on this node.
    pub keys: RotationKeys,
    /// Those of the CA of the front proxy, where that is replaced too.
    pub front_proxy_keys: RotationKeys,
}

impl Rotation {
    /// The rotation of an intent that was verified, with the keys that are on this node.
    pub(super) fn new(node: &Node, intent: RotationIntent, signed: SignedIntent) -> Self {
        let keys = keys(node, &intent);
        let pair = intent.front_proxy.as_ref();
        let front_proxy_keys =
            pair.map(|pair| kept_keys(node, ReplacedCa::FrontProxy, pair)).unwrap_or_default();
        Self { intent, signed, keys, front_proxy_keys }
    }
}

/// Why a rotation can't be read, ordered, or go on.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// No CA of the profile is the cluster's root.
    #[error("the profile of this node has no root CA")]
    NoRoot,
    /// `ca.crt` can't be read.
    #[error("{0}")]
    RootFile(String),
    /// An intent can't be used.
    #[error("the intent of the rotation {place}: {source}")]
    Intent {
        /// Where it is.
        place: &'static str,
        /// Why.
        source: IntentError,
    },
    /// The cluster has an intent that was followed before.
    #[error(
        "the ConfigMap kube-system/kubecertd-root-ca has generation {found}, and this node has \
         followed generation {known}: it is not followed; was etcd restored from a backup?"
    )]
    Replayed {
        /// That of the object.
        found: u64,
        /// That of this node.
        known: u64,
    },
    /// The cluster has an intent that is about another one.
    #[error(
        "the ConfigMap kube-system/kubecertd-root-ca is about the cluster whose namespace \
         kube-system has UID {found}, and here that is {own}: it is not followed; was it copied?"
    )]
    OtherCluster {
        /// That of the intent.
        found: String,
        /// That of this cluster.
        own: String,
    },
    /// Nodes would not follow what this node signs.
    #[error(
        "the key of a root CA is not on this node, so that some nodes would not follow what it \
         signs: a control-plane node that has both keys does that"
    )]
    NoKeys,
    /// It ended before this node joined.
    #[error(
        "the ConfigMap kube-system/kubecertd-root-ca is about a root CA that this node does not \
         trust: it is not followed; was etcd restored from a backup?"
    )]
    Ended,
    /// It was deleted in the middle.
    #[error(
        "the ConfigMap kube-system/kubecertd-root-ca was deleted while the root CA is being \
         replaced: `kubecertd ca rotate resume` writes it again"
    )]
    Deleted,
    /// The API can't be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// An object can't be read or written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads the rotation that this node keeps; `None` where there is none. The API is not asked.
///
/// # Errors
/// When what is kept can't be used.
pub fn read_rotation(node: &Node) -> Result<Option<Rotation>, RotationError> {
    let (kept, note) = KeptRotation::read(&node.root, &node.settings.paths.state);
    if let Some(note) = note {
        return Err(RotationError::RootFile(note));
    }
    let Some(signed) = kept.intent else { return Ok(None) };
    let intent = verify(node, &signed, "that this node keeps")?;
    Ok(Some(Rotation::new(node, intent, signed)))
}

/// Whether a rotation issues the certificates of the root CA on this node. In a renewal that is
/// done as without one.
pub(in crate::pass) fn issues_certificates(node: &Node) -> bool {
    match read_rotation(node) {
        Ok(found) => found.is_some_and(|rotation| !rotation.intent.is_renewal()),
        // What its intent orders is not known.
        Err(_) => KeptRotation::read(&node.root, &node.settings.paths.state).0.intent.is_some(),
    }
}

/// The root CA in the catalog.
pub(super) fn root_authority(node: &Node) -> Result<&Authority, RotationError> {
    node.catalog.root_authority().ok_or(RotationError::NoRoot)
}

/// The certificates in `ca.crt`, which decide what intent is followed.
pub(super) fn anchors(node: &Node) -> Result<Vec<Certificate>, RotationError> {
    let file = &root_authority(node)?.certificate;
    let failed = |reason: String| RotationError::RootFile(format!("{file}: {reason}"));
    let content = crate::credentials::Files::read(&node.root, file)?;
    let content = content.ok_or_else(|| failed("it does not exist".to_owned()))?;
    certificates(content.expose()).map_err(|e| failed(e.to_string()))
}

pub(super) fn verify(
    node: &Node,
    signed: &SignedIntent,
    place: &'static str,
) -> Result<RotationIntent, RotationError> {
    let anchors = anchors(node)?;
    signed.verify(&anchors).map_err(|source| RotationError::Intent { place, source })
}

/// Reads the intent of the cluster with this UID. One that was copied from another cluster with the
/// same root CA would verify too.
pub(super) fn verify_of_cluster(
    node: &Node,
    signed: &SignedIntent,
    cluster: &str,
) -> Result<RotationIntent, RotationError> {
    let intent = verify(node, signed, "in the cluster")?;
    if intent.cluster != cluster {
        let own = cluster.to_owned();
        return Err(RotationError::OtherCluster { found: intent.cluster, own });
    }
    Ok(intent)
}

/// Signs an intent with these keys.
pub(super) fn sign(
    intent: &RotationIntent,
    keys: &[&PrivateKey],
) -> Result<SignedIntent, RotationError> {
    let place = "could not be signed";
    intent.sign(keys).map_err(|source| RotationError::Intent { place, source })
}

/// The keys of the two roots that are on this node. An earlier rotation, or one that another node
/// began first, may have left others. In a renewal both have the one that signs.
fn keys(node: &Node, intent: &RotationIntent) -> RotationKeys {
    if intent.is_renewal() {
        let own = root_authority(node).ok().map(|one| read_key(&node.root, &one.key));
        let own = own.and_then(LoadedKey::usable).filter(|key| key.fits(&intent.new));
        return RotationKeys { old: own, ..RotationKeys::default() };
    }
    kept_keys(node, ReplacedCa::Root, &intent.roots())
}

fn kept_keys(node: &Node, ca: ReplacedCa, pair: &CaPair) -> RotationKeys {
    let key = |root| {
        let file = rotation_key(&node.settings.paths.state, ca, root);
        // Only root's own file counts.
        if !node.root.is_root_only(&file) {
            return None;
        }
        read_key(&node.root, &file).usable().filter(|key| key.fits(pair.of(root)))
    };
    RotationKeys { ca, old: key(RootCa::Old), new: key(RootCa::New) }
}

/// Removes the key of a root that was replaced, when the time is over for which it is kept. Returns
/// whether it was.
///
/// # Errors
/// When it can't be removed.
pub(super) fn remove_old_key(node: &Node, now: Timestamp) -> Result<bool, FileError> {
    let state = &node.settings.paths.state;
    let (kept, _) = KeptRotation::read(&node.root, state);
    let is_over = |replaced: Timestamp| now >= replaced.plus(OLD_KEY_KEPT);
    if kept.intent.is_some() || !kept.replaced.is_some_and(is_over) {
        return Ok(false);
    }
    node.root.remove_file(&rotation_key(state, ReplacedCa::Root, RootCa::Old))?;
    KeptRotation { replaced: None, ..kept }.write(&node.root, state)?;
    Ok(true)
}

/// The API of the cluster, with the administrator's identity.
pub(super) async fn administrator_api(node: &Node) -> Result<ClusterApi, ClusterError> {
    let catalog = &node.catalog;
    let admin = catalog.administrator().ok_or(ClusterError::NoAdminConf)?;
    ClusterApi::open(&node.root, admin, catalog.api_server_url.as_deref()).await
}

/// The same with kubelet's identity.
pub(super) async fn kubelet_api(node: &Node) -> Result<ClusterApi, ClusterError> {
    let catalog = &node.catalog;
    let kubeconfig = catalog.kubeconfigs.values().next().ok_or(ClusterError::NoAdminConf)?;
    ClusterApi::of_kubeconfig(&node.root, kubeconfig, catalog.api_server_url.as_deref()).await
}

/// Whether all nodes have the goal, and the goal is an end.
pub(super) fn is_over(intent: &RotationIntent) -> bool {
    let Agreement { from, to, .. } = intent.agreement;
    from == to && to == intent.goal && to.is_end()
}

/// Removes what this node has of a rotation that is over: the intent last, so that an interrupted
/// end is made again. Returns what could not be removed.
pub(super) fn forget(node: &Node, rotation: &Rotation, now: Timestamp) -> Vec<String> {
    let state = &node.settings.paths.state;
    let intent = &rotation.intent;
    let mut notes = Vec::new();
    let (kept, _) = KeptRotation::read(&node.root, state);
    let mut kept = kept.with_intent(intent.agreement.generation, None);
    // A renewal has no files, and leaves those of an earlier rotation.
    if !intent.is_renewal() {
        let own = root_authority(node).map(signing_files).into_iter().flatten();
        let is_replaced = intent.goal == RotationLevel::Distrusted;
        // The old root's key stays then: what it signed may still be in use elsewhere.
        let old = (!is_replaced).then_some((ReplacedCa::Root, RootCa::Old));
        let of_front_proxy = [RootCa::Old, RootCa::New].map(|one| (ReplacedCa::FrontProxy, one));
        let keys = [(ReplacedCa::Root, RootCa::New)].into_iter().chain(old).chain(of_front_proxy);
        for file in own.chain(keys.map(|(ca, root)| rotation_key(state, ca, root))) {
            notes.extend(node.root.remove_file(&file).err().map(|e| e.to_string()));
        }
        kept.replaced = is_replaced.then_some(now);
    }
    let written = kept.write(&node.root, state);
    notes.extend(written.err().map(|e| e.to_string()));
    notes
}
