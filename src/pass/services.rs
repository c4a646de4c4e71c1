//! The services in a pass: observe, judge and plan, refresh one after the other, and remember.
//!
//! The pass holds the store meanwhile, so that no two processes refresh the same services.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::stat::FileStat;

use super::event::{Emit, Event};
use super::memory::Memory;
use super::orders::Orders;
use super::survey::{Survey, policy};
use super::turns::{Turns, note_neighbours};
use crate::act::make_first_request;
use crate::act::refresh::{
    BoxFuture, Caller, Limits, Permission, RefreshError, RefreshOutcome, Refreshing,
    ServiceObservation, await_healthy, refresh,
};
use crate::model::{
    AbsolutePath, ClockTrust, Constraints, Consumer, ContentName, Essential, Health, Presence,
    RefreshStep, Remedy, Replaced, Service, ServiceKind, ServiceMemory, ServiceName, Timestamp,
    TrustFileFacts,
};
use crate::observe::{Node, ServicesSeen, is_node_name, neighbours, node_name, service, services};
use crate::plan::{
    Content, Finding, FirstRequest, Judged, JudgedService, Moment, Refresh, Request, Situation,
    Trigger, etcd_members, first_requests, forget_restarted, judge_service, note_connections,
    note_contents, note_out_of_sight, note_reloaded, note_replaced, note_restarted, plan_refresh,
};
use crate::sys::{Clock, Root, block_on, uptime};

/// How long the static pods are waited for after kubelet was started again.
const POD_START_TIMEOUT: Duration = Duration::from_secs(120);

/// The facts about the services at one moment, and the judgement of them.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// The services, in the order of the catalog.
    pub list: Vec<JudgedService>,
    /// Other containers that mount a credential's file.
    pub consumers: Vec<Consumer>,
    /// What an operator should know, and no step helps against.
    pub findings: Vec<Finding>,
    /// What is to be done, now or later.
    pub steps: Vec<RefreshStep>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// What a pass found of the services, and did.
#[derive(Debug, Default)]
pub struct ServicesReport {
    /// What was found, and decided.
    pub found: Services,
    /// The outcome of each step that was not deferred.
    pub outcomes: Vec<RefreshOutcome>,
}

/// Looks at the services, and says what a pass that an operator asks for would do. Changes nothing.
#[must_use]
pub fn look(node: &Node, clock: &dyn Clock, survey: &Survey) -> Services {
    if !node.root.is_host() {
        return Services::default();
    }
    let (mut memory, note) = Memory::read(node);
    let constraints = Constraints {
        clock_trust: ClockTrust::Trusted,
        reasons: Vec::new(),
        refused: Vec::new(),
        long_expired: BTreeMap::new(),
    };
    let (request, trigger) = (&Request::default(), Trigger::Asked);
    let observer = Observer { node, survey, clock, request, trigger, constraints: &constraints };
    let found = block_on(observer.observe(&mut memory.value, &[]));
    let mut found = found.unwrap_or_else(Services::not_observed);
    found.notes.extend(note);
    found
}

/// Takes note of the certificates that are in place before anything is renewed: they are what the
/// services may still hold afterwards.
pub(super) fn note_before(node: &Node, before: &Survey, memory: &mut Memory<'_>) {
    if node.root.is_host()
        && let Ok(uptime) = uptime(&node.root)
    {
        note_certificates(node, before, &mut memory.value, &[], &Moment { uptime, at: before.now });
    }
}

/// What is true of the services now. Nothing is done to them.
pub(super) fn observe_services(
    node: &Node,
    orders: &Orders<'_>,
    survey: &Survey,
    constraints: &Constraints,
    memory: &mut Memory<'_>,
) -> Services {
    let Orders { clock, request, trigger, .. } = *orders;
    let observer = Observer { node, survey, clock, request, trigger, constraints };
    let found = block_on(observer.observe(&mut memory.value, &[]));
    found.unwrap_or_else(Services::not_observed)
}

/// Has the services use what is on the disk, as far as it is time for that. The services of another
/// root directory, such as a mounted disk, do not run.
pub(super) fn refresh_services(
    node: &Node,
    orders: &Orders<'_>,
    survey: &Survey,
    constraints: &Constraints,
    replaced: &[Replaced],
    memory: &mut Memory<'_>,
) -> ServicesReport {
    if !node.root.is_host() {
        return ServicesReport::default();
    }
    let Orders { clock, request, trigger, stop, emit, .. } = *orders;
    let observer = Observer { node, survey, clock, request, trigger, constraints };
    let report = block_on(observer.refresh(stop, emit, memory, replaced));
    report.unwrap_or_else(|e| ServicesReport {
        found: Services::not_observed(e),
        outcomes: Vec::new(),
    })
}

