//! The services' part of a pass: look at them, judge, decide, refresh one after the other, look
//! again, remember.
//!
//! The store is the pass's all the while, so that no two processes refresh the same services.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::stat::FileStat;

use super::{Orders, Survey, policy};
use crate::act::refresh::{
    Answer, Caller, Limits, RefreshOutcome, Refreshing, Seen, come_back, refresh,
};
use crate::model::{
    AbsolutePath, Belief, Brakes, Consumer, Essential, Health, Neighbours, Presence, RefreshStep,
    Remedy, Replaced, Service, ServiceKind, ServiceMemory, ServiceName, Timestamp,
};
use crate::observe::{Node, ServicesSeen, neighbours, runtime_socket, service, services};
use crate::plan::{
    Content, Finding, Judged, JudgedService, Moment, Occasion, Refresh, Request, Situation,
    forget_restarted, judge_service, may_stop, note_connections, note_contents, note_out_of_sight,
    note_replaced, note_restarted, note_told, plan_refresh,
};
use crate::store::{read_services, write_services};
use crate::sys::{Clock, Root, block_on, uptime};

/// How long the static pods are waited for after kubelet was started again.
const COMES_BACK: Duration = Duration::from_secs(120);

/// What is known and thought of the services at one moment.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// The services, in the order of the catalog.
    pub list: Vec<JudgedService>,
    /// What mounts a credential's file besides.
    pub consumers: Vec<Consumer>,
    /// What somebody should know, and nothing is done about.
    pub findings: Vec<Finding>,
    /// What is to be done, now or later.
    pub steps: Vec<RefreshStep>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// What became of the services in a pass.
#[derive(Debug, Default)]
pub struct ServicesReport {
    /// What was found, and decided.
    pub found: Services,
    /// What became of each step that was not to wait.
    pub outcomes: Vec<RefreshOutcome>,
}

/// Looks at the services, and says what a pass that an operator asks for would do. Changes nothing.
#[must_use]
pub fn look(node: &Node, clock: &dyn Clock, survey: &Survey) -> Services {
    if !node.root.is_host() {
        return Services::default();
    }
    let brakes = Brakes {
        belief: Belief::Believed,
        holds: Vec::new(),
        refused: Vec::new(),
        long_gone: std::collections::BTreeMap::new(),
    };
    let (request, occasion) = (&Request::default(), Occasion::Asked);
    let light = Light { node, survey, clock, request, occasion, brakes: &brakes };
    let (memory, note) = read_services(&node.root, &node.settings.paths.state);
    let mut found =
        block_on(light.look(memory, &[])).map_or_else(Services::unseen, |(found, _)| found);
    found.notes.extend(note);
    found
}

/// Makes the services work with what is on the disk, as far as it is time for that. Those of
/// another root folder, such as a disk, do not run.
///
/// `before` is what was found before anything was renewed, so that it is known what the services
/// may still hold.
pub(super) fn make(
    node: &Node,
    orders: &Orders<'_>,
    before: &Survey,
    survey: &Survey,
    brakes: &Brakes,
    replaced: &[Replaced],
) -> ServicesReport {
    if !node.root.is_host() {
        return ServicesReport::default();
    }
    let (mut memory, note) = read_services(&node.root, &node.settings.paths.state);
    if let Ok(uptime) = uptime(&node.root) {
        take_note(node, before, &mut memory, &[], &Moment { uptime, at: before.now });
    }
    let light = Light {
        node,
        survey,
        clock: orders.clock,
        request: orders.request,
        occasion: orders.occasion,
        brakes,
    };
    let report = block_on(light.make(orders.stop, memory, replaced));
    let mut report = report
        .unwrap_or_else(|e| ServicesReport { found: Services::unseen(e), outcomes: Vec::new() });
    report.found.notes.extend(note);
    report
}

impl ServicesReport {
    /// With what was done after it in the same pass.
    pub(super) fn then(mut self, later: Self) -> Self {
        self.outcomes.extend(later.outcomes);
        let notes = [self.found.notes, later.found.notes.clone()].concat();
        Self { found: Services { notes, ..later.found }, outcomes: self.outcomes }
    }
}

