//! The turn of this node among those of its cluster: one node at a time restarts a service of the
//! control plane.
//!
//! It is taken before the last look at the service, and given back when the service is healthy
//! again. The decisions are those of [`TakeTurn`] and [`CheckPeers`]; here their questions are
//! asked.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::event::{Emit, Event};
use super::memory::Memory;
use crate::act::refresh::{Permission, RefreshError, unless_stopped};
use crate::cluster::{ClusterApi, ClusterError, RestartLease};
use crate::model::{Essential, Neighbours, RefreshStep, Service, ServiceMemory, ServiceName};
use crate::observe::{Node, host_name, leader_lease, neighbours};
use crate::plan::{
    CheckPeers, Go, Refusal, Stake, TakeTurn, TurnAnswer, TurnFacts, TurnStep, etcd_members, span,
};
use crate::sys::{Clock, uptime};

/// How often the own Lease is renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(60);

/// How long an API server may be away that a service elects its leader through, before the service
/// is left as it is. It may have been restarted a moment ago, by this node or by another one.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two questions to it.
const SERVER_INTERVAL: Duration = Duration::from_secs(1);

/// The turns of this node in one pass.
pub(super) struct Turns<'t> {
    node: &'t Node,
    /// The node's name in the cluster.
    name: String,
    stop: &'t AtomicBool,
    clock: &'t dyn Clock,
    emit: Emit<'t>,
    /// The Lease, or why it can't be had in this pass.
    lease: OnceCell<Result<RestartLease<'t>, ClusterError>>,
    /// The API was found to be away in this pass.
    is_api_away: Cell<bool>,
    /// The API server that a service elects its leader through did not answer in time.
    is_server_away: Cell<bool>,
    /// By what right the present service is restarted.
    go: Cell<Option<Go>>,
    /// The nodes that were named as those which are waited for.
    awaited: RefCell<BTreeSet<String>>,
}

type PassMemory<'a, 'm> = RefCell<&'a mut Memory<'m>>;

impl<'t> Turns<'t> {
    pub(super) fn new(
        node: &'t Node,
        name: Option<String>,
        stop: &'t AtomicBool,
        clock: &'t dyn Clock,
        emit: Emit<'t>,
    ) -> Self {
        Self {
            node,
            name: name.unwrap_or_else(|| host_name(&node.root)),
            stop,
            clock,
            emit,
            lease: OnceCell::new(),
            is_api_away: Cell::new(false),
            is_server_away: Cell::new(false),
            go: Cell::new(None),
            awaited: RefCell::default(),
        }
    }

    /// Waits until this node may restart the service of a step.
    ///
    /// # Errors
    /// [`RefreshError::NotItsTurn`], and where the pass is to end meanwhile.
    pub(super) async fn take(&self, step: &RefreshStep, memory: &PassMemory<'_, '_>) -> Permission {
        self.go.set(None);
        let Some(service) = self.service(&step.service).filter(|service| is_coordinated(service))
        else {
            return Ok(());
        };
        self.await_server(service).await?;
        if !self.may_have_peers(memory).await {
            return Ok(());
        }
        let began = Instant::now();
        let facts = self.facts(step, service, memory).await;
        let mut turn = TakeTurn::new(facts, Duration::ZERO);
        let mut answer = TurnAnswer::Ready;
        loop {
            answer = match turn.next(answer, began.elapsed()) {
                TurnStep::ReadLease => self.of_lease(async |lease| lease.look().await).await,
                TurnStep::TakeLease => self.of_lease(async |lease| lease.take().await).await,
                TurnStep::FindPeers(essential) => {
                    self.is_api_away.set(true);
                    self.note_without_lease(&mut memory.borrow_mut().value);
                    self.find_peers(essential, memory).await
                }
                TurnStep::Pause(time, holder) => {
                    if let Some(holder) = holder {
                        self.name_awaited(step, holder);
                    }
                    self.pause(time).await?
                }
                TurnStep::Go(go) => {
                    if go == Go::Leased {
                        memory.borrow_mut().value.without_lease = None;
                    }
                    self.go.set(Some(go));
                    return Ok(());
                }
                TurnStep::Refuse(refusal) => return Err(self.refusal(refusal)),
            };
        }
    }

