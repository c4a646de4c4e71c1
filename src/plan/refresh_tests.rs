use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::service_fixtures::*;
use super::*;
use crate::model::{AbsolutePath, DeferralReason, Sees, ServiceKind, TrustFile, TrustFileFacts};
use crate::plan::note_out_of_sight;
use crate::plan::{judge_service, note_restarted};

const AT: u64 = 5_000;

/// Services, and all that a plan for them depends on.
#[derive(Clone, Debug)]
struct Node {
    services: Vec<ServiceFacts>,
    credentials: Vec<Judged>,
    trust_files: Vec<TrustFileFacts>,
    memory: ServiceMemory,
    trigger: Trigger,
    request: Request,
    constraints: Constraints,
    now: Timestamp,
}

impl Node {
    /// A scheduled pass on a node with these services. Every credential's content appeared at
    /// [`AT`] by our own doing, and the one before has ten days left.
    fn new(services: Vec<ServiceFacts>) -> Self {
        let names: BTreeSet<_> = services
            .iter()
            .flat_map(|facts| &facts.service.uses)
            .map(|one| one.credential.clone())
            .collect();
        let contents = services.iter().flat_map(|facts| facts.service.contents());
        let appeared = contents
            .map(|content| (content, appeared_at("new", AT, Some(now().plus(days(10))))))
            .collect();
        Self {
            trust_files: services.iter().flat_map(|facts| trust_files(&facts.service)).collect(),
            credentials: names.iter().map(|name| judged(name.as_str(), "new")).collect(),
            memory: ServiceMemory { appeared, ..ServiceMemory::default() },
            services,
            trigger: Trigger::Scheduled,
            request: Request::default(),
            constraints: Constraints {
                clock_trust: ClockTrust::Trusted,
                reasons: Vec::new(),
                refused: Vec::new(),
                long_expired: std::collections::BTreeMap::new(),
            },
            now: now(),
        }
    }

    fn on_disk(&self) -> OnDisk<'_> {
        OnDisk { credentials: &self.credentials, trust_files: &self.trust_files }
    }

    fn plan(&self) -> Refresh {
        let on_disk = self.on_disk();
        let judge = |facts| judge_service(facts, on_disk, &self.memory, self.now);
        let judged: Vec<_> = self.services.iter().map(judge).collect();
        let policy = Policy {
            renew_before: days(15),
            urgent_before: days(3),
            validity: days(365),
            backdate: Duration::ZERO,
            key: crate::model::KeyChoice::Keep,
        };
        let situation = Situation {
            on_disk,
            memory: &self.memory,
            trigger: self.trigger,
            request: &self.request,
            policy: &policy,
            constraints: &self.constraints,
            now: self.now,
        };
        plan_refresh(&judged, &situation)
    }

    /// The one step that there is.
    fn step(&self) -> RefreshStep {
        let Refresh { mut steps, findings } = self.plan();
        assert_eq!((steps.len(), findings), (1, vec![]));
        steps.remove(0)
    }

    fn waits(&self) -> Option<String> {
        self.step().waits
    }

    /// The only thing found, where nothing is done.
    fn finding(&self) -> String {
        let Refresh { steps, findings } = self.plan();
        assert_eq!((steps, findings.len()), (vec![], 1));
        findings[0].to_string()
    }

    fn renewed_by_others(mut self) -> Self {
        self.memory.appeared.values_mut().for_each(|known| known.ours = false);
        self
    }

    /// The certificates before these end then.
    fn old_ones_end(mut self, end: Timestamp) -> Self {
        for known in self.memory.appeared.values_mut() {
            known.earlier.iter_mut().for_each(|earlier| earlier.not_after = end);
        }
        self
    }

    fn on(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    fn held(mut self) -> Self {
        self.constraints.reasons.push(DeferralReason::KubeadmRunning { pid: 7 });
        self
    }

    fn restarted(mut self, service: &str, credential: &str) -> Self {
        let (service, fingerprint) =
            (ServiceName::new(service).unwrap(), fingerprint("new").to_string());
        self.memory.restarted.push(Restarted {
            service,
            content: content(credential),
            fingerprint,
            at: now().minus(DAY),
        });
        self
    }
}

fn stale() -> ServiceFacts {
    service("scheduler", "scheduler.conf", Takes::Restart, AT - 1)
}

