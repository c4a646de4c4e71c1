//! The turn of this node among those of its cluster: one node at a time restarts a service of the
//! control plane.
//!
//! It is taken before the last look at the service, and given back when the service is healthy
//! again. Where the Lease for it can't be had, the urgency decides; the leaders' components, whose
//! instances on other nodes take over in any case, then go ahead.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::event::{Emit, Event};
use super::memory::Memory;
use crate::cluster::{ClusterApi, ClusterError, LeaseError, RestartLease};
use crate::model::{Essential, Neighbours, RefreshStep, Service, ServiceMemory, Uptime};
use crate::observe::{Node, host_name, neighbours};
use crate::plan::{MayStop, WithoutLease, etcd_members, may_stop, without_lease};
use crate::sys::{Clock, uptime};

/// The credential whose user may write Leases. kubelet's may not.
const ADMIN: &str = "admin.conf";

/// How often the own Lease is renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(60);

/// A lack of etcd's quorum lasts when it is found again and again for so long: longer than a leader
/// election takes.
const QUORUM_LOSS: Duration = Duration::from_secs(30);

/// Between two questions about the quorum, and about the end of the pass.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The turns of this node in one pass.
pub(super) struct Turns<'t> {
    node: &'t Node,
    /// The node's name in the cluster.
    name: Option<String>,
    stop: &'t AtomicBool,
    clock: &'t dyn Clock,
    emit: Emit<'t>,
    /// The Lease, or why it can't be had in this pass.
    lease: OnceCell<Result<RestartLease<'t>, ClusterError>>,
}

/// What a restart may cost the cluster.
#[derive(Clone, Copy)]
enum Stake<'s> {
    /// The service may be missed by the whole cluster.
    Essential(Essential),
    /// Another instance has to become the leader.
    Leader(&'s str),
}

impl<'t> Turns<'t> {
    pub(super) fn new(
        node: &'t Node,
        name: Option<String>,
        stop: &'t AtomicBool,
        clock: &'t dyn Clock,
        emit: Emit<'t>,
    ) -> Self {
        Self { node, name, stop, clock, emit, lease: OnceCell::new() }
    }

    /// Waits until this node may restart the service of a step.
    ///
    /// # Errors
    /// Why it may not in this pass, for an operator.
    pub(super) async fn take(
        &self,
        step: &RefreshStep,
        memory: &RefCell<&mut Memory<'_>>,
    ) -> Result<(), String> {
        let Some(stake) = self.service(step).and_then(stake) else { return Ok(()) };
        let has_etcd = self.node.catalog.etcd_members > 0;
        if has_etcd && !self.has_peers(&memory.borrow().value) {
            return Ok(());
        }
        let Err(error) = self.acquire(step, stake, memory).await else {
            memory.borrow_mut().value.without_lease = None;
            return Ok(());
        };
        match (stake, error) {
            (_, error @ LeaseError::Stopped) => Err(error.to_string()),
            (_, LeaseError::Cluster(_)) if !self.has_peers(&memory.borrow().value) => Ok(()),
            (Stake::Leader(_), LeaseError::Cluster(_)) => Ok(()),
            (Stake::Leader(_), error) => Err(error.to_string()),
            (Stake::Essential(essential), error) => {
                self.go_without(step, essential, &error, memory).await
            }
        }
    }

    /// Checks right before a service is stopped that it is this node's turn for long enough still,
    /// and that the service's peers carry on, unless what it uses has expired.
    ///
    /// # Errors
    /// Why it may not be stopped, for an operator.
    pub(super) async fn check(
        &self,
        step: &RefreshStep,
        memory: &RefCell<&mut Memory<'_>>,
    ) -> Result<(), String> {
        if let Some(Ok(lease)) = self.lease.get()
            && lease.is_held().await
        {
            lease.ensure().await.map_err(|e| e.to_string())?;
        }
        match self.service(step).and_then(stake) {
            Some(Stake::Essential(essential)) if !step.is_too_late() => {
                self.check_peers(essential, memory).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the turn. A member of etcd or an API server that is not healthy keeps it until it
    /// expires.
    pub(super) async fn end(&self, service: &Service, healthy: bool) {
        let Some(Ok(lease)) = self.lease.get() else { return };
        if healthy || service.essential.is_none() {
            lease.release().await;
        } else {
            lease.abandon().await;
        }
    }

    /// Does the work, and renews the Lease meanwhile whenever this node holds it.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.renew_regularly() => match never {},
        }
    }

    async fn renew_regularly(&self) -> Infallible {
        loop {
            sleep(RENEW_INTERVAL).await;
            if let Some(Ok(lease)) = self.lease.get() {
                lease.renew_if_held().await;
            }
        }
    }

    /// Whether other nodes are known to have an etcd or an API server of this cluster. An etcd that
    /// listed its members knows; without one, only the API does.
    fn has_peers(&self, memory: &ServiceMemory) -> bool {
        let members = etcd_members(self.node.catalog.etcd_members, memory.etcd_members);
        members > 1 || memory.other_api_servers > 0
    }

    async fn acquire(
        &self,
        step: &RefreshStep,
        stake: Stake<'_>,
        memory: &RefCell<&mut Memory<'_>>,
    ) -> Result<(), LeaseError> {
        let lease = self.lease.get_or_init(|| self.open()).await.as_ref().map_err(Clone::clone)?;
        memory.borrow_mut().value.other_api_servers = lease.other_api_servers();
        if !self.has_peers(&memory.borrow().value) {
            return Ok(());
        }
        let host = host_name(&self.node.root);
        let last = match stake {
            Stake::Leader(component) => lease.is_leader(component, &host).await,
            Stake::Essential(_) => false,
        };
        let waits = |holder: &str| {
            (self.emit)(&Event::TurnAwaited { service: &step.service, holder });
        };
        lease.acquire(last, self.stop, &waits).await
    }

    async fn open(&self) -> Result<RestartLease<'t>, ClusterError> {
        let catalog = &self.node.catalog;
        let admin = catalog.credentials.iter().find(|one| one.name.as_str() == ADMIN);
        let admin = admin.ok_or(ClusterError::NoAdminConf)?;
        let own = catalog.api_server_url.as_deref();
        let api = ClusterApi::open(&self.node.root, admin, own).await?;
        let name = self.name.clone().unwrap_or_else(|| host_name(&self.node.root));
        Ok(RestartLease::new(api, name, self.clock))
    }

