//! What a rotation of the root CA would touch: every node and object that is known of. Nothing is
//! written.

use super::kept::{RotationError, administrator_api};
use super::order::{OrderError, own_name};
use super::start::{Prepared, StartOrder, prepare};
use crate::cluster::{ObjectError, PublishedCopies, RootChange, TrustReport};
use crate::formats::rotation_intent::RotationIntent;
use crate::model::{CaFile, NodeRole, ReportedNode, Timestamp};
use crate::observe::Node;
use crate::sys::block_on;

/// What a rotation would touch.
#[derive(Debug)]
pub struct RotationPreview {
    /// The intent that would be written, with a root that is thrown away where it would be made.
    pub intent: RotationIntent,
    /// Why the CA of the front proxy is not replaced too.
    pub note: Option<String>,
    /// The nodes.
    pub nodes: Vec<PreviewedNode>,
    /// The objects that hold the root, or why they can't be read.
    pub objects: Vec<PreviewedObject>,
}

/// A node, as it reports itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedNode {
    /// Its name.
    pub name: String,
    /// Whether it is one of the control plane.
    pub role: NodeRole,
    /// The version of kubecertd on it; `None` where it reports none.
    pub version: Option<String>,
}

/// An object that holds the root, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedObject {
    /// Its name.
    pub object: String,
    /// What is done with it, or why it can't be read.
    pub what: Result<&'static str, String>,
}

/// Finds out what a rotation would touch.
///
/// # Errors
/// When it would be refused, or the cluster can't be asked.
pub fn preview(
    node: &Node,
    order: StartOrder,
    now: Timestamp,
) -> Result<RotationPreview, OrderError> {
    let prepared = prepare(node, order, now)?;
    let own = own_name(node, now);
    block_on(look(node, prepared, own))?
}

const WRITTEN: &str = "gets both root CAs, and the new one alone in the end";
const RENEWED: &str = "gets the renewed root CA";
const BY_CONTROLLER: &str = "written by kube-controller-manager, and waited for";

async fn look(
    node: &Node,
    prepared: Prepared,
    own: Option<String>,
) -> Result<RotationPreview, OrderError> {
    let api = administrator_api(node).await.map_err(RotationError::from)?;
    if api.rotation().await.map_err(RotationError::from)?.is_some() {
        return Err(OrderError::UnderWay);
    }
    let prepared = prepared.published(&api).await.map_err(RotationError::from)?;
    let Prepared { intent, note, .. } = prepared;
    let nodes = api.nodes().await.map_err(RotationError::from)?.answer;
    let nodes = nodes.into_iter().map(|ReportedNode { name, role, report }| {
        // This node need not have reported yet.
        let own = own.as_ref().filter(|own| **own == name);
        let own = own.map(|_| env!("CARGO_PKG_VERSION").to_owned());
        let version = report.read().map(|report| report.version.clone()).or(own);
        PreviewedNode { name, role, version }
    });
    let (old, new) = (intent.old.clone(), intent.new.clone());
    let change = RootChange { old, new, wanted: CaFile::Old };
    let written = if intent.is_renewal() { RENEWED } else { WRITTEN };
    let mut objects = Vec::new();
    match api.observe_cluster_info(&change).await {
        Ok(None) => {}
        Ok(Some(info)) => {
            let what = info.trust.map(|_| written).map_err(|e| e.to_string());
            objects.push(PreviewedObject {
                object: "ConfigMap kube-public/cluster-info".into(),
                what,
            });
        }
        Err(error) => objects.push(failed("ConfigMap kube-public/cluster-info", &error)),
    }
    for TrustReport { object, result } in api.observe_ca_bundles(&change).await {
        let what = result.map(|_| written).map_err(|e| e.to_string());
        objects.push(PreviewedObject { object, what });
    }
    let file = intent.old.to_pem();
    let maps = api.observe_root_ca_config_maps(file.as_bytes()).await;
    objects.push(copies("ConfigMaps kube-root-ca.crt", maps));
    let secrets = api.observe_token_secrets(file.as_bytes()).await;
    objects.push(copies("Secrets with tokens of service accounts", secrets));
    Ok(RotationPreview { intent, note, nodes: nodes.collect(), objects })
}

fn copies(kind: &str, found: Result<PublishedCopies, ObjectError>) -> PreviewedObject {
    match found {
        Ok(PublishedCopies { total, .. }) => {
            PreviewedObject { object: format!("{total} {kind}"), what: Ok(BY_CONTROLLER) }
        }
        Err(error) => failed(kind, &error),
    }
}

fn failed(object: &str, error: &ObjectError) -> PreviewedObject {
    PreviewedObject { object: object.to_owned(), what: Err(error.to_string()) }
}
