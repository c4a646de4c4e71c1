//! Against a caller that shows what a script says, a container runtime's stand-in, and systemd's on
//! a bus of the test's own.

use std::cell::{Cell, RefCell};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::drivers::cri::stand_in::{Behaviour, NORMAL, StandIn};
use crate::drivers::sockets::established;
use crate::model::{
    AbsolutePath, BootId, CredentialName, Evidence, Freshness, Health, Holding, Instance, Presence,
    Remedy, ServiceFacts, ServiceKind, Signal, Takes, Timestamp, UnitRefresh, Uptime, Urgency, Use,
};
use crate::sys::{Root, SystemClock};

mod pods;
mod units;

/// Ends what would be waited for on a real node in a moment.
const SHORT: Limits = Limits {
    call: Duration::from_secs(5),
    look: Duration::from_millis(500),
    pause: Duration::from_millis(5),
    takes: Duration::from_millis(100),
    successor: Duration::from_millis(200),
    healthy: Duration::from_millis(200),
    proof: Duration::from_millis(50),
    job: Duration::from_secs(5),
};

const CREDENTIAL: &str = "the.conf";

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn credential() -> CredentialName {
    CredentialName::new(CREDENTIAL).unwrap()
}

fn service(of: &str, kind: ServiceKind) -> Service {
    let uses = vec![Use {
        credential: credential(),
        takes: Takes::Restart,
        served_at: None,
        to_port: None,
        first_request: None,
    }];
    Service {
        name: name(of),
        kind,
        health: None,
        essential: None,
        leader_lease: None,
        trusts: Vec::new(),
        one_certificate: None,
        ages: false,
        configured: false,
        uses,
    }
}

fn pod(of: &str) -> Service {
    service(
        of,
        ServiceKind::StaticPod {
            pod: of.to_owned(),
            manifest: Some(format!("{of}.yaml")),
            grace: Duration::from_secs(7),
        },
    )
}

fn step(of: &str, remedy: Remedy) -> RefreshStep {
    let contents = vec![(credential().into(), "ab12".to_owned())];
    RefreshStep {
        service: name(of),
        instance: String::new(),
        remedy,
        contents,
        closing: Vec::new(),
        reason: "because".to_owned(),
        waits: None,
        restart_waits: None,
        urgency: Urgency::Comfortable,
    }
}

/// How one that runs is seen.
fn seen(id: &str, health: Health, freshness: Freshness) -> ServiceObservation {
    let started = Uptime { boot: BootId("boot".to_owned()), since_boot: Duration::ZERO };
    let instance = Instance {
        id: id.to_owned(),
        pid: None,
        started,
        started_at: Timestamp::default(),
        age: Duration::ZERO,
    };
    let holds = vec![Holding {
        credential: credential(),
        takes: Takes::Restart,
        serves: None,
        sees: Vec::new(),
        connections: Some(Vec::new()),
    }];
    let service = pod("any");
    let facts = ServiceFacts { service, presence: Presence::Running(instance), health, holds };
    ServiceObservation { facts, freshness: vec![(credential().into(), freshness)] }
}

fn fresh(id: &str) -> ServiceObservation {
    seen(id, Health::Healthy, Freshness::Fresh(Evidence::Started))
}

fn stale(id: &str) -> ServiceObservation {
    seen(id, Health::Healthy, Freshness::Stale(Evidence::Sees))
}

fn down(reason: &str) -> ServiceObservation {
    let mut seen = seen("", Health::NotAsked, Freshness::NotRunning);
    seen.facts.presence = Presence::Down(reason.to_owned());
    seen
}

/// A caller whose script gets the number of earlier observations, and whether a restart was
/// allowed already, and returns the observation of the service.
struct Scripted<'s> {
    script: &'s dyn Fn(&str, usize, bool) -> ServiceObservation,
    refuses: Option<&'static str>,
    looks: RefCell<Vec<String>>,
    restarted: RefCell<Vec<String>>,
    finished: RefCell<Vec<String>>,
    hangs: Cell<bool>,
}

impl<'s> Scripted<'s> {
    fn new(script: &'s dyn Fn(&str, usize, bool) -> ServiceObservation) -> Self {
        Self {
            script,
            refuses: None,
            looks: RefCell::default(),
            restarted: RefCell::default(),
            finished: RefCell::default(),
            hangs: Cell::new(false),
        }
    }