fn serving(content: &str) -> ServiceFacts {
    let mut facts = service("api", "apiserver", Takes::Reloads, AT - 1);
    facts.holds[0].serves = served(content);
    facts
}

/// It shows the credential on these connections, and was there before its present content.
fn connected(cookies: &[u64]) -> ServiceFacts {
    let mut facts = service("api", "kubelet-client", Takes::NewConnections, AT - 1);
    facts.holds[0].connections = Some(cookies.to_vec());
    facts
}

/// One service with the uses of both.
fn both(mut one: ServiceFacts, other: ServiceFacts) -> ServiceFacts {
    one.service.uses.extend(other.service.uses);
    one.holds.extend(other.holds);
    one
}

fn aged(name: &str, days_old: u32) -> ServiceFacts {
    let mut facts = service(name, "one", Takes::Reloads, AT);
    facts.service.ages = true;
    let Presence::Running(instance) = &mut facts.presence else { panic!() };
    instance.age = DAY * days_old;
    facts
}

const LATER: &str = "another program replaced it: it is refreshed at the next scheduled time";
const HELD: &str = "kubeadm is running (process 7)";

/// A node whose kubelet was given a certificate here a minute ago.
fn repaired(kubelet: ServiceFacts, others: Vec<ServiceFacts>) -> Node {
    let mut node = Node::new(others.into_iter().chain([kubelet]).collect());
    let own = node
        .credentials
        .iter_mut()
        .find(|judged| judged.facts.credential.name == name("own"))
        .unwrap();
    own.facts.credential.renewal = Renewal::Kubelet;
    let kubeconfig = AbsolutePath::constant("/etc/kubernetes/kubelet.conf");
    own.facts.kubelet = Some(crate::model::KubeletClient {
        kubeconfig,
        embedded: None,
        lost: None,
        rotation_off: None,
        node: Ok("cp1".into()),
    });
    let known = node.memory.appeared.get_mut(&content("own")).unwrap();
    (known.at, known.seen) = (up(AT), up(AT + 60));
    node
}

fn kubelet(started: u64) -> ServiceFacts {
    let mut facts = service("kubelet", "own", Takes::Reloads, started);
    facts.service.kind = ServiceKind::Unit {
        unit: "kubelet.service".into(),
        refresh: crate::model::UnitRefresh::Restart,
    };
    facts
}

fn kubelet_down() -> ServiceFacts {
    ServiceFacts {
        presence: Presence::Down("systemd has it as auto-restart".into()),
        health: Health::NotAsked,
        ..kubelet(AT - 1)
    }
}

#[test]
fn kubelet_is_restarted_once_for_its_issued_certificate() {
    let step = repaired(kubelet(AT - 1), vec![]).held().on(Trigger::Other).step();
    assert_eq!(
        (step.remedy, step.waits, step.reason.as_str()),
        (Remedy::Restart, None, "began before its own was issued here")
    );
    assert_eq!(step.contents, [(content("own"), fingerprint("new").to_string())]);
    assert_eq!(repaired(kubelet(AT - 1), vec![]).restarted("kubelet", "own").plan().steps, []);
    assert_eq!(repaired(kubelet(AT + 1), vec![]).plan().steps, [], "it began with it");
    assert_eq!(
        repaired(kubelet(AT - 1), vec![]).renewed_by_others().plan().steps,
        [],
        "kubelet made it itself"
    );
    let mut later = repaired(kubelet(AT - 1), vec![]);
    later.memory.appeared.get_mut(&content("own")).unwrap().seen = up(AT + 4_000);
    assert_eq!(later.plan().steps, [], "whatever ails it now, it is not that");
    let mut ours = repaired(kubelet(AT - 1), vec![]);
    ours.credentials[0].facts.kubelet = None;
    assert_eq!(ours.plan().steps, [], "it is not kubelet's own");
}

#[test]
fn kubelet_that_could_not_start_is_started_alone() {
    let node = repaired(
        kubelet_down(),
        vec![ServiceFacts { presence: Presence::Down("no container".into()), ..stale() }],
    );
    let Refresh { steps, findings } = node.plan();
    assert_eq!(
        steps.iter().map(|step| (step.service.as_str(), step.remedy)).collect::<Vec<_>>(),
        [("kubelet", Remedy::Start)]
    );
    assert_eq!(findings.len(), 1, "what waits for it is not restarted without use: {findings:?}");
    let again = node.restarted("kubelet", "own").plan();
    assert_eq!((again.steps.len(), again.findings.len()), (0, 2));
}

