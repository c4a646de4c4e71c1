//! The next agreement of the nodes: where all of them are done with the present one, and the
//! objects of the API too, it is written by a control-plane node with the administrator's identity.
//!
//! The agreement follows from the facts, and its object is replaced only where it is as it was
//! read: when two nodes write it at the same time, both write the same one, and one of them fails.

use super::kept::{
    Rotation, RotationError, administrator_api, forget, is_over, root_authority, sign,
};
use super::publish::{Published, publish};
use super::report::RotationReport;
use crate::cluster::{ClusterApi, RotationObject};
use crate::formats::rotation_intent::{RotationIntent, SignedIntent};
use crate::formats::x509::PrivateKey;
use crate::model::{
    Agreement, AlarmCounts, NodeProgress, NodeRole, ReportedNode, RotationLevel, Timestamp,
};
use crate::observe::{Node, node_name};
use crate::pass::Pass;
use crate::plan::{ca_file_at, next_agreement};
use crate::state::KeptRotation;
use crate::sys::block_on;

/// How far a node is, as it reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStanding {
    /// Its name.
    pub node: String,
    /// Its role, by its labels.
    pub role: NodeRole,
    /// Its progress; `None` where it reports none.
    pub progress: Option<NodeProgress>,
    /// When it reported last; `None` where no report of it can be read.
    pub reported: Option<Timestamp>,
    /// What it waits for itself, where that is known.
    pub waits: Option<String>,
    /// What an operator has to see to, where that is known.
    pub held: Option<String>,
}

/// Why a node is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitReason {
    /// No report of it can be read.
    NoReport,
    /// An operator has to see to this.
    Held(String),
    /// It waits for this.
    Waits(String),
    /// It has reported nothing by the present agreement yet.
    NotRead,
    /// It has not everything of the level yet; the reason is not known.
    OnItsWay,
}

/// What came of a coordination.
#[derive(Debug)]
pub(super) enum Coordinated {
    /// Nothing changes, since the intent says so or is another one now.
    Stands(String),
    /// Nothing changes until these nodes and these objects are done.
    Waits { nodes: Vec<String>, objects: Vec<String> },
    /// The nodes work by this intent from now on.
    Agreed(Box<RotationIntent>),
    /// The rotation is over.
    Over,
}

impl Pass<'_> {
    /// Writes the next agreement, where it is time for that.
    pub(super) fn coordinate(&mut self, rotation: &Rotation, report: &mut RotationReport) {
        let node = self.node;
        if !node.root.is_host() || node.catalog.administrator().is_none() {
            return;
        }
        let survey = self.report.at_end();
        let name = node_name(survey.credentials.iter().map(|judged| &judged.facts));
        if let Some(name) = name {
            self.coordinate_as(name, rotation, report);
        }
    }

    /// The same as the node of this name.
    pub(super) fn coordinate_as(
        &mut self,
        name: String,
        rotation: &Rotation,
        report: &mut RotationReport,
    ) {
        let node = self.node;
        let generation = report.agreement.generation;
        let own = NodeProgress { generation, is_done: report.is_done };
        let own = NodeStanding {
            node: name,
            role: NodeRole::ControlPlane,
            progress: Some(own),
            reported: None,
            waits: None,
            held: None,
        };
        let mut held = Vec::new();
        let coordinated = block_on(coordinate(node, rotation, &own, &mut held));
        report.held = report.held.take().or(held.into_iter().next());
        match coordinated.map_err(|e| e.to_string()).map(|one| one.map_err(|e| e.to_string())) {
            Ok(Ok(Coordinated::Waits { nodes, objects })) => {
                (report.nodes, report.objects) = (nodes, objects);
            }
            Ok(Ok(Coordinated::Agreed(intent))) => {
                let Agreement { from, to, .. } = intent.agreement;
                report.waits = None;
                self.emit(crate::pass::Event::RotationAgreed(from, to));
                report.agreement = intent.agreement;
                report.is_done = false;
            }
            Ok(Ok(Coordinated::Over)) => {
                report.is_over = true;
                self.note(forget(node, rotation, self.orders.clock.now()));
                self.emit(crate::pass::Event::RotationOver(report.goal));
            }
            Ok(Ok(Coordinated::Stands(reason)) | Err(reason)) | Err(reason) => {
                report.waits = report.waits.take().or(Some(reason));
            }
        }
    }
}

pub(super) async fn coordinate(
    node: &Node,
    rotation: &Rotation,
    own: &NodeStanding,
    held: &mut Vec<String>,
) -> Result<Coordinated, RotationError> {
    let api = administrator_api(node).await?;
    let object = api.rotation().await?.ok_or(RotationError::Deleted)?;
    if object.signed != rotation.signed {
        return Ok(Coordinated::Stands("a newer intent is in the cluster".to_owned()));
    }
    let intent = &rotation.intent;
    // Of a rotation that is paused on the way nothing is written.
    if let Some(reason) = &intent.paused {
        return Ok(Coordinated::Stands(format!("it is paused: {reason}")));
    }
    let standings = standings(&api, intent, own).await?;
    let nodes: Vec<_> = standings.iter().filter_map(|one| one.waits_in_words(intent)).collect();
    let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
    let authority = root_authority(node)?;
    let Published { waits: objects, held: stops, written } =
        publish(&api, node, authority, intent, kept.written.clone()).await;
    if written != kept.written {
        let kept = KeptRotation { written, ..kept };
        kept.write(&node.root, &node.settings.paths.state)?;
    }
    let objects_are_done = objects.is_empty() && stops.is_empty();
    held.extend(stops);
    let progress: Vec<_> = standings.iter().map(NodeStanding::progress).collect();
    match next_agreement(&intent.agreement, intent.goal, &progress, objects_are_done) {
        Some(agreement) => {
            let next = RotationIntent { agreement, ..intent.clone() };
            write(node, &api, &object, rotation, &next).await?;
            Ok(Coordinated::Agreed(Box::new(next)))
        }
        None if nodes.is_empty() && objects_are_done && is_over(intent) => {
            finish(&api, &object, intent).await?;
            Ok(Coordinated::Over)
        }
        None => Ok(Coordinated::Waits { nodes, objects }),
    }
}