    fn restarted(&self) -> Vec<String> {
        self.restarted.borrow().clone()
    }

    fn looks(&self) -> Vec<String> {
        self.looks.borrow().clone()
    }
}

impl Caller for Scripted<'_> {
    fn look<'a>(&'a self, service: &'a Service) -> BoxFuture<'a, ServiceObservation> {
        Box::pin(async move {
            if self.hangs.get() {
                std::future::pending::<()>().await;
            }
            let of = service.name.as_str();
            let before = self.looks.borrow().iter().filter(|looked| *looked == of).count();
            let restarted = self.restarted.borrow().iter().any(|one| one == of);
            self.looks.borrow_mut().push(of.to_owned());
            (self.script)(of, before, restarted)
        })
    }

    fn take_turn<'a>(&'a self, _: &'a RefreshStep) -> BoxFuture<'a, Permission> {
        Box::pin(async { Ok(()) })
    }

    fn may_restart<'a>(&'a self, step: &'a RefreshStep) -> BoxFuture<'a, Permission> {
        Box::pin(async move {
            if let Some(reason) = self.refuses {
                return Err(RefreshError::Held(reason.to_owned()));
            }
            self.restarted.borrow_mut().push(step.service.to_string());
            Ok(())
        })
    }

    fn finished<'a>(&'a self, outcome: &'a RefreshOutcome, _: bool) -> BoxFuture<'a, ()> {
        Box::pin(async { self.finished.borrow_mut().push(outcome.service.to_string()) })
    }
}

/// What else a refresh needs, with a container runtime that may be there or not.
struct Setting {
    root: Root,
    runtime: PathBuf,
    remote_port: u16,
    stand_in: Option<Arc<StandIn>>,
    stop: AtomicBool,
    limits: Limits,
}

impl Setting {
    fn new() -> Self {
        let root = Root::open(Path::new("/")).unwrap();
        Self {
            root,
            runtime: PathBuf::from("/no/such.sock"),
            remote_port: 1,
            stand_in: None,
            stop: AtomicBool::new(false),
            limits: SHORT,
        }
    }

    fn with_runtime(behaviour: Behaviour) -> Self {
        let stand_in = StandIn::start(behaviour);
        Self { runtime: stand_in.socket(), stand_in: Some(stand_in), ..Self::new() }
    }

    fn stops(&self) -> Vec<(String, i64)> {
        self.stand_in.as_ref().unwrap().stops()
    }

    async fn refresh(
        &self,
        caller: &Scripted<'_>,
        steps: &[RefreshStep],
        services: &[Service],
    ) -> Vec<RefreshOutcome> {
        self.refresh_beside(caller, steps, services, None).await
    }

    async fn refresh_beside(
        &self,
        caller: &Scripted<'_>,
        steps: &[RefreshStep],
        services: &[Service],
        kubelet: Option<&Service>,
    ) -> Vec<RefreshOutcome> {
        let Self { root, runtime, remote_port, limits, stop, .. } = self;
        // What was decided on is what runs at first, where the test says nothing else.
        let decided = |step: &RefreshStep| {
            let found = (caller.script)(step.service.as_str(), 0, false);
            let found = found
                .facts
                .presence
                .instance()
                .map(|instance| instance.id.clone())
                .unwrap_or_default();
            RefreshStep {
                instance: if step.instance.is_empty() { found } else { step.instance.clone() },
                ..step.clone()
            }
        };
        let steps: &[_] = &steps.iter().map(decided).collect::<Vec<_>>();
        let (remote_port, limits) = (*remote_port, *limits);
        let outcomes = refresh(
            steps,
            services,
            &Refreshing {
                caller,
                root,
                clock: &SystemClock,
                runtime,
                kubelet,
                remote_port,
                limits,
                stop,
            },
        )
        .await;
        let services: Vec<_> = outcomes.iter().map(|one| one.service.to_string()).collect();
        assert!(caller.finished.borrow().ends_with(&services), "each outcome is handed on");
        outcomes
    }

    /// One step for one service.
    async fn one(&self, caller: &Scripted<'_>, remedy: Remedy, service: Service) -> RefreshOutcome {
        let step = step(service.name.as_str(), remedy);
        self.refresh(caller, &[step], &[service]).await.pop().unwrap()
    }
}

fn error(outcome: RefreshOutcome) -> String {
    outcome.result.unwrap_err().to_string()
}