#[test]
fn healthy_kubelet_is_last_and_unhealthy_one_first() {
    let order = |kubelet: ServiceFacts| {
        let steps = repaired(kubelet, vec![stale()]).plan().steps;
        steps.iter().map(|step| step.service.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(order(kubelet(AT - 1)), ["scheduler", "kubelet"]);
    assert_eq!(order(kubelet_down()), ["kubelet", "scheduler"]);
    let unhealthy = ServiceFacts { health: Health::Unhealthy("refused".into()), ..kubelet(AT - 1) };
    assert_eq!(order(unhealthy), ["kubelet", "scheduler"]);
}

#[test]
fn stale_service_is_restarted_for_certificate_on_disk() {
    let step = RefreshStep {
        service: ServiceName::new("scheduler").unwrap(),
        instance: "scheduler-4999".into(),
        remedy: Remedy::Restart,
        contents: vec![(content("scheduler.conf"), fingerprint("new").to_string())],
        closing: Vec::new(),
        reason: "uses an outdated scheduler.conf (start time)".into(),
        waits: None,
        restart_waits: None,
        urgency: Urgency::Comfortable,
    };
    assert_eq!(Node::new(vec![stale()]).plan(), Refresh { steps: vec![step], findings: vec![] });
}

#[test]
fn reloading_service_is_awaited() {
    let node = Node::new(vec![serving("old")]);
    let step = node.step();
    assert_eq!(
        (step.remedy, step.reason.as_str()),
        (Remedy::Await, "uses an outdated apiserver (served certificate)")
    );
    assert_eq!((step.waits, step.restart_waits), (None, None));
    assert_eq!(Node::new(vec![serving("new")]).plan(), Refresh::default());
}

#[test]
fn all_stale_credentials_of_a_service_need_one_restart() {
    let two = both(stale(), service("scheduler", "other", Takes::Restart, AT - 1));
    let step = Node::new(vec![both(two, serving("old"))]).step();
    assert_eq!((step.remedy, step.contents.len()), (Remedy::Restart, 3));
    assert_eq!(step.reason.matches("; ").count(), 2);
}

#[test]
fn unhealthy_service_is_restarted_with_a_note() {
    let step = Node::new(vec![ServiceFacts {
        health: Health::Unhealthy("connection refused".into()),
        ..stale()
    }])
    .step();
    assert_eq!(step.waits, None);
    assert_eq!(
        step.reason,
        "uses an outdated scheduler.conf (start time); is unhealthy already: connection \
         refused"
    );
}

#[test]
fn service_is_restarted_once_for_a_certificate() {
    let done = Node::new(vec![stale()]).restarted("scheduler", "scheduler.conf");
    let text = "scheduler still uses an outdated scheduler.conf (start time), although it was \
        restarted for it at \
                2027-01-14T08:00:00Z: it is not restarted again";
    assert_eq!(done.finding(), text);
    assert!(
        Node::new(vec![serving("old")])
            .restarted("api", "apiserver")
            .finding()
            .starts_with("api still uses an outdated apiserver")
    );
    let others = [("other", "scheduler.conf"), ("scheduler", "other")];
    for (service, credential) in others {
        assert_eq!(
            Node::new(vec![stale()]).restarted(service, credential).step().remedy,
            Remedy::Restart
        );
    }
}

#[test]
fn foreign_renewal_waits_for_scheduled_pass() {
    let node = Node::new(vec![stale()]).renewed_by_others();
    for (trigger, waits) in [
        (Trigger::Scheduled, None),
        (Trigger::Asked, None),
        (Trigger::Other, Some(LATER.to_owned())),
    ] {
        assert_eq!(node.clone().on(trigger).waits(), waits, "{trigger:?}");
    }
    let mut other = node.on(Trigger::Asked);
    other.request.only = [name("apiserver")].into();
    assert_eq!(other.waits(), Some(LATER.to_owned()), "something else was asked for");
    other.request.only.insert(name("scheduler.conf"));
    assert_eq!(other.waits(), None);
}

#[test]
fn own_or_urgent_renewal_is_refreshed_at_once() {
    assert_eq!(Node::new(vec![stale()]).on(Trigger::Other).waits(), None);
    let others = Node::new(vec![stale()]).renewed_by_others().on(Trigger::Other);
    assert_eq!(others.clone().old_ones_end(now().plus(days(3))).waits(), None);
    assert_eq!(
        others.clone().old_ones_end(now().plus(days(3)).plus(Duration::from_secs(1))).waits(),
        Some(LATER.to_owned())
    );
    let mut wrong = others.old_ones_end(now().plus(days(3)));
    wrong.constraints.clock_trust = ClockTrust::NotTrusted("the clock is wrong".into());
    assert_eq!(wrong.waits(), Some(LATER.to_owned()), "nothing is urgent by a wrong clock");
}

#[test]
fn hold_defers_steps_that_are_not_urgent() {
    let node = Node::new(vec![stale()]).held();
    assert_eq!(node.waits(), Some(HELD.to_owned()));
    assert_eq!(node.clone().old_ones_end(now().plus(days(2))).waits(), None);
    let mut forced = node.clone();
    forced.request.force = true;
    assert_eq!(forced.waits(), None);
    assert_eq!(
        node.renewed_by_others().on(Trigger::Other).waits(),
        Some(format!("{HELD}; {LATER}"))
    );
}

#[test]
fn awaiting_is_not_deferred_but_its_restart_is() {
    let step = Node::new(vec![serving("old")]).renewed_by_others().held().on(Trigger::Other).step();
    assert_eq!(
        (step.remedy, step.waits, step.restart_waits),
        (Remedy::Await, None, Some(format!("{HELD}; {LATER}")))
    );
}

#[test]
fn invisible_service_is_refreshed_like_others() {
    let mut facts = stale();
    facts.presence = Presence::OutOfSight;
    facts.service.kind =
        ServiceKind::Command { command: vec!["/bin/true".into()], limit: Duration::ZERO };
    let mut node = Node::new(vec![facts.clone()]);
    note_out_of_sight(&mut node.memory, &[facts], &[]);
    assert_eq!(node.plan(), Refresh::default(), "it uses what is there, as far as is known");
    node.memory.told.iter_mut().for_each(|told| told.fingerprint = fingerprint("old").to_string());
    let step = node.step();
    assert_eq!((step.remedy, step.instance.as_str(), step.waits), (Remedy::Restart, "", None));
}

#[test]
fn expired_certificate_is_never_deferred() {
    let too_late = |end| Node::new(vec![stale()]).old_ones_end(end).step().is_too_late();
    assert!(!too_late(now()), "urgent is not too late");
    assert!(too_late(now().minus(Duration::from_secs(1))));
}

#[test]
fn connections_are_closed_shortly_before_expiry() {
    let node = |end: Timestamp| {
        let mut node = Node::new(vec![connected(&[7, 8, 9])]);
        node.memory.connections.push(noted("api", "kubelet-client", "new", &[7, 8], Some(end)));
        node
    };
    assert_eq!(node(now().plus(days(2))).plan(), Refresh::default(), "deferred is not failed");
    let step = node(now().plus(DAY)).step();
    assert_eq!(
        (step.remedy, step.closing, step.waits),
        (Remedy::CloseConnections, vec![7, 8], None)
    );
    assert_eq!(
        step.reason,
        "2 of its connections use an outdated kubelet-client, which expires in 24 hours"
    );
    assert_eq!(
        node(now().plus(DAY)).renewed_by_others().held().on(Trigger::Other).waits(),
        None,
        "it is urgent"
    );
}

#[test]
fn connections_with_unknown_expiry_are_closed_when_timely() {
    let mut node = Node::new(vec![connected(&[7, 8])]).renewed_by_others();
    node.memory.appeared.values_mut().for_each(|known| known.earlier.clear());
    let step = node.step();
    assert_eq!(
        (step.remedy, step.closing, step.waits),
        (Remedy::CloseConnections, vec![7, 8], None)
    );
    assert_eq!(node.on(Trigger::Other).waits(), Some(LATER.to_owned()));
}

#[test]
fn restart_in_place_of_closing_has_its_own_deferral() {
    let step = Node::new(vec![connected(&[7])])
        .old_ones_end(now())
        .restarted("api", "kubelet-client")
        .step();
    assert_eq!(
        step.restart_waits,
        Some("it was restarted for it already, at 2027-01-14T08:00:00Z".into())
    );
}

#[test]
fn awaiting_and_closing_connections_are_one_step() {
    let node = Node::new(vec![both(serving("old"), connected(&[7]))]);
    let urgent = node.clone().old_ones_end(now().plus(DAY)).step();
    assert_eq!((urgent.remedy, urgent.closing, urgent.contents.len()), (Remedy::Await, vec![7], 2));
    let mut unknown = node.held();
    unknown.memory.appeared.values_mut().for_each(|known| known.earlier.clear());
    let step = unknown.step();
    assert_eq!(
        (step.remedy, step.closing, step.contents.len()),
        (Remedy::Await, vec![], 1),
        "closing waits, looking does not"
    );
}

#[test]
fn restart_needs_no_closing_of_connections() {
    let node = Node::new(vec![both(stale(), connected(&[7]))]).old_ones_end(now());
    let mut node = node;
    node.services[0].service.name = ServiceName::new("api").unwrap();
    let step = node.step();
    assert_eq!((step.remedy, step.closing, step.contents.len()), (Remedy::Restart, vec![], 2));
}

#[test]
fn service_holding_a_better_certificate_is_left_alone() {
    for condition in [Condition::Expired, Condition::NotYetValid] {
        let mut node = Node::new(vec![stale()]);
        node.credentials[0].judgement.condition = condition;
        let text = format!(
            "scheduler uses an outdated scheduler.conf, and the one on the disk is \
             {condition}: it is not refreshed"
        );
        assert_eq!(node.finding(), text);
    }
}

#[test]
fn kubelet_is_not_restarted_for_what_it_renews() {
    let mut node = Node::new(vec![serving("old")]);
    node.credentials[0].facts.credential.renewal = Renewal::Kubelet;
    let seen = |node: &mut Node, at| {
        node.memory.appeared.get_mut(&content("apiserver")).unwrap().seen = up(at);
    };
    seen(&mut node, AT + 600);
    assert_eq!(
        node.finding(),
        "api uses an outdated apiserver: kubelet reloads the new one by itself; if it does not \
         within some minutes, run systemctl restart kubelet"
    );
    seen(&mut node, AT + 601);
    assert_eq!(
        node.finding(),
        "api still uses an outdated apiserver, and kubelet has not reloaded the new one within 10 \
         minutes: run systemctl restart kubelet"
    );
    let mut by_start = Node::new(vec![stale()]);
    by_start.credentials.iter_mut().for_each(|one| {
        one.facts.credential.renewal = Renewal::Kubelet;
    });
    let known = by_start.memory.appeared.values_mut();
    known.for_each(|known| known.seen = up(AT + 601));
    let finding = by_start.finding();
    assert!(finding.contains("if it does not within"), "only what it serves proves it: {finding}");
}

#[test]
fn service_down_or_unknown_is_a_finding_without_step() {
    let with = |presence| Node::new(vec![ServiceFacts { presence, ..stale() }]);
    assert_eq!(
        with(Presence::Down("its container exited".into())).finding(),
        "scheduler does not run: its container exited"
    );
    assert_eq!(
        with(Presence::Unknown("no answer".into())).finding(),
        "whether scheduler runs is not known: no answer"
    );
    assert_eq!(with(Presence::Absent).plan(), Refresh::default());
}

#[test]
fn unknown_freshness_is_a_finding_unless_credential_is_bad() {
    let mut facts = serving("old");
    facts.holds[0].serves = Some(Serves::NotItsOwn("haproxy has the port".into()));
    let mut node = Node::new(vec![facts]);
    assert_eq!(
        node.finding(),
        "whether api uses the present apiserver is not known: haproxy has the port"
    );
    node.credentials[0].facts.material = crate::model::Material::Absent;
    assert_eq!(node.plan(), Refresh::default());
}

#[test]
fn service_is_restarted_after_eleven_months() {
    let node = |days_old| Node::new(vec![aged("api", days_old)]);
    assert_eq!(node(333).plan(), Refresh::default());
    let step = node(334).step();
    assert_eq!((step.remedy, step.contents.len(), step.waits), (Remedy::Restart, 0, None));
    assert_eq!(
        step.reason,
        "has been running for 334 days, and certificates that it keeps in memory expire a year \
         after its start"
    );
    for trigger in [Trigger::Asked, Trigger::Other] {
        assert_eq!(node(334).on(trigger).plan(), Refresh::default(), "only at the scheduled time");
    }
    let mut without_age_limit = aged("api", 400);
    without_age_limit.service.ages = false;
    assert_eq!(Node::new(vec![without_age_limit]).plan(), Refresh::default());
}

#[test]
fn restarts_for_age_follow_the_catalog_order() {
    let services = vec![aged("api", 340), aged("manager", 333), aged("scheduler", 360)];
    let names = |node: &Node| {
        node.plan().steps.iter().map(|step| step.service.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&Node::new(services)), ["api", "scheduler"]);
    let mut held = Node::new(vec![aged("api", 340)]).held();
    assert_eq!(held.waits(), Some(HELD.to_owned()));
    held.services = vec![aged("api", 362)];
    assert_eq!(held.waits(), None, "three days before the end");
}

#[test]
fn failed_restart_for_age_is_not_repeated() {
    let mut node = Node::new(vec![aged("api", 340)]);
    let step = node.step();
    note_restarted(&mut node.memory, &step, now());
    assert_eq!(
        node.finding(),
        "api has been running for 340 days, though it was to be restarted for it: it is not \
         restarted again"
    );
    let Presence::Running(instance) = &mut node.services[0].presence else { panic!() };
    instance.id = "its successor".into();
    assert_eq!(node.step().remedy, Remedy::Restart);
}

#[test]
fn static_pod_that_is_not_listed_is_never_restarted() {
    let mut facts = service("kube-vip", "admin.conf", Takes::ByHand, AT - 1);
    let node = Node::new(vec![facts.clone()]);
    assert_eq!(
        node.finding(),
        "the static pod kube-vip uses an outdated admin.conf (start time), and the configuration \
         does not list it: restart it by hand, or list it as [[service]]"
    );
    assert_eq!(node.old_ones_end(now()).plan().steps, [], "also when it is urgent");
    facts.holds[0].sees = vec![seen(Sees::Another)];
    assert_eq!(Node::new(vec![facts]).plan().steps, []);
    let later = Node::new(vec![service("kube-vip", "admin.conf", Takes::ByHand, AT + 1)]).plan();
    assert_eq!(later, Refresh::default());
}

fn any_holding() -> impl Strategy<Value = (Takes, Option<Serves>, Option<Sees>, Option<Vec<u64>>)> {
    let takes = prop_oneof![
        Just(Takes::Reloads),
        Just(Takes::NewConnections),
        Just(Takes::Restart),
        Just(Takes::ByHand)
    ];
    let serves = prop_oneof![
        3 => Just(None),
        1 => Just(served("new")),
        1 => Just(served("old")),
        1 => Just(Some(Serves::Nothing("no answer".into()))),
    ];
    let sees = prop_oneof![Just(None), Just(Some(Sees::Same)), Just(Some(Sees::Another))];
    let connections = proptest::option::weighted(0.9, proptest::collection::vec(0u64..5, 0..4));
    (takes, serves, sees, connections)
}

prop_compose! {
    fn any_service(number: usize)(
        holdings in proptest::collection::vec(any_holding(), 1..4),
        started in AT - 2..AT + 2,
        presence in 0..8,
        ages: bool,
        old in proptest::option::of(330u32..370),
    ) -> ServiceFacts {
        let mut facts = service(&format!("service-{number}"), "none", Takes::Restart, started);
        facts.service.uses.clear();
        facts.holds.clear();
        for (use_number, (takes, serves, sees, connections)) in holdings.into_iter().enumerate() {
            let credential = name(&format!("credential-{}", (number + use_number) % 4));
            facts.service.uses.push(crate::model::Use {
                credential: credential.clone(),
                takes,
                served_at: None,
                to_port: None,
                first_request: None,
            });
            let sees = sees.into_iter().map(seen).collect();
            facts.holds.push(Holding { credential, takes, serves, sees, connections });
        }
        facts.service.ages = ages;
        if let (Presence::Running(instance), Some(old)) = (&mut facts.presence, old) {
            instance.age = DAY * old;
        }
        facts.presence = match presence {
            0 => Presence::Absent,
            1 => Presence::Down("exited".into()),
            2 => Presence::Unknown("no answer".into()),
            _ => facts.presence,
        };
        facts
    }
}

prop_compose! {
    fn any_node()(
        services in (any_service(0), any_service(1), any_service(2)),
        trigger in prop_oneof![
            Just(Trigger::Scheduled),
            Just(Trigger::Asked),
            Just(Trigger::Other),
        ],
        conditions in proptest::collection::vec(
            prop_oneof![4 => Just(Condition::Fresh), 1 => Just(Condition::Expired)],
            4,
        ),
        old_end in -2i64..20,
        ours: bool,
        force: bool,
        held: bool,
        noted_cookies in proptest::option::of(proptest::collection::vec(0u64..5, 0..4)),
    ) -> Node {
        let end = Timestamp::from_seconds(now().seconds() + old_end * 86_400);
        let mut node =
            Node::new(vec![services.0, services.1, services.2]).on(trigger).old_ones_end(end);
        node = if ours { node } else { node.renewed_by_others() };
        node = if held { node.held() } else { node };
        node.request.force = force;
        for (judged, condition) in node.credentials.iter_mut().zip(conditions) {
            judged.judgement.condition = condition;
        }
        if let Some(cookies) = noted_cookies {
            let noted = noted("service-0", "credential-0", "new", &cookies, Some(end));
            node.memory.connections.push(noted);
        }
        node
    }
}

/// A scheduler that began before its kubeconfig got other CA certificates.
fn trusting() -> ServiceFacts {
    let mut facts = service("scheduler", "scheduler.conf", Takes::Restart, AT - 1);
    facts.service.trusts =
        vec![TrustFile::Kubeconfig(AbsolutePath::constant("/pki/scheduler.conf"))];
    facts
}

fn trusted() -> ContentName {
    ContentName::CaCertificates(AbsolutePath::constant("/pki/scheduler.conf"))
}

#[test]
fn service_restarts_once_for_certificate_and_ca_certificates() {
    let mut node = Node::new(vec![trusting()]);
    let step = node.step();
    assert_eq!((step.remedy, step.contents.len()), (Remedy::Restart, 2));
    assert_eq!(
        step.reason,
        "uses an outdated scheduler.conf (start time); uses outdated CA certificates of \
         /pki/scheduler.conf (start time)"
    );
    // The certificate is as it was before the service began.
    node.memory.appeared.get_mut(&content("scheduler.conf")).unwrap().at = up(AT - 2);
    let step = node.step();
    assert_eq!(step.contents, [(trusted(), fingerprint("new").to_string())]);
    note_restarted(&mut node.memory, &step, now().minus(DAY));
    assert_eq!(
        node.finding(),
        "scheduler still uses outdated CA certificates of /pki/scheduler.conf (start time), \
         although it was restarted for it at 2027-01-14T08:00:00Z: it is not restarted again"
    );
}

#[test]
fn ca_certificates_of_others_wait_for_schedule_unless_urgent() {
    let node = || {
        let mut node = Node::new(vec![trusting()]).renewed_by_others().on(Trigger::Other);
        node.memory.appeared.get_mut(&content("scheduler.conf")).unwrap().at = up(AT - 2);
        node
    };
    assert_eq!(node().waits(), Some(LATER.to_owned()));
    assert_eq!(node().on(Trigger::Scheduled).waits(), None);
    // It verifies nothing by those that it has.
    let expired = node().old_ones_end(now().minus(DAY)).step();
    assert_eq!((expired.waits, expired.urgency), (None, Urgency::Expired));
}

#[test]
fn expired_ca_certificates_restart_no_service() {
    let mut node = Node::new(vec![trusting()]);
    node.memory.appeared.get_mut(&content("scheduler.conf")).unwrap().at = up(AT - 2);
    node.trust_files[0].certificates.as_mut().unwrap().not_after = now().minus(DAY);
    assert_eq!(
        node.finding(),
        "scheduler uses outdated CA certificates of /pki/scheduler.conf, and those on the disk \
         are expired: it is not refreshed"
    );
    node.constraints.clock_trust = ClockTrust::NotTrusted("it is 1970".to_owned());
    assert_eq!(node.step().remedy, Remedy::Restart, "by that clock nothing expires");
}

#[test]
fn service_that_needs_one_certificate_is_not_restarted_with_two() {
    let node = |started: u64, count: usize| {
        let mut facts = service("manager", "manager.conf", Takes::Restart, started);
        facts.service.one_certificate = Some(AbsolutePath::constant("/pki/ca.crt"));
        let mut node = Node::new(vec![facts]);
        node.trust_files.push(ca_certificates("/pki/ca.crt", "new", count));
        node
    };
    assert_eq!(node(AT - 1, 1).step().remedy, Remedy::Restart);
    for started in [AT - 1, AT + 1] {
        let text = node(started, 2).finding();
        assert!(
            text.starts_with("manager needs exactly one certificate in /pki/ca.crt, which holds 2"),
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn steps_are_one_per_service_in_catalog_order(node in any_node()) {
        let order: Vec<_> = node.services.iter().map(|facts| &facts.service.name).collect();
        let place = |step: &RefreshStep| order.iter().position(|name| **name == step.service);
        let places: Vec<_> = node.plan().steps.iter().map(place).collect();
        prop_assert!(places.iter().all(Option::is_some), "{places:?}");
        prop_assert!(places.windows(2).all(|two| two[0] < two[1]), "{places:?}");
    }

    #[test]
    fn only_running_services_that_are_not_fresh_have_steps(node in any_node()) {
        for step in node.plan().steps {
            let facts =
                node.services.iter().find(|facts| facts.service.name == step.service).unwrap();
            let instance = facts.presence.instance();
            prop_assert_eq!(instance.map(|instance| &instance.id), Some(&step.instance));
            let judged = judge_service(facts, node.on_disk(), &node.memory, node.now);
            let is_behind = |content: &ContentName| {
                judged.freshness.iter().any(|(name, freshness)| {
                    name == content
                        && matches!(freshness, Freshness::Stale(_) | Freshness::Lingering { .. })
                })
            };
            prop_assert!(step.contents.iter().all(|(content, _)| is_behind(content)));
            let is_old =
                facts.service.ages && instance.is_some_and(|instance| instance.age >= MAX_AGE);
            let is_restarted_for_age = is_old && node.trigger == Trigger::Scheduled;
            prop_assert!(!step.contents.is_empty() || is_restarted_for_age);
        }
    }

    #[test]
    fn fresh_young_service_has_no_step(node in any_node()) {
        let mut node = node;
        for facts in &mut node.services {
            if let Presence::Running(instance) = &mut facts.presence {
                (instance.started, instance.age) = (up(AT), DAY);
            }
            for holding in &mut facts.holds {
                holding.serves = holding.serves.take().and_then(|_| served("new"));
                holding.sees.clear();
                holding.connections = Some(vec![]);
            }
        }
        prop_assert_eq!(node.plan().steps, vec![]);
    }

    #[test]
    fn restarted_service_is_never_restarted_again(node in any_node(), seconds in 0i64..1_000_000) {
        let mut node = node;
        let first = node.plan().steps;
        for step in first.iter().filter(|step| step.waits.is_none()) {
            note_restarted(&mut node.memory, step, now());
        }
        node.now = Timestamp::from_seconds(now().seconds() + seconds);
        for step in node.plan().steps {
            let Some(before) = first
                .iter()
                .find(|before| before.service == step.service && before.waits.is_none())
            else {
                continue;
            };
            let again = step.contents.iter().any(|one| before.contents.contains(one));
            let may_restart = step.remedy == Remedy::Restart || step.restart_waits.is_none();
            prop_assert!(!(again && may_restart) || step.contents.is_empty(), "{before:?} and \
                again {step:?}");
            prop_assert!(!(step.contents.is_empty() && before.remedy == Remedy::Restart), "for \
                its age, and again");
        }
    }

    #[test]
    fn expired_steps_go_ahead_and_held_steps_wait(node in any_node()) {
        for step in node.plan().steps {
            let facts =
                node.services.iter().find(|facts| facts.service.name == step.service).unwrap();
            let may_restart = step.waits.is_none()
                && (step.remedy == Remedy::Restart || step.restart_waits.is_none());
            let ends = |name| node.memory.appeared[name].earlier[0].not_after;
            let too_late = step.contents.iter().any(|(name, _)| ends(name) < now());
            let instance = facts.presence.instance();
            let started_before =
                instance.is_some_and(|instance| instance.started.is_before(&up(AT)));
            let served = facts.holds.iter().any(|holding| holding.serves.is_some());
            let closes = step.remedy == Remedy::CloseConnections;
            prop_assert!(
                may_restart || !too_late || !started_before || served || closes,
                "{step:?}"
            );
            let young = instance.is_some_and(|instance| instance.age < MAX_AGE);
            let far = step.contents.iter().all(|(name, _)| ends(name) > now().plus(days(3)));
            let held = !node.constraints.reasons.is_empty() && !node.request.force;
            prop_assert!(!(may_restart && far && young && held), "{step:?} should be held");
        }
    }
}