impl ServicesReport {
    /// Whether a step of the pass had this service use its new credentials: what was found of it
    /// before is out of date.
    #[must_use]
    pub fn is_updated(&self, service: &ServiceName) -> bool {
        let mut outcomes = self.outcomes.iter();
        outcomes.any(|outcome| outcome.service == *service && outcome.result.is_ok())
    }

    /// This report, continued by a later one of the same pass.
    pub(super) fn then(mut self, later: Self) -> Self {
        self.outcomes.extend(later.outcomes);
        let notes = [self.found.notes, later.found.notes.clone()].concat();
        Self { found: Services { notes, ..later.found }, outcomes: self.outcomes }
    }
}

impl Services {
    fn not_observed(error: io::Error) -> Self {
        Self {
            notes: vec![format!(
                "the services can't be observed: {error}; the next pass tries again"
            )],
            ..Self::default()
        }
    }
}

/// Looks at the services of a node and judges them by one survey of its certificates.
#[derive(Clone, Copy)]
struct Observer<'o> {
    node: &'o Node,
    survey: &'o Survey,
    clock: &'o dyn Clock,
    request: &'o Request,
    trigger: Trigger,
    constraints: &'o Constraints,
}

impl Observer<'_> {
    /// What is true of the services now, and what is to be done.
    async fn observe(self, memory: &mut ServiceMemory, replaced: &[Replaced]) -> Services {
        let Self { node, survey, clock, request, trigger, constraints } = self;
        let mut notes = Vec::new();
        match uptime(&node.root) {
            Ok(uptime) => {
                note_certificates(
                    node,
                    survey,
                    memory,
                    replaced,
                    &Moment { uptime, at: clock.now() },
                );
            }
            Err(e) => {
                notes.push(format!(
                    "{e}; which services started before a certificate was replaced \
                    is not known"
                ));
            }
        }
        let ServicesSeen { services: seen, consumers, notes: more } = services(node, clock).await;
        notes.extend(more);
        note_connections(memory, &seen);
        note_out_of_sight(memory, &seen, replaced);
        let now = clock.now();
        let on_disk = survey.on_disk();
        let list: Vec<_> =
            seen.iter().map(|facts| judge_service(facts, on_disk, memory, now)).collect();
        let policy = &policy(node);
        let situation = Situation { on_disk, memory, trigger, request, policy, constraints, now };
        let Refresh { steps, findings } = plan_refresh(&list, &situation);
        Services { list, consumers, findings, steps, notes }
    }

    /// Makes the first request with each certificate that a service connects to kubelet with, and
    /// returns what could not be done.
    async fn make_first_requests(
        self,
        found: &Services,
        memory: &mut ServiceMemory,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        for one in first_requests(&found.list, &found.steps, memory) {
            match self.make_first_request(&one).await {
                Ok(()) => drop(memory.first_requests.insert(one.credential, one.fingerprint)),
                Err(reason) => notes.push(format!(
                    "{}: the next kubectl logs or exec through it may fail once, because its {} \
                     is new; kubecertd's own request, which should have prevented that, did not \
                     arrive: {reason}",
                    one.service, one.credential
                )),
            }
        }
        notes
    }

    /// The name of this node in the cluster, where it is known.
    fn node_name(self) -> Option<String> {
        let credentials = self.survey.credentials.iter().map(|judged| &judged.facts);
        node_name(credentials).filter(|name| is_node_name(name))
    }

    async fn make_first_request(self, one: &FirstRequest) -> Result<(), String> {
        let node = self
            .node_name()
            .ok_or("the name of this node is not known, since kubelet's certificate is not")?;
        let kubeconfig =
            self.node.catalog.credentials.iter().find(|entry| entry.name == one.kubeconfig);
        let kubeconfig =
            kubeconfig.ok_or_else(|| format!("there is no {} here", one.kubeconfig))?;
        make_first_request(&self.node.root, kubeconfig, &node, &one.at).await
    }

    /// Refreshes one service after the other.
    async fn refresh(
        self,
        stop: &AtomicBool,
        emit: Emit<'_>,
        memory: &mut Memory<'_>,
        replaced: &[Replaced],
    ) -> ServicesReport {
        let Self { node, survey, clock, .. } = self;
        let mut found = self.observe(&mut memory.value, replaced).await;
        let notes = self.make_first_requests(&found, &mut memory.value).await;
        found.notes.extend(notes);
        note_members(node, &found, &mut memory.value).await;
        found.notes.extend(memory.persist().err());
        let (memory_cell, noted) = (RefCell::new(&mut *memory), RefCell::default());
        let turns = Turns::new(node, self.node_name(), stop, clock, emit);
        let caller = PassCaller { node, survey, clock, emit, turns, memory: memory_cell, noted };
        let services = &node.catalog.services;
        let with = Refreshing {
            caller: &caller,
            root: &node.root,
            clock,
            runtime: &node.runtime,
            kubelet: services.iter().find(|service| service.name.as_str() == "kubelet"),
            remote_port: services
                .iter()
                .flat_map(|service| &service.uses)
                .find_map(|one| one.to_port)
                .unwrap_or_default(),
            limits: Limits::USUAL,
            stop,
        };
        let known: Vec<_> = found.list.iter().map(|judged| judged.facts.service.clone()).collect();
        let outcomes = caller.turns.keep(refresh(&found.steps, &known, &with)).await;
        caller.forget_not_made(&found.steps, &outcomes);
        caller.note_reloaded(&found.steps, &outcomes);
        let not_written = caller.memory.borrow_mut().persist().err();
        found.notes.extend(not_written);
        let kubelet_was_started = kubelet_was_started(&found.steps, &outcomes);
        if kubelet_was_started {
            await_healthy(&static_pods_down(&found), POD_START_TIMEOUT, &with).await;
        }
        drop(caller);
        if kubelet_was_started {
            let again = self.observe(&mut memory.value, &[]).await;
            let notes = [found.notes, again.notes].concat();
            // Deferred steps stay deferred.
            found = Services { steps: found.steps, notes, ..again };
        }
        found.notes.extend(waits_for_members(node, &found, &memory.value));
        found.notes.extend(memory.persist().err());
        ServicesReport { found, outcomes }
    }
}