/// All nodes that are not left out. What a node reports of itself counts for no other.
async fn standings(
    api: &ClusterApi,
    intent: &RotationIntent,
    own: &NodeStanding,
) -> Result<Vec<NodeStanding>, RotationError> {
    let others = standings_of(api, intent).await?;
    let others = others.into_iter().filter(|one| one.node != own.node);
    Ok([own.clone()].into_iter().chain(others).collect())
}

/// All nodes that are not left out, as they report.
pub(super) async fn standings_of(
    api: &ClusterApi,
    intent: &RotationIntent,
) -> Result<Vec<NodeStanding>, RotationError> {
    let nodes = api.nodes().await?.answer.into_iter();
    let nodes = nodes.filter(|one| !intent.without.contains(&one.name));
    let standing = |ReportedNode { name, role, report }| {
        let report = report.read();
        let progress = report.and_then(|report| report.rotation);
        let is_done = progress.is_some_and(|progress| progress.is_done);
        let alarm = report.filter(|_| !is_done).and_then(|report| severe_alarm(&report.alarms));
        NodeStanding {
            node: name,
            role,
            progress,
            reported: report.map(|report| report.at),
            waits: None,
            held: alarm.map(|text| format!("alarm: {text}")),
        }
    };
    Ok(nodes.map(standing).collect())
}

/// The text of the worst alarm, where that is more than the one that every node has meanwhile.
fn severe_alarm(alarms: &AlarmCounts) -> Option<&str> {
    alarms.worst.as_deref().filter(|_| alarms.critical > 0 || alarms.major > 0)
}

impl NodeStanding {
    fn progress(&self) -> NodeProgress {
        self.progress.unwrap_or(NodeProgress { generation: 0, is_done: false })
    }

    /// Whether the node has everything of the level to which the nodes work.
    #[must_use]
    pub fn is_done(&self, intent: &RotationIntent) -> bool {
        let generation = intent.agreement.generation;
        self.progress == Some(NodeProgress { generation, is_done: true })
    }

    /// Why the node is waited for; `None` where it is done.
    #[must_use]
    pub fn wait_reason(&self, intent: &RotationIntent) -> Option<WaitReason> {
        let generation = intent.agreement.generation;
        let held = self.held.clone().map(WaitReason::Held);
        let known = held.or(self.waits.clone().map(WaitReason::Waits));
        match self.progress {
            None if self.reported.is_none() => Some(WaitReason::NoReport),
            Some(progress) if progress.generation == generation => {
                // One that is done may still wait for the API, or an operator.
                known.or((!progress.is_done).then_some(WaitReason::OnItsWay))
            }
            None | Some(_) => Some(WaitReason::NotRead),
        }
    }

    /// The same as a sentence.
    fn waits_in_words(&self, intent: &RotationIntent) -> Option<String> {
        let node = &self.node;
        Some(match self.wait_reason(intent)? {
            WaitReason::NoReport => format!("{node} does not report: does kubecertd run there?"),
            WaitReason::Held(reason) | WaitReason::Waits(reason) => format!("{node}: {reason}"),
            WaitReason::NotRead => format!("{node} has not read the present agreement yet"),
            WaitReason::OnItsWay => format!("{node} is on its way"),
        })
    }
}

/// Signs an intent with all keys of this node, and writes it: into the cluster, then here.
pub(super) async fn write(
    node: &Node,
    api: &ClusterApi,
    object: &RotationObject,
    rotation: &Rotation,
    next: &RotationIntent,
) -> Result<(), RotationError> {
    let keys: Vec<&PrivateKey> =
        [&rotation.keys.old, &rotation.keys.new].into_iter().flatten().collect();
    let signed = sign(next, &keys)?;
    if !is_followed_by_all(&signed, next) {
        return Err(RotationError::NoKeys);
    }
    api.replace_rotation(&signed, &object.version).await?;
    let generation = next.agreement.generation;
    let state = &node.settings.paths.state;
    let (kept, _) = KeptRotation::read(&node.root, state);
    kept.with_intent(generation, Some(signed)).write(&node.root, state)?;
    Ok(())
}

/// Whether a node follows an intent at either level of its agreement.
fn is_followed_by_all(signed: &SignedIntent, intent: &RotationIntent) -> bool {
    let Agreement { from, to, .. } = intent.agreement;
    [from, to].into_iter().all(|level| {
        let roots = ca_file_at(level).in_order().iter();
        let trusted: Vec<_> = roots.map(|root| intent.root(*root).clone()).collect();
        signed.verify(&trusted).is_ok()
    })
}

/// Removes what the rotation has in the API: the object last, so that an interrupted end is made
/// again.
async fn finish(
    api: &ClusterApi,
    object: &RotationObject,
    intent: &RotationIntent,
) -> Result<(), RotationError> {
    if intent.goal != RotationLevel::Rest {
        // It holds the old root, and its key, encrypted.
        api.delete_kubeadm_certs().await?;
    }
    api.remove_role().await?;
    api.delete_rotation(&object.version).await?;
    Ok(())
}
