//! The Lease `kube-system/kubecertd-restart`: its holder is the one node of the cluster that
//! restarts a service of the control plane now.
//!
//! It is taken before the node looks whether its peers carry on, and released when the service is
//! healthy again: else two nodes could each find the other healthy, and both stop. A node that dies
//! meanwhile keeps it until it expires.

use std::cell::RefCell;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{CONFLICT, ClusterApi, ClusterError, LeaseError};
use crate::model::LeaseState;
use crate::plan::{LEASE_DURATION, NEEDED_BEFORE_STOP, TurnAnswer};
use crate::sys::Clock;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kubecertd-restart";

/// The Lease, as one pass of this node uses it.
pub struct RestartLease<'l> {
    api: ClusterApi,
    node: String,
    clock: &'l dyn Clock,
    held: Mutex<Option<Held>>,
    /// The Lease as it was last read.
    read: RefCell<Option<Lease>>,
    seen: RefCell<Option<Seen>>,
    trouble: RefCell<Option<ClusterError>>,
}

/// The Lease while this node holds it.
struct Held {
    lease: Lease,
    /// A moment before its last renewal.
    renewed: Instant,
}

/// The Lease when it was last found changed.
struct Seen {
    /// Changes with each write.
    version: Option<String>,
    since: Instant,
}

impl<'l> RestartLease<'l> {
    /// The Lease for this node, with the clients of its API.
    #[must_use]
    pub fn new(api: ClusterApi, node: String, clock: &'l dyn Clock) -> Self {
        Self {
            api,
            node,
            clock,
            held: Mutex::default(),
            read: RefCell::default(),
            seen: RefCell::default(),
            trouble: RefCell::default(),
        }
    }

    /// Reads the Lease: how it is, and for how long it has been so.
    pub async fn look(&self) -> TurnAnswer {
        match self.read().await {
            Ok(lease) => {
                let unchanged = self.unchanged(lease.as_ref());
                let state = lease.as_ref().map(state);
                *self.read.borrow_mut() = lease;
                TurnAnswer::Lease(state, unchanged)
            }
            Err(error) => self.no_api(error),
        }
    }

    /// Takes the Lease as it was last read.
    pub async fn take(&self) -> TurnAnswer {
        let renewed = Instant::now();
        let read = self.read.borrow_mut().take();
        match self.write(&self.taken(read)).await {
            Ok(lease) => {
                *self.held.lock().await = Some(Held { lease, renewed });
                TurnAnswer::Taken
            }
            Err(error) if error.code() == Some(CONFLICT) => TurnAnswer::Changed,
            Err(error) => self.no_api(error),
        }
    }

    /// Why the API was last of no use.
    pub fn trouble(&self) -> Option<ClusterError> {
        self.trouble.borrow().clone()
    }

    fn no_api(&self, error: ClusterError) -> TurnAnswer {
        let may_answer = error.is_of_server();
        *self.trouble.borrow_mut() = Some(error);
        TurnAnswer::NoApi { may_answer }
    }

    /// Makes sure that the Lease is held for long enough for one restart.
    ///
    /// # Errors
    /// When it is not.
    pub async fn ensure(&self) -> Result<(), LeaseError> {
        let mut held = self.held.lock().await;
        let remaining =
            held.as_ref().map(|held| LEASE_DURATION.saturating_sub(held.renewed.elapsed()));
        match remaining {
            Some(remaining) if remaining >= NEEDED_BEFORE_STOP => Ok(()),
            _ => self.renew(&mut held).await,
        }
    }

    /// Whether this node holds it.
    #[cfg(test)]
    pub async fn is_held(&self) -> bool {
        self.held.lock().await.is_some()
    }

    /// Renews the Lease where this node holds it.
    pub async fn renew_if_held(&self) {
        let mut held = self.held.lock().await;
        if held.is_some()
            && let Err(error) = self.renew(&mut held).await
        {
            tracing::debug!(%error, "the Lease could not be renewed");
        }
    }