    /// Checks right before a service is stopped that it is this node's turn for long enough still,
    /// and that the service's peers carry on.
    ///
    /// # Errors
    /// [`RefreshError::NotItsTurn`], and where the pass is to end meanwhile.
    pub(super) async fn check(
        &self,
        step: &RefreshStep,
        memory: &PassMemory<'_, '_>,
    ) -> Permission {
        if let Some(Ok(lease)) = self.lease.get()
            && self.go.get() == Some(Go::Leased)
        {
            lease.ensure().await.map_err(|e| RefreshError::NotItsTurn(e.to_string()))?;
        }
        let essential = self.service(&step.service).and_then(|service| service.essential);
        let members = self.members(&memory.borrow().value);
        let check = CheckPeers::new(essential, step.urgency, members, self.go.get());
        let Some(mut check) = check else { return Ok(()) };
        let began = Instant::now();
        let mut answer = TurnAnswer::Ready;
        loop {
            answer = match check.next(&answer, began.elapsed()) {
                TurnStep::FindPeers(essential) => self.find_peers(essential, memory).await,
                TurnStep::Pause(time, _) => self.pause(time).await?,
                TurnStep::Refuse(refusal) => return Err(self.refusal(refusal)),
                TurnStep::Go(_) | TurnStep::ReadLease | TurnStep::TakeLease => return Ok(()),
            };
        }
    }

    /// Ends the turn. A member of etcd or an API server that is not healthy keeps it until it
    /// expires.
    pub(super) async fn end(&self, service: &ServiceName, healthy: bool) {
        self.go.set(None);
        let Some(Ok(lease)) = self.lease.get() else { return };
        let is_essential = self.service(service).is_some_and(|one| one.essential.is_some());
        if healthy || !is_essential {
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

    /// Waits until the API server answers that a service elects its leader through; but only once
    /// in a pass, since nothing else in the pass makes it answer. The service does no work without
    /// it, and could not start.
    async fn await_server(&self, service: &Service) -> Permission {
        let began = Instant::now();
        let limit = if self.is_server_away.get() { Duration::ZERO } else { SERVER_TIMEOUT };
        loop {
            let Err(reason) = leader_lease(self.node, service).await else {
                self.is_server_away.set(false);
                return Ok(());
            };
            if began.elapsed() >= limit {
                self.is_server_away.set(true);
                return Err(RefreshError::NotItsTurn(format!(
                    "it can't start without its API server, which does not answer: {reason}"
                )));
            }
            self.pause(SERVER_INTERVAL).await?;
        }
    }

    /// Whether other nodes may have an etcd or an API server of this cluster. An etcd that listed
    /// its members knows; without one, only the API does.
    async fn may_have_peers(&self, memory: &PassMemory<'_, '_>) -> bool {
        let has_etcd = self.node.catalog.etcd_members > 0;
        if !has_etcd && let Ok(lease) = self.lease().await {
            memory.borrow_mut().value.other_api_servers = lease.other_api_servers();
        }
        let memory = &memory.borrow().value;
        self.members(memory) > 1 || memory.other_api_servers > 0
    }

    fn members(&self, memory: &ServiceMemory) -> usize {
        etcd_members(self.node.catalog.etcd_members, memory.etcd_members)
    }

    async fn facts(
        &self,
        step: &RefreshStep,
        service: &Service,
        memory: &PassMemory<'_, '_>,
    ) -> TurnFacts<'_> {
        let stake = match (service.essential, &service.leader_lease) {
            (Some(essential), _) => Stake::Essential(essential),
            (None, leader) => Stake::Leader { is_leader: self.is_leader(leader.as_deref()).await },
        };
        let memory = &memory.borrow().value;
        TurnFacts {
            node: &self.name,
            stake,
            urgency: step.urgency,
            members: self.members(memory),
            rank: memory.etcd_rank,
            without_lease: self.without_lease(memory),
            is_api_away: self.is_api_away.get(),
        }
    }

    async fn is_leader(&self, lease: Option<&str>) -> bool {
        let Some(name) = lease else { return false };
        match self.lease().await {
            Ok(lease) => lease.is_leader(name, &host_name(&self.node.root)).await,
            Err(_) => false,
        }
    }

    /// For how long the Lease could not be had while one was needed.
    fn without_lease(&self, memory: &ServiceMemory) -> Duration {
        let Ok(now) = uptime(&self.node.root) else { return Duration::ZERO };
        let since = memory.without_lease.as_ref().filter(|since| since.boot == now.boot);
        since.map_or(Duration::ZERO, |since| now.since_boot.saturating_sub(since.since_boot))
    }

    fn note_without_lease(&self, memory: &mut ServiceMemory) {
        let Ok(now) = uptime(&self.node.root) else { return };
        if memory.without_lease.as_ref().is_none_or(|since| since.boot != now.boot) {
            memory.without_lease = Some(now);
        }
    }

    async fn lease(&self) -> Result<&RestartLease<'t>, &ClusterError> {
        self.lease.get_or_init(|| self.open()).await.as_ref()
    }