/// The static pods that do not run: kubelet, where it had to be started first, starts them, and
/// what was found of them before is out of date.
fn static_pods_down(found: &Services) -> Vec<Service> {
    let is_down = |judged: &&JudgedService| {
        matches!(judged.facts.presence, Presence::Down(_))
            && matches!(judged.facts.service.kind, ServiceKind::StaticPod { .. })
    };
    found.list.iter().filter(is_down).map(|judged| judged.facts.service.clone()).collect()
}

fn kubelet_was_started(steps: &[RefreshStep], outcomes: &[RefreshOutcome]) -> bool {
    let is_it = |step: &&RefreshStep| {
        step.remedy == Remedy::Start || (step.remedy == Remedy::Restart && step.is_too_late())
    };
    let well = |name: &ServiceName| {
        outcomes.iter().any(|outcome| outcome.service == *name && outcome.result.is_ok())
    };
    steps.first().filter(is_it).is_some_and(|step| well(&step.service))
}

/// A healthy etcd is asked for its members: the manifest of a cluster's first node names only
/// itself, and after a long absence no member answers.
async fn note_members(node: &Node, found: &Services, memory: &mut ServiceMemory) {
    let is_etcd =
        |judged: &&JudgedService| judged.facts.service.essential == Some(Essential::EtcdMember);
    if found.list.iter().find(is_etcd).is_some_and(|judged| judged.facts.health == Health::Healthy)
        && let Ok(members) = neighbours(node, Essential::EtcdMember).await
    {
        note_neighbours(&members, memory);
    }
}

/// After a long absence of all nodes a member that runs again waits for the others, whose
/// certificates an operator may have to have renewed there.
fn waits_for_members(node: &Node, found: &Services, memory: &ServiceMemory) -> Option<String> {
    let members = etcd_members(node.catalog.etcd_members, memory.etcd_members);
    let waits = found.list.iter().any(|judged| {
        let facts = &judged.facts;
        facts.service.essential == Some(Essential::EtcdMember)
            && matches!(facts.presence, Presence::Running(_))
            && matches!(facts.health, Health::Unhealthy(_))
    });
    (waits && members > 1).then(|| {
        format!(
            "etcd runs and is not healthy: it works again when more than half of its {members} \
             members do; where all of them were off for long, run kubecertd renew \
             --include-long-expired on at least half of the control-plane nodes, and the others \
             follow at their next pass (the daemon makes one about every ten minutes, kubecertd \
             renew at once)"
        )
    })
}

/// Remembers since when each content is where it is.
fn note_certificates(
    node: &Node,
    survey: &Survey,
    memory: &mut ServiceMemory,
    replaced: &[Replaced],
    now: &Moment,
) {
    replaced.iter().for_each(|one| note_replaced(memory, one, now));
    let credentials = survey.credentials.iter().map(|one| credential(&node.root, one, now.at));
    let trust_files = survey.trust_files.iter().map(|one| trust_file(&node.root, one, now.at));
    note_contents(memory, &credentials.chain(trust_files).collect::<Vec<_>>(), now);
}

