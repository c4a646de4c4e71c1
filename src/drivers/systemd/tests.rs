//! Tests against a stand-in for systemd on a bus of the test's own, and, when a unit is given,
//! against the real one.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use zbus::Variant;

use super::super::test_bus::{Bus, LIMIT, Served, builder, socket};
use super::*;

const UNIT: &str = "thing.service";
const JOB: &str = "/org/freedesktop/systemd1/job/42";

/// How the stand-in handles a job.
#[derive(Clone, Copy)]
enum Script {
    /// It answers, and then the job finishes.
    Ends(&'static str),
    /// The job and many others finish before it answers.
    EndsEarly(&'static str),
    /// The job never finishes, others do.
    NeverEnds,
    /// Before the job fails, another peer signals that it is done.
    Forged,
    /// It re-executes itself meanwhile, and so has another unique name when the job finishes.
    Reexecutes,
    /// It refuses with this error.
    Refuses(&'static str),
    /// It never answers.
    Silent,
}

/// A stand-in for systemd; the calls that it got are in `told`.
struct StandIn {
    active: &'static str,
    can_reload: bool,
    script: Script,
    told: Arc<Mutex<Vec<String>>>,
}

const NORMAL: fn() -> StandIn = || StandIn {
    active: "active",
    can_reload: true,
    script: Script::Ends("done"),
    told: Arc::default(),
};

impl StandIn {
    async fn serve(self, bus: &Bus) -> Systemd {
        let mut served = bus.serve(NAME).await;
        let other_peer = bus.builder().build().await.unwrap();
        let systemd = Systemd::connect_to(bus.builder(), LIMIT).await.unwrap();
        tokio::spawn(async move {
            while let Some(call) = served.next().await {
                let member = call.header().member().map(ToString::to_string).unwrap_or_default();
                match member.as_str() {
                    "LoadUnit" => self.load(&served, &call).await,
                    "GetAll" => self.properties(&served, &call).await,
                    "ResetFailedUnit" => {
                        self.told.lock().unwrap().push(member);
                        served.connection.reply(&call.header(), &()).await.unwrap();
                    }
                    "Subscribe" => served.connection.reply(&call.header(), &()).await.unwrap(),
                    method if method.ends_with("Unit") => {
                        self.job(&served, &other_peer, &call, method).await
                    }
                    _ => {}
                }
            }
        });
        systemd
    }

    async fn load(&self, served: &Served, call: &Message) {
        let name: String = call.body().deserialize().unwrap();
        let path = format!("{PATH}/unit/{}", if name == UNIT { "there" } else { "missing" });
        served
            .connection
            .reply(&call.header(), &OwnedObjectPath::try_from(path).unwrap())
            .await
            .unwrap();
    }

    async fn properties(&self, served: &Served, call: &Message) {
        let missing = call.header().path().unwrap().ends_with("missing");
        let properties: HashMap<&str, Variant<'_>> = HashMap::from([
            ("LoadState", if missing { "not-found" } else { "loaded" }.into()),
            ("ActiveState", self.active.into()),
            ("SubState", "some-sub-state".into()),
            ("CanReload", self.can_reload.into()),
            ("ActiveEnterTimestamp", 1_800_000_000_000_001_u64.into()),
            ("ActiveEnterTimestampMonotonic", 5_000_001_u64.into()),
            ("MainPID", 77_u32.into()),
            ("ExecMainStartTimestamp", 0_u64.into()),
            ("ExecMainStartTimestampMonotonic", 0_u64.into()),
        ]);
        served.connection.reply(&call.header(), &properties).await.unwrap();
    }

    async fn job(&self, served: &Served, other_peer: &Connection, call: &Message, method: &str) {
        let (unit, mode): (String, String) = call.body().deserialize().unwrap();
        self.told.lock().unwrap().push(format!("{method} {unit} {mode}"));
        let (systemd, header) = (&served.connection, call.header());
        let caller = header.sender().unwrap().to_string();
        let answer = async || {
            systemd.reply(&header, &OwnedObjectPath::try_from(JOB).unwrap()).await.unwrap()
        };
        match self.script {
            Script::Ends(result) => {
                answer().await;
                removed(systemd, None, JOB, result).await;
            }
            Script::EndsEarly(result) => {
                for other in 100..400 {
                    removed(systemd, None, &format!("{PATH}/job/{other}"), "done").await;
                }
                removed(systemd, None, JOB, result).await;
                answer().await;
            }
            Script::NeverEnds => {
                answer().await;
                removed(systemd, None, &format!("{JOB}1"), "done").await;
            }
            Script::Forged => {
                removed(other_peer, Some(&caller), JOB, "done").await;
                answer().await;
                removed(other_peer, Some(&caller), JOB, "done").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                removed(systemd, None, JOB, "failed").await;
            }
            Script::Reexecutes => {
                answer().await;
                systemd.release_name(NAME).await.unwrap();
                other_peer.request_name(NAME).await.unwrap();
                removed(other_peer, None, JOB, "done").await;
            }
            Script::Refuses(name) => {
                systemd.reply_error(&header, name, &"in my own words").await.unwrap()
            }
            Script::Silent => {}
        }
    }
}

async fn removed(from: &Connection, to: Option<&str>, job: &str, result: &str) {
    let body = (42_u32, OwnedObjectPath::try_from(job).unwrap(), UNIT, result);
    from.emit_signal(to, PATH, MANAGER, "JobRemoved", &body).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn unit_state_is_read() {
    let Some(bus) = Bus::start().await else { return };
    let unit = NORMAL().serve(&bus).await.unit(UNIT).await.unwrap();
    let wall = UNIX_EPOCH + Duration::from_micros(1_800_000_000_000_001);
    let activated = Some(Moment { wall, since_boot: Duration::from_micros(5_000_001) });
    let process = Some(Process { pid: 77, started: None });
    let (load, sub) = ("loaded".to_owned(), "some-sub-state".to_owned());
    assert_eq!(
        unit,
        Unit { load, active: Active::Active, sub, can_reload: true, activated, process }
    );
}

#[tokio::test(flavor = "current_thread")]
async fn missing_unit_differs_from_inactive_unit() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = NORMAL().serve(&bus).await;
    for error in [
        systemd.unit("other.service").await.unwrap_err(),
        systemd.restart("other.service", LIMIT).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, SystemdError::NoSuchUnit(unit) if unit == "other.service"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn refresh_methods_never_start_a_unit() {
    let Some(bus) = Bus::start().await else { return };
    let stand_in = NORMAL();
    let told = Arc::clone(&stand_in.told);
    let systemd = stand_in.serve(&bus).await;
    systemd.reload(UNIT, LIMIT).await.unwrap();
    systemd.restart(UNIT, LIMIT).await.unwrap();
    systemd.reload_or_restart(UNIT, LIMIT).await.unwrap();
    let expected = ["ReloadUnit", "TryRestartUnit", "ReloadOrTryRestartUnit"]
        .map(|method| format!("{method} {UNIT} replace"));
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(flavor = "current_thread")]
async fn inactive_unit_is_left_alone() {
    for active in ["inactive", "failed", "deactivating", "maintenance"] {
        let Some(bus) = Bus::start().await else { return };
        let stand_in = StandIn { active, ..NORMAL() };
        let told = Arc::clone(&stand_in.told);
        let error = stand_in.serve(&bus).await.restart(UNIT, LIMIT).await.unwrap_err();
        assert!(matches!(error, SystemdError::NotActive { .. }), "{active}: {error}");
        assert!(told.lock().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn failed_unit_is_started_and_stopped_unit_is_not() {
    let start = ["ResetFailedUnit".to_owned(), format!("StartUnit {UNIT} replace")];
    let restart = [format!("TryRestartUnit {UNIT} replace")];
    for (active, expected) in
        [("failed", &start[..]), ("activating", &restart), ("active", &restart), ("inactive", &[])]
    {
        let Some(bus) = Bus::start().await else { return };
        let stand_in = StandIn { active, ..NORMAL() };
        let told = Arc::clone(&stand_in.told);
        let done = stand_in.serve(&bus).await.restart_failed(UNIT, LIMIT).await;
        assert_eq!(*told.lock().unwrap(), expected, "{active}");
        assert_eq!(done.is_ok(), active != "inactive", "{active}: {done:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn unit_without_reload_is_not_reloaded() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = StandIn { can_reload: false, ..NORMAL() }.serve(&bus).await;
    let error = systemd.reload(UNIT, LIMIT).await.unwrap_err();
    assert!(matches!(error, SystemdError::CannotReload(_)), "{error}");
    systemd.reload_or_restart(UNIT, LIMIT).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn job_finished_before_the_reply_is_not_missed() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = StandIn { script: Script::EndsEarly("done"), ..NORMAL() }.serve(&bus).await;
    systemd.restart(UNIT, LIMIT).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn only_result_done_is_success() {
    for (word, expected) in [
        ("canceled", JobResult::Canceled),
        ("timeout", JobResult::Timeout),
        ("failed", JobResult::Failed),
        ("dependency", JobResult::Dependency),
        ("skipped", JobResult::Skipped),
        ("frozen", JobResult::Other("frozen".into())),
    ] {
        let Some(bus) = Bus::start().await else { return };
        let systemd = StandIn { script: Script::Ends(word), ..NORMAL() }.serve(&bus).await;
        let error = systemd.restart(UNIT, LIMIT).await.unwrap_err();
        assert!(
            matches!(&error, SystemdError::Job { result, .. } if *result == expected),
            "{word}: {error}"
        );
        assert_eq!(
            error.to_string(),
            format!("the restart of {UNIT} ended as {word}: see journalctl -u {UNIT}")
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn endless_job_times_out_despite_other_jobs() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = StandIn { script: Script::NeverEnds, ..NORMAL() }.serve(&bus).await;
    let began = Instant::now();
    let error = systemd.reload(UNIT, Duration::from_millis(300)).await.unwrap_err();
    assert!(
        matches!(&error, SystemdError::Unfinished { limit, .. } if limit.as_millis() == 300),
        "{error}"
    );
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "current_thread")]
async fn job_signal_of_another_peer_is_ignored() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = StandIn { script: Script::Forged, ..NORMAL() }.serve(&bus).await;
    let error = systemd.restart(UNIT, LIMIT).await.unwrap_err();
    assert!(matches!(error, SystemdError::Job { result: JobResult::Failed, .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn systemd_reexecution_during_a_job_is_tolerated() {
    let Some(bus) = Bus::start().await else { return };
    let systemd = StandIn { script: Script::Reexecutes, ..NORMAL() }.serve(&bus).await;
    systemd.restart(UNIT, LIMIT).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn refusal_quotes_systemd() {
    for name in [
        "org.freedesktop.systemd1.TransactionIsDestructive",
        "org.freedesktop.DBus.Error.AccessDenied",
    ] {
        let Some(bus) = Bus::start().await else { return };
        let systemd = StandIn { script: Script::Refuses(name), ..NORMAL() }.serve(&bus).await;
        let error = systemd.restart(UNIT, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), format!("systemd refused: in my own words ({name})"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn bus_without_systemd_is_reported() {
    let Some(bus) = Bus::start().await else { return };
    let error =
        Systemd::connect_to(bus.builder(), LIMIT).await.unwrap().unit(UNIT).await.unwrap_err();
    assert!(matches!(error, SystemdError::NoSystemd), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn missing_bus_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let error = Systemd::connect_to(builder(dir.path()), LIMIT).await.unwrap_err();
    assert!(matches!(error, SystemdError::NoBus(_)), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn silent_bus_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(socket(dir.path())).unwrap();
    let error =
        Systemd::connect_to(builder(dir.path()), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, SystemdError::NoAnswer(_)), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn bus_closed_during_a_job_breaks_the_connection() {
    let Some(mut bus) = Bus::start().await else { return };
    let systemd = StandIn { script: Script::Silent, ..NORMAL() }.serve(&bus).await;
    let end = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bus.end();
    };
    let (outcome, ()) = tokio::join!(systemd.restart(UNIT, LIMIT), end);
    let error = outcome.unwrap_err();
    assert!(matches!(error, SystemdError::Broken), "{error:?}");
}

/// `SYSTEMD_UNITS` names units for which each verb is tried. For manual runs, on a machine made for
/// it.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs SYSTEMD_UNITS, and restarts them"]
async fn real_systemd_reloads_and_restarts() {
    let systemd = Systemd::connect(LIMIT).await.unwrap();
    for name in std::env::var("SYSTEMD_UNITS").unwrap().split(' ') {
        eprintln!("{name}: {:?}", systemd.unit(name).await);
        for job in [Job::Reload, Job::Restart, Job::ReloadOrRestart] {
            let began = Instant::now();
            let outcome = systemd.run(job, name, Duration::from_secs(5)).await;
            eprintln!(
                "    {} after {:?}: {}",
                job.word(),
                began.elapsed(),
                outcome.map_or_else(|e| e.to_string(), |()| "done".into())
            );
        }
        eprintln!("    {:?}", systemd.unit(name).await);
    }
}
