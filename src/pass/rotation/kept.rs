//! The rotation that this node takes part in: the intent as it keeps it, or a newer one of the
//! cluster, and the keys that it has.

use crate::act::RotationKeys;
use crate::cluster::{ClusterApi, ClusterError, ObjectError};
use crate::credentials::{Files as _, LoadedKey, read_key};
use crate::formats::rotation_intent::{IntentError, RotationIntent, SignedIntent};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{Authority, RootCa};
use crate::observe::Node;
use crate::pass::Pass;
use crate::state::{KeptRotation, rotation_key};
use crate::sys::{FileError, block_on};

/// A rotation.
#[derive(Debug)]
pub struct Rotation {
    /// Its intent, verified.
    pub intent: RotationIntent,
    /// The same, as it was signed.
    pub signed: SignedIntent,
    /// The keys of its roots that are on this node.
    pub keys: RotationKeys,
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
    Ok(Some(Rotation { intent, signed, keys: keys(node) }))
}

/// The root CA in the catalog.
pub(super) fn root_authority(node: &Node) -> Result<&Authority, RotationError> {
    node.catalog.authorities.iter().find(|one| one.root).ok_or(RotationError::NoRoot)
}

/// The certificates in `ca.crt`, which decide what intent is believed.
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

/// The keys that are on this node.
pub(super) fn keys(node: &Node) -> RotationKeys {
    let key = |root| {
        let file = rotation_key(&node.settings.paths.state, root);
        // Only root's own file counts.
        if !node.root.is_root_only(&file) {
            return None;
        }
        match read_key(&node.root, &file) {
            LoadedKey::Usable(key) => Some(key),
            LoadedKey::Absent | LoadedKey::Unusable(_) => None,
        }
    };
    RotationKeys { old: key(RootCa::Old), new: key(RootCa::New) }
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

impl Pass<'_> {
    /// The rotation that this node takes part in now: a newer intent of the cluster is kept first.
    /// Where the API is away, the node goes on with what it keeps.
    pub(super) fn find_rotation(&mut self) -> Result<Option<Rotation>, RotationError> {
        let node = self.node;
        let state = &node.settings.paths.state;
        let (kept, note) = KeptRotation::read(&node.root, state);
        self.note(note);
        let asks = node.root.is_host() && root_authority(node).is_ok();
        let found = if asks { block_on(of_cluster(node)).ok() } else { None };
        let found = match found {
            Some(Ok(found)) => found,
            Some(Err(error)) if kept.intent.is_some() => {
                self.note([format!("root CA: the intent of the rotation can't be read: {error}")]);
                None
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "whether the root CA is being replaced is not known");
                None
            }
            None => None,
        };
        if let Some(signed) = found.filter(|signed| kept.intent.as_ref() != Some(signed)) {
            let intent = verify(node, &signed, "in the cluster")?;
            let generation = intent.agreement.generation;
            if generation <= kept.generation {
                return Err(RotationError::Replayed { found: generation, known: kept.generation });
            }
            let intent_at = Some(signed.clone());
            let next = KeptRotation { generation, intent: intent_at, ..KeptRotation::default() };
            next.write(&node.root, state)?;
            return Ok(Some(Rotation { intent, signed, keys: keys(node) }));
        }
        read_rotation(node)
    }
}

async fn of_cluster(node: &Node) -> Result<Option<SignedIntent>, RotationError> {
    let api = match administrator_api(node).await {
        Ok(api) => api,
        Err(_) => kubelet_api(node).await?,
    };
    Ok(api.rotation().await?.map(|object| object.signed))
}