fn credential(root: &Root, judged: &Judged, now: Timestamp) -> Content {
    let files = &judged.facts.files;
    let changed_ago = age(root, files, |stat| stat.st_ctime, now);
    Content::of_credential(&judged.facts, changed_ago, age(root, files, |stat| stat.st_mtime, now))
}

fn trust_file(root: &Root, facts: &TrustFileFacts, now: Timestamp) -> Content {
    let found = facts.certificates.as_ref().ok();
    Content {
        name: ContentName::CaCertificates(facts.file.clone()),
        found: found.map(|found| (found.fingerprint, found.not_after)),
        changed_ago: age(root, &facts.read, |stat| stat.st_ctime, now),
        written_ago: found.and_then(|found| since(found.made, now)),
    }
}

fn age(
    root: &Root,
    files: &[AbsolutePath],
    time: fn(&FileStat) -> i64,
    now: Timestamp,
) -> Option<Duration> {
    youngest(root, files, time).and_then(|youngest| since(youngest, now))
}

fn youngest(root: &Root, files: &[AbsolutePath], time: fn(&FileStat) -> i64) -> Option<Timestamp> {
    let times = files
        .iter()
        .map(|path| root.stat(path).ok()?.map(|stat| Timestamp::from_seconds(time(&stat))));
    times.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn since(earlier: Timestamp, now: Timestamp) -> Option<Duration> {
    u64::try_from(now.seconds_since(earlier)).ok().map(Duration::from_secs)
}

/// Answers the questions of a refresh, and writes down what is about to be done to a service.
struct PassCaller<'a, 'm> {
    node: &'a Node,
    survey: &'a Survey,
    clock: &'a dyn Clock,
    emit: Emit<'a>,
    turns: Turns<'a>,
    memory: RefCell<&'a mut Memory<'m>>,
    /// What was written down as about to be restarted.
    noted: RefCell<Vec<ServiceName>>,
}

impl PassCaller<'_, '_> {
    /// Remembers for which certificates services accepted a request to reload.
    fn note_reloaded(&self, steps: &[RefreshStep], outcomes: &[RefreshOutcome]) {
        let well = |step: &&RefreshStep| {
            outcomes.iter().any(|outcome| {
                outcome.service == step.service && outcome.restarted && outcome.result.is_ok()
            })
        };
        steps
            .iter()
            .filter(well)
            .for_each(|step| note_reloaded(&mut self.memory.borrow_mut().value, step));
    }

    /// Forgets restarts that were written down and not made, because a runtime refused them, for
    /// example: they do not count as the one restart of a certificate.
    fn forget_not_made(&self, steps: &[RefreshStep], outcomes: &[RefreshOutcome]) {
        let undone = |step: &&RefreshStep| {
            let noted = self.noted.borrow().contains(&step.service);
            noted
                && outcomes
                    .iter()
                    .any(|outcome| outcome.service == step.service && !outcome.restarted)
        };
        steps
            .iter()
            .filter(undone)
            .for_each(|step| forget_restarted(&mut self.memory.borrow_mut().value, step));
    }
}

impl Caller for PassCaller<'_, '_> {
    fn look<'a>(&'a self, asked: &'a Service) -> BoxFuture<'a, ServiceObservation> {
        Box::pin(async move {
            let facts = service(self.node, self.clock, asked).await;
            let judged = judge_service(
                &facts,
                self.survey.on_disk(),
                &self.memory.borrow().value,
                self.clock.now(),
            );
            ServiceObservation { facts: judged.facts, freshness: judged.freshness }
        })
    }

    fn take_turn<'a>(&'a self, step: &'a RefreshStep) -> BoxFuture<'a, Permission> {
        Box::pin(async move {
            match &step.restart_waits {
                Some(reason) => Err(RefreshError::Held(reason.clone())),
                None => self.turns.take(step, &self.memory).await,
            }
        })
    }

    /// A restart that can't be written down is not made: it might be made again and again.
    fn may_restart<'a>(&'a self, step: &'a RefreshStep) -> BoxFuture<'a, Permission> {
        Box::pin(async move {
            if let Some(reason) = &step.restart_waits {
                return Err(RefreshError::Held(reason.clone()));
            }
            self.turns.check(step, &self.memory).await?;
            self.noted.borrow_mut().push(step.service.clone());
            note_restarted(&mut self.memory.borrow_mut().value, step, self.clock.now());
            self.memory.borrow_mut().persist().map_err(RefreshError::Held)
        })
    }

    fn finished<'a>(&'a self, outcome: &'a RefreshOutcome, healthy: bool) -> BoxFuture<'a, ()> {
        (self.emit)(&Event::Refreshed(outcome));
        Box::pin(self.turns.end(&outcome.service, healthy))
    }
}