#[tokio::test]
async fn self_reloading_service_is_awaited_not_restarted() {
    let script = |_: &str, looks: usize, _: bool| match looks {
        0..3 => seen("a", Health::Healthy, Freshness::Stale(Evidence::Serves)),
        3 => seen("a", Health::Healthy, Freshness::Unknown("a moment".to_owned())),
        _ => seen("a", Health::Healthy, Freshness::Fresh(Evidence::Serves)),
    };
    let caller = Scripted::new(&script);
    let outcome = Setting::new().one(&caller, Remedy::Await, pod("a")).await;
    let result = outcome.result.unwrap();
    let verified = Uptake::Verified(Evidence::Serves);
    assert!(
        matches!(result, Refreshed::Reloaded { uptake, .. } if uptake == verified),
        "{result:?}"
    );
    assert_eq!((outcome.restarted, caller.looks().len(), caller.restarted().len()), (false, 5, 0));
}

#[tokio::test]
async fn unobservable_uptake_is_accepted_without_evidence() {
    for freshness in
        [Freshness::ByItself, Freshness::Lingering { connections: 3, until: Timestamp::default() }]
    {
        let script = |_: &str, _: usize, _: bool| seen("a", Health::Healthy, freshness.clone());
        let outcome = Setting::new().one(&Scripted::new(&script), Remedy::Await, pod("a")).await;
        let result = outcome.result.unwrap();
        assert!(
            matches!(result, Refreshed::Reloaded { uptake: Uptake::Unverified(_), .. }),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn missed_uptake_is_restarted_and_counted() {
    let setting = Setting::with_runtime(NORMAL);
    let script =
        |_: &str, _: usize, restarted: bool| if restarted { fresh("b") } else { stale("a") };
    let outcome = setting.one(&Scripted::new(&script), Remedy::Await, pod("a")).await;
    let Refreshed::Restarted {
        instead: Some(reason),
        uptake: Uptake::Verified(Evidence::Started),
        ..
    } = outcome.result.unwrap()
    else {
        panic!()
    };
    assert_eq!(reason, "it still used an outdated the.conf (file in container) after 0.1 s");
    assert!(outcome.restarted);
    assert_eq!(setting.stops(), [("a".to_owned(), 7)]);
}

#[tokio::test]
async fn unknown_uptake_causes_no_restart() {
    let script = |_: &str, _: usize, _: bool| {
        seen("a", Health::Healthy, Freshness::Unknown("a proxy is on its port".to_owned()))
    };
    let caller = Scripted::new(&script);
    let outcome = Setting::new().one(&caller, Remedy::Await, pod("a")).await;
    assert!(!outcome.restarted && caller.restarted().is_empty());
    assert_eq!(
        error(outcome),
        "it is not known whether it uses the new certificate: the.conf: a proxy is on its port; \
         it was not restarted for that"
    );
}

#[tokio::test]
async fn hanging_look_times_out() {
    let script = |_: &str, _: usize, _: bool| fresh("a");
    let caller = Scripted::new(&script);
    caller.hangs.set(true);
    for remedy in [Remedy::Await, Remedy::Restart] {
        let outcome = Setting::new().one(&caller, remedy, pod("a")).await;
        assert!(error(outcome).contains("it could not be observed within 0.5 s"));
    }
}

#[tokio::test]
async fn refresh_without_noted_connections_closes_nothing() {
    let script = |_: &str, _: usize, _: bool| stale("a");
    let outcome =
        Setting::new().one(&Scripted::new(&script), Remedy::CloseConnections, pod("a")).await;
    assert_eq!(
        (outcome.result.unwrap(), outcome.restarted),
        (Refreshed::Closed { connections: 0 }, false)
    );
}

#[tokio::test]
async fn refresh_closes_only_connections_of_step() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _streams = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    let open = || {
        established(address.port()).unwrap().into_iter().map(|one| one.cookie).collect::<Vec<_>>()
    };
    let [ours, others] = <[u64; 2]>::try_from(open()).unwrap();
    let script =
        |_: &str, _: usize, restarted: bool| if restarted { fresh("new") } else { stale("old") };
    let setting = Setting { remote_port: address.port(), ..Setting::with_runtime(NORMAL) };
    let step = RefreshStep { closing: vec![ours], ..step("a", Remedy::CloseConnections) };
    let outcome =
        setting.refresh(&Scripted::new(&script), &[step], &[pod("a")]).await.pop().unwrap();
    match outcome.result.unwrap() {
        Refreshed::Closed { connections } => {
            assert_eq!((connections, open(), outcome.restarted), (1, vec![others], false))
        }
        // Without the right to close them, or a kernel that can, it is restarted.
        restarted => assert!(
            matches!(restarted, Refreshed::Restarted { instead: Some(_), .. }),
            "{restarted:?}"
        ),
    }
}

#[tokio::test]
async fn service_restarted_meanwhile_is_left_alone() {
    let script = |_: &str, _: usize, _: bool| stale("another");
    let caller = Scripted::new(&script);
    let step = RefreshStep { instance: "old".to_owned(), ..step("a", Remedy::Restart) };
    let outcome =
        Setting::with_runtime(NORMAL).refresh(&caller, &[step], &[pod("a")]).await.pop().unwrap();
    assert!(!outcome.restarted && caller.restarted().is_empty());
    assert_eq!(
        outcome.result.unwrap(),
        Refreshed::Reloaded { after: Duration::ZERO, uptake: Uptake::Verified(Evidence::Started) }
    );
}

#[tokio::test]
async fn waiting_step_is_left_out() {
    let waits =
        RefreshStep { waits: Some("until midnight".to_owned()), ..step("a", Remedy::Restart) };
    let script = |_: &str, _: usize, _: bool| stale("a");
    let caller = Scripted::new(&script);
    assert!(Setting::new().refresh(&caller, &[waits], &[pod("a")]).await.is_empty());
    assert!(caller.looks().is_empty());
}

#[tokio::test]
async fn stopped_pass_begins_no_further_step() {
    let long = Duration::from_secs(60);
    let setting =
        Setting { limits: Limits { successor: long, ..SHORT }, ..Setting::with_runtime(NORMAL) };
    let script = |of: &str, _: usize, restarted: bool| {
        setting.stop.store(restarted, Ordering::Relaxed);
        if restarted { down("not yet") } else { stale(of) }
    };
    let caller = Scripted::new(&script);
    let steps = [step("a", Remedy::Restart), step("b", Remedy::Restart)];
    let began = Instant::now();
    let outcomes = setting.refresh(&caller, &steps, &[pod("a"), pod("b")]).await;
    assert!(began.elapsed() < long);
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome.result, Err(RefreshError::Stopped))),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.iter().map(|outcome| outcome.restarted).collect::<Vec<_>>(), [true, false]);
    assert_eq!(setting.stops(), [("a".to_owned(), 7)]);
}