impl Services {
    fn unseen(error: io::Error) -> Self {
        Self {
            notes: vec![format!(
                "the services can't be looked at: {error}; the next pass tries again"
            )],
            ..Self::default()
        }
    }
}

/// What a look depends on.
#[derive(Clone, Copy)]
struct Light<'l> {
    node: &'l Node,
    survey: &'l Survey,
    clock: &'l dyn Clock,
    request: &'l Request,
    occasion: Occasion,
    brakes: &'l Brakes,
}

impl Light<'_> {
    async fn look(
        self,
        mut memory: ServiceMemory,
        replaced: &[Replaced],
    ) -> (Services, ServiceMemory) {
        let Self { node, survey, clock, request, occasion, brakes } = self;
        let mut notes = Vec::new();
        match uptime(&node.root) {
            Ok(uptime) => {
                take_note(node, survey, &mut memory, replaced, &Moment { uptime, at: clock.now() })
            }
            Err(e) => {
                notes.push(format!("{e}; which services began before a certificate is not known"))
            }
        }
        let ServicesSeen { services: seen, consumers, notes: more } = services(node, clock).await;
        notes.extend(more);
        note_connections(&mut memory, &seen);
        note_out_of_sight(&mut memory, &seen, replaced);
        let now = clock.now();
        let credentials = &survey.credentials;
        let list: Vec<_> =
            seen.iter().map(|facts| judge_service(facts, credentials, &memory, now)).collect();
        let policy = &policy(node);
        let situation =
            Situation { credentials, memory: &memory, occasion, request, policy, brakes, now };
        let Refresh { steps, findings } = plan_refresh(&list, &situation);
        (Services { list, consumers, findings, steps, notes }, memory)
    }

    async fn make(
        self,
        stop: &AtomicBool,
        memory: ServiceMemory,
        replaced: &[Replaced],
    ) -> ServicesReport {
        let Self { node, survey, clock, .. } = self;
        let (mut found, memory) = self.look(memory, replaced).await;
        let caller =
            Eyes { node, survey, clock, memory: RefCell::new(memory), noted: RefCell::default() };
        found.notes.extend(caller.remember().err());
        let services = &node.catalog.services;
        let with = Refreshing {
            caller: &caller,
            root: &node.root,
            clock,
            runtime: &runtime_socket(&node.root),
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
        let outcomes = refresh(&found.steps, &known, &with).await;
        caller.take_back(&found.steps, &outcomes);
        caller.note_told(&found.steps, &outcomes);
        note_members(node, &found, &caller).await;
        found.notes.extend(caller.remember().err());
        if kubelet_came_back(&found.steps, &outcomes) {
            found = {
                let memory = caller.memory.borrow().clone();
                self.after_kubelet(found, &with, memory).await
            };
        }
        ServicesReport { found, outcomes }
    }

    /// Where kubelet had to be started first, what it starts is waited for, and looked at again:
    /// what was found before is history.
    async fn after_kubelet(
        self,
        before: Services,
        with: &Refreshing<'_>,
        memory: ServiceMemory,
    ) -> Services {
        let down = |judged: &&JudgedService| {
            matches!(judged.facts.presence, Presence::Down(_))
                && matches!(judged.facts.service.kind, ServiceKind::StaticPod { .. })
        };
        let down: Vec<Service> =
            before.list.iter().filter(down).map(|judged| judged.facts.service.clone()).collect();
        come_back(&down, COMES_BACK, with).await;
        let (found, _) = self.look(memory, &[]).await;
        let notes = [before.notes, found.notes].concat();
        // What was to wait still does.
        Services { steps: before.steps, notes, ..found }
    }
}

fn kubelet_came_back(steps: &[RefreshStep], outcomes: &[RefreshOutcome]) -> bool {
    let is_it = |step: &&RefreshStep| {
        step.remedy == Remedy::Revive || (step.remedy == Remedy::Restart && step.too_late)
    };
    let well = |name: &ServiceName| {
        outcomes.iter().any(|outcome| outcome.service == *name && outcome.result.is_ok())
    };
    steps.first().filter(is_it).is_some_and(|step| well(&step.service))
}