    async fn open(&self) -> Result<RestartLease<'t>, ClusterError> {
        let catalog = &self.node.catalog;
        let admin = catalog.administrator().ok_or(ClusterError::NoAdminConf)?;
        let own = catalog.api_server_url.as_deref();
        let api = ClusterApi::open(&self.node.root, admin, own).await?;
        Ok(RestartLease::new(api, self.name.clone(), self.clock))
    }

    async fn of_lease(&self, ask: impl AsyncFn(&RestartLease<'t>) -> TurnAnswer) -> TurnAnswer {
        match self.lease().await {
            Ok(lease) => ask(lease).await,
            // Its servers were asked one after the other.
            Err(_) => TurnAnswer::NoApi { may_answer: false },
        }
    }

    /// Finds the peers of a service, and remembers how many there are.
    async fn find_peers(&self, essential: Essential, memory: &PassMemory<'_, '_>) -> TurnAnswer {
        let found = neighbours(self.node, essential).await;
        if let Ok(found) = &found {
            note_neighbours(found, &mut memory.borrow_mut().value);
        }
        TurnAnswer::Peers(found)
    }

    fn name_awaited(&self, step: &RefreshStep, holder: String) {
        if !self.awaited.borrow().contains(&holder) {
            (self.emit)(&Event::TurnAwaited { service: &step.service, holder: &holder });
            self.awaited.borrow_mut().insert(holder);
        }
    }

    async fn pause(&self, time: Duration) -> Result<TurnAnswer, RefreshError> {
        let over = unless_stopped(self.stop, sleep(time)).await;
        over.map(|()| TurnAnswer::Ready).ok_or(RefreshError::Stopped)
    }

    fn refusal(&self, refusal: Refusal) -> RefreshError {
        RefreshError::NotItsTurn(match refusal {
            Refusal::Busy { holder, waited } => format!(
                "{holder} restarts services, and this node has waited for its turn for {}",
                span(waited)
            ),
            Refusal::NoLease => {
                let trouble = match self.lease.get() {
                    Some(Ok(lease)) => lease.trouble(),
                    Some(Err(error)) => Some(error.clone()),
                    None => None,
                };
                let trouble = trouble.map(|error| format!(": {error}")).unwrap_or_default();
                format!(
                    "the Lease by which only one node at a time restarts services can't be \
                     taken{trouble}"
                )
            }
            Refusal::Peers(reason) => reason,
        })
    }

    fn service(&self, name: &ServiceName) -> Option<&'t Service> {
        self.node.catalog.services.iter().find(|service| service.name == *name)
    }
}

/// Remembers how many instances other nodes have, for a time when that can't be asked.
pub(super) fn note_neighbours(found: &Neighbours, memory: &mut ServiceMemory) {
    match found {
        Neighbours::Members(members) => {
            memory.etcd_members = Some(members.voters);
            memory.etcd_rank = members.rank;
            if members.membership.is_some() {
                memory.membership.clone_from(&members.membership);
            }
        }
        Neighbours::Servers { others, .. } => memory.other_api_servers = *others,
    }
}

/// Whether one node of the cluster at a time restarts the service.
fn is_coordinated(service: &Service) -> bool {
    service.essential.is_some() || service.leader_lease.is_some()
}