    /// How many API servers other nodes have, by the list of the cluster.
    #[must_use]
    pub fn other_api_servers(&self) -> usize {
        self.api.others()
    }

    /// Gives the Lease up. Where that fails, it expires.
    pub async fn release(&self) {
        let Some(held) = self.held.lock().await.take() else { return };
        let spec =
            LeaseSpec { holder_identity: None, ..held.lease.spec.clone().unwrap_or_default() };
        if let Err(error) = self.write(&Lease { spec: Some(spec), ..held.lease }).await {
            tracing::debug!(%error, "the Lease could not be released; it expires by itself");
        }
    }

    /// Keeps the Lease until it expires: the service that it was taken for is not healthy, and no
    /// other node should stop one.
    pub async fn abandon(&self) {
        self.held.lock().await.take();
    }

    /// How long the Lease has been as it is, by the time at which it was first seen so.
    fn unchanged(&self, found: Option<&Lease>) -> Duration {
        let version = found.and_then(|lease| lease.metadata.resource_version.clone());
        let mut seen = self.seen.borrow_mut();
        match &*seen {
            Some(seen) if seen.version == version => seen.since.elapsed(),
            _ => {
                *seen = Some(Seen { version, since: Instant::now() });
                Duration::ZERO
            }
        }
    }

    async fn renew(&self, held: &mut Option<Held>) -> Result<(), LeaseError> {
        let lost = || LeaseError::Lost(format!("{NAMESPACE}/{NAME}"));
        let lease = held.as_ref().map(|held| held.lease.clone()).ok_or_else(lost)?;
        let renewed = Instant::now();
        let result = match self.write(&self.taken(Some(lease))).await {
            // The answer to an earlier renewal may not have arrived.
            Err(error) if error.code() == Some(CONFLICT) => match self.read().await? {
                Some(lease) if state(&lease).holder.as_deref() == Some(&self.node) => {
                    self.write(&self.taken(Some(lease))).await
                }
                _ => {
                    *held = None;
                    return Err(lost());
                }
            },
            result => result,
        };
        *held = Some(Held { lease: result?, renewed });
        Ok(())
    }

    /// The Lease as it is when this node has taken or renewed it now.
    fn taken(&self, found: Option<Lease>) -> Lease {
        let now = Timestamp::from_second(self.clock.now().seconds()).map(MicroTime);
        // A time that can't be written is left out: it is for humans alone.
        let now = now.ok();
        let Lease { metadata, spec } = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = spec.unwrap_or_default();
        let is_own = spec.holder_identity.as_ref() == Some(&self.node);
        let transitions = spec.lease_transitions.unwrap_or_default();
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.node.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: spec.acquire_time.filter(|_| is_own).or_else(|| now.clone()),
                renew_time: now,
                lease_transitions: Some(transitions.saturating_add(i32::from(!is_own))),
                ..spec
            }),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        self.api.call(async |client| leases(client).get_opt(NAME).await).await
    }

    /// Creates the Lease, or replaces the one that was read; with status 409 where it has changed
    /// since.
    async fn write(&self, lease: &Lease) -> Result<Lease, ClusterError> {
        let parameters = &PostParams::default();
        self.api
            .call(async |client| {
                if lease.metadata.resource_version.is_some() {
                    leases(client).replace(NAME, parameters, lease).await
                } else {
                    leases(client).create(parameters, lease).await
                }
            })
            .await
    }

    /// Whether this node's instance of a component leads, by the Lease of that name: its holder is
    /// the host's name and a random part.
    pub async fn is_leader(&self, component: &str, host: &str) -> bool {
        let read = self.api.call(async |client| leases(client).get_opt(component).await).await;
        let holder = read.ok().flatten().and_then(|lease| state(&lease).holder);
        holder.is_some_and(|holder| {
            holder.rsplit_once('_').is_some_and(|(of, _)| of == host || of == self.node)
        })
    }
}

fn leases(client: Client) -> Api<Lease> {
    Api::namespaced(client, NAMESPACE)
}

fn state(lease: &Lease) -> LeaseState {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    LeaseState {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
    }
}