/// While etcd is well it is asked how many it is: the manifest of a cluster's first node names only
/// itself, and after a long absence nobody answers.
async fn note_members(node: &Node, found: &Services, eyes: &Eyes<'_>) {
    let is_etcd =
        |judged: &&JudgedService| judged.facts.service.essential == Some(Essential::EtcdMember);
    if found.list.iter().find(is_etcd).is_some_and(|judged| judged.facts.health == Health::Healthy)
        && let Ok(Neighbours::Members { all, .. }) = neighbours(node, Essential::EtcdMember).await
    {
        eyes.memory.borrow_mut().etcd_members = Some(all);
    }
}

/// When each certificate came to be where it is.
fn take_note(
    node: &Node,
    survey: &Survey,
    memory: &mut ServiceMemory,
    replaced: &[Replaced],
    now: &Moment,
) {
    replaced.iter().for_each(|one| note_replaced(memory, one, now));
    let content = |judged| content(&node.root, judged, now.at);
    note_contents(memory, &survey.credentials.iter().map(content).collect::<Vec<_>>(), now);
}

fn content<'j>(root: &Root, judged: &'j Judged, now: Timestamp) -> Content<'j> {
    let files = &judged.facts.files;
    let ago = |time: fn(&FileStat) -> i64| {
        youngest(root, files, time).and_then(|youngest| since(youngest, now))
    };
    Content {
        facts: &judged.facts,
        changed_ago: ago(|stat| stat.st_ctime),
        written_ago: ago(|stat| stat.st_mtime),
    }
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

/// Looks at a service while it is refreshed, and writes down what is about to be done to it.
struct Eyes<'a> {
    node: &'a Node,
    survey: &'a Survey,
    clock: &'a dyn Clock,
    memory: RefCell<ServiceMemory>,
    /// What was written down as about to be restarted.
    noted: RefCell<Vec<ServiceName>>,
}

impl Eyes<'_> {
    fn remember(&self) -> Result<(), String> {
        let written =
            write_services(&self.node.root, &self.node.settings.paths.state, &self.memory.borrow());
        written.map_err(|e| format!("{e}; what is done to services can't be remembered"))
    }
}

impl Eyes<'_> {
    /// What the cluster lives on is stopped only where its like on other nodes carry on, unless it
    /// is too late already.
    async fn others_carry_on(&self, step: &RefreshStep) -> Result<(), String> {
        let service =
            self.node.catalog.services.iter().find(|service| service.name == step.service);
        match service.and_then(|service| service.essential).filter(|_| !step.too_late) {
            Some(essential) => {
                may_stop(&neighbours(self.node, essential).await, self.node.catalog.etcd_members)
            }
            None => Ok(()),
        }
    }

    /// What took it well, and shows nobody what it works with.
    fn note_told(&self, steps: &[RefreshStep], outcomes: &[RefreshOutcome]) {
        let well = |step: &&RefreshStep| {
            outcomes.iter().any(|outcome| {
                outcome.service == step.service && outcome.restarted && outcome.result.is_ok()
            })
        };
        steps.iter().filter(well).for_each(|step| note_told(&mut self.memory.borrow_mut(), step));
    }

    /// What was written down and then not done, because a runtime refused it, say, has not used up
    /// the one time.
    fn take_back(&self, steps: &[RefreshStep], outcomes: &[RefreshOutcome]) {
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
            .for_each(|step| forget_restarted(&mut self.memory.borrow_mut(), step));
    }
}

impl Caller for Eyes<'_> {
    fn look<'a>(&'a self, asked: &'a Service) -> Answer<'a, Seen> {
        Box::pin(async move {
            let facts = service(self.node, self.clock, asked).await;
            let judged = judge_service(
                &facts,
                &self.survey.credentials,
                &self.memory.borrow(),
                self.clock.now(),
            );
            Seen { facts: judged.facts, freshness: judged.freshness }
        })
    }

    /// What can't be written down is not done: it might be done again and again.
    fn may_restart<'a>(&'a self, step: &'a RefreshStep) -> Answer<'a, Result<(), String>> {
        Box::pin(async move {
            if let Some(reason) = &step.restart_waits {
                return Err(reason.clone());
            }
            self.others_carry_on(step).await?;
            self.noted.borrow_mut().push(step.service.clone());
            note_restarted(&mut self.memory.borrow_mut(), step, self.clock.now());
            self.remember()
        })
    }
}