#[tokio::test]
async fn stopped_pass_stops_waiting_for_uptake() {
    let setting =
        Setting { limits: Limits { takes: Duration::from_secs(60), ..SHORT }, ..Setting::new() };
    let script = |_: &str, looks: usize, _: bool| {
        setting.stop.store(looks > 2, Ordering::Relaxed);
        stale("a")
    };
    let outcome = setting.one(&Scripted::new(&script), Remedy::Await, pod("a")).await;
    assert!(!outcome.restarted && matches!(outcome.result, Err(RefreshError::Stopped)));
}

#[tokio::test]
async fn unknown_service_fails_alone() {
    let script = |of: &str, _: usize, _: bool| fresh(of);
    let caller = Scripted::new(&script);
    let outcomes = Setting::new()
        .refresh(&caller, &[step("a", Remedy::Await), step("b", Remedy::Await)], &[pod("b")])
        .await;
    let [a, b] = <[RefreshOutcome; 2]>::try_from(outcomes).unwrap();
    assert!(matches!(a.result, Err(RefreshError::NotInCatalog)) && b.result.is_ok());
}

#[test]
fn refresh_outcomes_are_described() {
    let second = Duration::from_secs(1);
    let took =
        Refreshed::Reloaded { after: 2 * second, uptake: Uptake::Verified(Evidence::Serves) };
    assert_eq!(
        took.to_string(),
        "uses the new certificate after 2.0 s, without a restart (verified: served certificate)"
    );
    let restarted = Refreshed::Restarted {
        after: 9 * second,
        unready: 8 * second,
        uptake: Uptake::Unverified("no served_at"),
        instead: Some("this and that".to_owned()),
        unhealthy: Some("no quorum".to_owned()),
    };
    assert_eq!(
        restarted.to_string(),
        "restarted, was not ready for 8.0 s; uptake can't be verified (no served_at); this and \
         that; it was unhealthy before and still is: no quorum"
    );
}