    /// Decides whether an essential service is restarted although the Lease can't be had.
    async fn go_without(
        &self,
        step: &RefreshStep,
        essential: Essential,
        error: &LeaseError,
        memory: &RefCell<&mut Memory<'_>>,
    ) -> Result<(), String> {
        let waited = self.note_without(&mut memory.borrow_mut().value);
        let rank = match essential {
            Essential::EtcdMember => memory.borrow().value.etcd_rank,
            // Clients turn to another one as soon as its certificate has expired.
            Essential::ApiServer => 0,
        };
        if self.has_lost_quorum(memory).await {
            return Ok(());
        }
        match without_lease(step.urgency, waited, rank) {
            WithoutLease::Wait => Err(format!(
                "the Lease that keeps other nodes from restarting theirs can't be had: {error}"
            )),
            WithoutLease::GoAfter(delay) => self.pause(delay).await,
        }
    }

    /// Notes that the Lease could not be had, and returns for how long that has been so.
    fn note_without(&self, memory: &mut ServiceMemory) -> Duration {
        let Ok(now) = uptime(&self.node.root) else { return Duration::ZERO };
        let since = memory.without_lease.take().filter(|since| since.boot == now.boot);
        let since: Uptime = since.unwrap_or_else(|| now.clone());
        let waited = now.since_boot.saturating_sub(since.since_boot);
        memory.without_lease = Some(since);
        waited
    }

    async fn check_peers(
        &self,
        essential: Essential,
        memory: &RefCell<&mut Memory<'_>>,
    ) -> Result<(), String> {
        match self.may_stop(essential, memory).await {
            MayStop::Yes => Ok(()),
            MayStop::No(reason) => Err(reason),
            MayStop::NoQuorum if self.has_lost_quorum(memory).await => Ok(()),
            // It is back: the answer is another one now.
            MayStop::NoQuorum => match self.may_stop(essential, memory).await {
                MayStop::Yes => Ok(()),
                MayStop::No(reason) => Err(reason),
                MayStop::NoQuorum => Err("etcd has had no quorum for a moment".to_owned()),
            },
        }
    }

    /// Whether etcd has no quorum for as long as it is asked.
    async fn has_lost_quorum(&self, memory: &RefCell<&mut Memory<'_>>) -> bool {
        let began = Instant::now();
        loop {
            if self.may_stop(Essential::EtcdMember, memory).await != MayStop::NoQuorum {
                return false;
            }
            if began.elapsed() >= QUORUM_LOSS {
                return true;
            }
            if self.pause(POLL_INTERVAL).await.is_err() {
                return false;
            }
        }
    }

    async fn may_stop(&self, essential: Essential, memory: &RefCell<&mut Memory<'_>>) -> MayStop {
        let found = neighbours(self.node, essential).await;
        let mut memory = memory.borrow_mut();
        if let Ok(found) = &found {
            note_neighbours(found, &mut memory.value);
        }
        let manifest = self.node.catalog.etcd_members;
        may_stop(&found, etcd_members(manifest, memory.value.etcd_members))
    }

    async fn pause(&self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.stop.load(Ordering::Relaxed) {
                return Err(LeaseError::Stopped.to_string());
            }
            sleep(POLL_INTERVAL.min(end - Instant::now())).await;
        }
        Ok(())
    }

    fn service(&self, step: &RefreshStep) -> Option<&'t Service> {
        self.node.catalog.services.iter().find(|service| service.name == step.service)
    }
}

/// Remembers how many instances other nodes have, for a time when that can't be asked.
pub(super) fn note_neighbours(found: &Neighbours, memory: &mut ServiceMemory) {
    match found {
        Neighbours::Members(members) => {
            memory.etcd_members = Some(members.voters);
            memory.etcd_rank = members.rank;
        }
        Neighbours::Servers { others, .. } => memory.other_api_servers = *others,
    }
}

fn stake(service: &Service) -> Option<Stake<'_>> {
    let leader = service.leader_lease.as_deref().map(Stake::Leader);
    service.essential.map(Stake::Essential).or(leader)
}
