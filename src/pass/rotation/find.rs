//! The intent that this node follows: the one that it keeps, or a newer one of the cluster.

use std::time::Duration;

use tokio::time::timeout;

use super::kept::{
    Rotation, RotationError, administrator_api, anchors, forget, is_over, kubelet_api,
    read_rotation, root_authority, verify_of_cluster,
};
use crate::cluster::ClusterError;
use crate::formats::rotation_intent::SignedIntent;
use crate::observe::Node;
use crate::pass::Pass;
use crate::state::KeptRotation;
use crate::sys::block_on;

/// The object of the cluster, and the cluster that it is in.
#[derive(Debug)]
pub(super) struct FoundIntent {
    signed: SignedIntent,
    /// The UID of the cluster.
    cluster: String,
}

/// How long a pass waits for the intent of the cluster: it goes on with the one that it keeps.
const ASK_LIMIT: Duration = Duration::from_secs(10);

const TOO_LATE: &str = "no API server answered in time";

impl Pass<'_> {
    /// The rotation that this node takes part in now: a newer intent of the cluster is kept first.
    /// Where the API is away, the node goes on with what it keeps.
    pub(super) fn find_rotation(&mut self) -> Result<Option<Rotation>, RotationError> {
        let node = self.node;
        let asks = node.root.is_host() && root_authority(node).is_ok();
        let away = || RotationError::Cluster(ClusterError::Away(TOO_LATE.to_owned()));
        let ask = || block_on(async { timeout(ASK_LIMIT, of_cluster(node)).await });
        let found = asks.then(ask).and_then(Result::ok);
        self.follow(found.map(|found| found.unwrap_or_else(|_| Err(away()))))
    }

    /// The same with what was found in the cluster; `None` where it was not asked.
    pub(super) fn follow(
        &mut self,
        found: Option<Result<Option<FoundIntent>, RotationError>>,
    ) -> Result<Option<Rotation>, RotationError> {
        let node = self.node;
        let state = &node.settings.paths.state;
        let (kept, note) = KeptRotation::read(&node.root, state);
        self.note(note);
        let FoundIntent { signed, cluster } = match found {
            Some(Ok(Some(found))) if kept.intent.as_ref() != Some(&found.signed) => found,
            Some(Ok(None)) if kept.intent.is_some() => return self.without_object(),
            Some(Ok(_)) | None => return read_rotation(node),
            Some(Err(error)) => {
                if kept.intent.is_some() {
                    let text =
                        format!("root CA: the intent of the rotation can't be read: {error}");
                    self.note([text]);
                } else {
                    tracing::debug!(%error, "whether the root CA is being replaced is not known");
                }
                return read_rotation(node);
            }
        };
        let intent = verify_of_cluster(node, &signed, &cluster)?;
        // A node that joined after the end of a rotation trusts its new root alone, which has
        // signed the old intents too.
        if kept.generation == 0 {
            let anchors = anchors(node)?;
            // One that joins while the root is renewed gets the renewed one.
            let joins = intent.is_renewal() && anchors.contains(&intent.new);
            if !anchors.contains(&intent.old) && !joins {
                return Err(RotationError::Ended);
            }
        }
        let generation = intent.agreement.generation;
        if generation <= kept.generation {
            return Err(RotationError::Replayed { found: generation, known: kept.generation });
        }
        kept.with_intent(generation, Some(signed.clone())).write(&node.root, state)?;
        Ok(Some(Rotation::new(node, intent, signed)))
    }

    /// The cluster has no intent any more: the rotation is over, or it was deleted.
    fn without_object(&mut self) -> Result<Option<Rotation>, RotationError> {
        let node = self.node;
        match read_rotation(node)? {
            Some(rotation) if is_over(&rotation.intent) => {
                self.note(forget(node, &rotation, self.orders.clock.now()));
                Ok(None)
            }
            Some(_) => Err(RotationError::Deleted),
            None => Ok(None),
        }
    }
}

pub(super) async fn of_cluster(node: &Node) -> Result<Option<FoundIntent>, RotationError> {
    let api = match administrator_api(node).await {
        Ok(api) => api,
        // kubelet reaches none, either.
        Err(error) if error.is_of_server() => return Err(error.into()),
        Err(_) => kubelet_api(node).await?,
    };
    let Some(object) = api.rotation().await? else { return Ok(None) };
    let cluster = api.cluster_uid().await?;
    Ok(Some(FoundIntent { signed: object.signed, cluster }))
}
