//! The orders of an operator about the rotation of the root CA: each is an intent that is signed
//! and written into the cluster and on this node; the daemons do the rest.

use std::time::Duration;

use super::coordinate::{NodeStanding, standings_of, write};
use super::kept::{Rotation, RotationError, administrator_api, read_rotation, verify_of_cluster};
use crate::act::{RotationKeys, RotationStepError};
use crate::cluster::{ClusterApi, RotationObject};
use crate::formats::rotation_intent::RotationIntent;
use crate::formats::x509::{
    BridgeError, Certificate, IssueError, KeyError, NewRootError, PrivateKey, ReadError, Terms,
    bridge, random_serial,
};
use crate::model::{Agreement, InvalidName, RootCa, RotationLevel, Timestamp};
use crate::observe::{Node, RotationTrouble, node_name};
use crate::pass::ca_renewal::CaRenewalError;
use crate::pass::new_root::{InstallRootError, list};
use crate::pass::{PassError, survey};
use crate::plan::RootFault;
use crate::state::{KeptRotation, KeptStanding};
use crate::store::StoreError;
use crate::sys::{FileError, block_on};

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
    /// Why objects of the API are waited for, as this node found them last.
    pub objects: Vec<String>,
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
        "the root CA is being replaced or renewed already: `kubecertd ca rotate status` shows how \
         far it is"
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
         level servers"
    )]
    TooEarly,
    /// It is over already.
    #[error("it ends already")]
    Ends,
    /// A renewal has no last level of its own.
    #[error("the root CA is renewed with its own key: that ends by itself")]
    IsRenewal,
    /// The root can't be renewed.
    #[error(transparent)]
    Renewal(#[from] CaRenewalError),
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
        let own = nodes.iter_mut().find(|one| name.as_ref() == Some(&one.node));
        let mut objects = Vec::new();
        if let (Some(own), Some(standing)) = (own, kept.standing) {
            // It is newer than what was reported to the cluster.
            let KeptStanding { progress, waits, held, objects: of_api } = standing;
            (own.progress, own.waits, own.held) = (Some(progress), waits, held);
            if progress.generation == intent.agreement.generation {
                objects = of_api;
            }
        }
        Ok(Standing { intent, nodes, objects })
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
    let (kept, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
    let object = match api.rotation().await.map_err(RotationError::from)? {
        Some(object) => object,
        None => {
            let signed = kept.intent.as_ref().filter(|_| *order == Order::Resume);
            let signed = signed.ok_or(OrderError::None)?;
            verify_of_cluster(node, signed, &cluster)?;
            api.create_rotation(signed).await.map_err(RotationError::from)?
        }
    };
    let is_newer = |intent: &RotationIntent| intent.agreement.generation > kept.generation;
    let is_kept = kept.intent.as_ref() == Some(&object.signed);
    match verify_of_cluster(node, &object.signed, &cluster) {
        Ok(intent) if is_kept || is_newer(&intent) => {
            Ok((Rotation::new(node, intent, object.signed.clone()), object))
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
    use RotationLevel::{Distrusted, Renewed, Rest, Servers};
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
                Distrusted | Renewed => return Err(OrderError::Ends),
                Rest if intent.is_renewal() => next.goal = Renewed,
                level => next.goal = level.towards(Servers),
            }
            next.paused = None;
        }
        Order::Complete if intent.is_renewal() => return Err(OrderError::IsRenewal),
        Order::Complete => {
            if !(is_settled && to == Servers) {
                return Err(if to == Distrusted { OrderError::Ends } else { OrderError::TooEarly });
            }
            (next.goal, next.paused) = (Distrusted, None);
        }
        Order::Back => {
            (next.goal, next.paused) = (Rest, None);
            if to == Distrusted {
                next.bridge_back = Some(back(intent, keys, now)?);
            }
        }
    }
    Ok(next)
}

/// The orders that make a difference now. The reason of a pause stands for any other one.
#[must_use]
pub fn offered(intent: &RotationIntent) -> Vec<Order> {
    let Agreement { from, to, .. } = intent.agreement;
    let is_settled = from == to && to == intent.goal;
    let forth = match (&intent.paused, is_settled) {
        (Some(_), _) => Some(Order::Resume),
        (None, false) => Some(Order::Pause("REASON".to_owned())),
        (None, true) if to == RotationLevel::Servers => Some(Order::Complete),
        (None, true) if to.is_end() => return Vec::new(),
        (None, true) => Some(Order::Step),
    };
    let back = (intent.goal != RotationLevel::Rest).then_some(Order::Back);
    forth.into_iter().chain(back).collect()
}

/// The bridge for clients that know the new root alone.
fn back(
    intent: &RotationIntent,
    keys: &RotationKeys,
    now: Timestamp,
) -> Result<Certificate, OrderError> {
    bridge_by(&intent.new, keys.of(RootCa::New)?, &intent.old, now)
}

/// How far the clock of another node or client may be behind.
pub(super) const TOLERATED_SKEW: Duration = Duration::from_secs(86_400);

/// The bridge to a root, signed by the other one.
pub(super) fn bridge_by(
    by: &Certificate,
    key: &PrivateKey,
    of: &Certificate,
    now: Timestamp,
) -> Result<Certificate, OrderError> {
    let terms = Terms {
        serial: random_serial()?,
        not_before: now.minus(TOLERATED_SKEW).max(by.not_before).max(of.not_before),
        not_after: by.not_after.min(of.not_after),
    };
    let der = bridge(of, by, key, &terms, now)?;
    Ok(Certificate::from_der(&der)?)
}
