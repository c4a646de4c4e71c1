//! Tests of units, processes and commands, which are reloaded, restarted or signalled, and then
//! show whether they use the new credential.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use zbus::{OwnedObjectPath, Variant};

use super::*;
use crate::act::refresh::unit;
use crate::drivers::processes::PidFileError;
use crate::drivers::systemd::{Systemd, SystemdError};
use crate::drivers::test_bus::{Bus, LIMIT};

struct Sleeper(Child);

impl Sleeper {
    #[allow(clippy::disallowed_methods, reason = "a process to send signals to")]
    fn start() -> Self {
        // Below nohup, SIGHUP would be ignored.
        let command = ["--default-signal=HUP", "sleep", "3600"];
        Self(Command::new("env").args(command).stdin(Stdio::null()).spawn().unwrap())
    }

    fn ended_by(&mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "what a service writes by itself")]
fn process(dir: &Path, pid: u32, signal: Signal) -> Service {
    let pid_file = dir.join("a.pid");
    std::fs::write(&pid_file, format!("{pid}\n")).unwrap();
    service(
        "a",
        ServiceKind::Process {
            pid_file: AbsolutePath::new(pid_file.to_str().unwrap()).unwrap(),
            signal,
            unit: None,
        },
    )
}

fn command(words: &[&str]) -> Service {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    service("a", ServiceKind::Command { command, limit: Duration::from_secs(5) })
}

#[tokio::test]
async fn process_of_pid_file_is_signalled_and_may_stay() {
    let (dir, mut sleeper) = (tempfile::tempdir().unwrap(), Sleeper::start());
    let script = |_: &str, _: usize, restarted: bool| match restarted {
        true => seen("same", Health::Healthy, Freshness::Fresh(Evidence::Serves)),
        false => stale("same"),
    };
    let outcome = Setting::new()
        .one(
            &Scripted::new(&script),
            Remedy::Restart,
            process(dir.path(), sleeper.0.id(), Signal::Usr2),
        )
        .await;
    let result = outcome.result.unwrap();
    assert!(
        matches!(
            result,
            Refreshed::Restarted {
                uptake: Uptake::Verified(Evidence::Serves),
                unready: Duration::ZERO,
                ..
            }
        ),
        "{result:?}"
    );
    assert_eq!(sleeper.ended_by(), Some(nix::sys::signal::Signal::SIGUSR2 as i32));
}

#[tokio::test]
async fn start_of_same_process_is_no_evidence() {
    let (dir, sleeper) = (tempfile::tempdir().unwrap(), Sleeper::start());
    let script = |_: &str, _: usize, _: bool| {
        seen("same", Health::Healthy, Freshness::Stale(Evidence::Started))
    };
    let outcome = Setting::new()
        .one(
            &Scripted::new(&script),
            Remedy::Restart,
            process(dir.path(), sleeper.0.id(), Signal::Hup),
        )
        .await;
    let result = outcome.result.unwrap();
    assert!(
        matches!(result, Refreshed::Restarted { uptake: Uptake::Unverified(_), .. }),
        "{result:?}"
    );
}

#[tokio::test]
async fn terminated_process_needs_successor() {
    let (dir, sleeper) = (tempfile::tempdir().unwrap(), Sleeper::start());
    let script = |_: &str, _: usize, _: bool| {
        seen("same", Health::Healthy, Freshness::Stale(Evidence::Started))
    };
    let outcome = Setting::new()
        .one(
            &Scripted::new(&script),
            Remedy::Restart,
            process(dir.path(), sleeper.0.id(), Signal::Term),
        )
        .await;
    assert!(outcome.restarted);
    assert_eq!(
        error(outcome),
        "it is not healthy 0 s after it was refreshed: the old one still runs; see its log"
    );
}

#[tokio::test]
async fn pid_file_without_process_uses_up_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let pid = Sleeper::start().0.id();
    let script = |_: &str, _: usize, _: bool| stale("same");
    let outcome = Setting::new()
        .one(&Scripted::new(&script), Remedy::Restart, process(dir.path(), pid, Signal::Hup))
        .await;
    assert!(
        !outcome.restarted
            && matches!(outcome.result, Err(RefreshError::PidFile(PidFileError::Ended { .. }))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn command_runs_for_unobservable_service() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let script = |_: &str, _: usize, _: bool| {
        let mut seen =
            seen("", Health::NotAsked, Freshness::Unknown("nobody can see it".to_owned()));
        seen.facts.presence = Presence::Unknown("nobody can see it".to_owned());
        seen
    };
    let outcome = Setting::new()
        .one(&Scripted::new(&script), Remedy::Restart, command(&["touch", file.to_str().unwrap()]))
        .await;
    assert!(matches!(
        outcome.result.unwrap(),
        Refreshed::Restarted { uptake: Uptake::Unverified(_), .. }
    ));
    assert!(file.exists());
}

#[tokio::test]
async fn failed_command_counts_as_restart() {
    let script = |_: &str, _: usize, _: bool| stale("same");
    let outcome =
        Setting::new().one(&Scripted::new(&script), Remedy::Restart, command(&["false"])).await;
    assert!(outcome.restarted);
    assert_eq!(error(outcome), "its command false failed with exit code 1");
}

#[tokio::test]
async fn missing_command_uses_up_no_restart() {
    let script = |_: &str, _: usize, _: bool| stale("same");
    let caller = Scripted::new(&script);
    let outcome =
        Setting::new().one(&caller, Remedy::Restart, command(&["/no/such/program"])).await;
    assert!(!outcome.restarted && caller.restarted() == ["a"]);
    assert!(matches!(outcome.result, Err(RefreshError::Command(_))), "{outcome:?}");
}

#[tokio::test]
async fn uptake_after_command_is_verified() {
    let script = |_: &str, _: usize, _: bool| {
        seen("same", Health::Healthy, Freshness::Stale(Evidence::Serves))
    };
    let outcome =
        Setting::new().one(&Scripted::new(&script), Remedy::Restart, command(&["true"])).await;
    assert!(matches!(outcome.result, Err(RefreshError::StillStale(_))), "{outcome:?}");
}

// ---- systemd ----

const UNIT: &str = "thing.service";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Does every job at once, and writes down which; its unit has these main processes, one after the
/// other.
async fn systemd(
    bus: &Bus,
    active: &'static str,
    pids: Vec<u32>,
) -> (Systemd, Arc<Mutex<Vec<String>>>) {
    systemd_that(bus, active, true, pids).await
}

async fn systemd_that(
    bus: &Bus,
    active: &'static str,
    can_reload: bool,
    mut pids: Vec<u32>,
) -> (Systemd, Arc<Mutex<Vec<String>>>) {
    let mut served = bus.serve("org.freedesktop.systemd1").await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let connected = Systemd::connect_to(bus.builder(), LIMIT).await.unwrap();
    tokio::spawn(async move {
        while let Some(call) = served.next().await {
            let (header, systemd) = (call.header(), &served.connection);
            let path = |path: &str| OwnedObjectPath::try_from(format!("{PATH}/{path}")).unwrap();
            match header.member().map(ToString::to_string).unwrap_or_default().as_str() {
                "LoadUnit" => systemd.reply(&header, &path("unit/there")).await.unwrap(),
                "GetAll" => {
                    let interface: String = call.body().deserialize().unwrap();
                    let is_service = interface.ends_with("Service");
                    let pid = if is_service && pids.len() > 1 {
                        pids.remove(0)
                    } else {
                        pids.first().copied().unwrap_or_default()
                    };
                    systemd.reply(&header, &properties(active, can_reload, pid)).await.unwrap();
                }
                "Subscribe" => systemd.reply(&header, &()).await.unwrap(),
                method if method.ends_with("Unit") => {
                    noted.lock().unwrap().push(method.to_owned());
                    systemd.reply(&header, &path("job/42")).await.unwrap();
                    let end = (42_u32, path("job/42"), UNIT, "done");
                    systemd
                        .emit_signal(None::<&str>, PATH, MANAGER, "JobRemoved", &end)
                        .await
                        .unwrap();
                }
                _ => {}
            }
        }
    });
    (connected, calls)
}

fn properties(
    active: &'static str,
    can_reload: bool,
    pid: u32,
) -> HashMap<&'static str, Variant<'static>> {
    HashMap::from([
        ("LoadState", "loaded".into()),
        ("ActiveState", active.into()),
        ("SubState", "dead".into()),
        ("CanReload", can_reload.into()),
        ("ActiveEnterTimestamp", 0_u64.into()),
        ("ActiveEnterTimestampMonotonic", 0_u64.into()),
        ("MainPID", pid.into()),
        ("ExecMainStartTimestamp", 0_u64.into()),
        ("ExecMainStartTimestampMonotonic", 0_u64.into()),
    ])
}

fn host() -> Root {
    Root::open(Path::new("/")).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn unit_is_refreshed_as_configured() {
    for (refresh, method) in [
        (UnitRefresh::Restart, "TryRestartUnit"),
        (UnitRefresh::Reload, "ReloadUnit"),
        (UnitRefresh::ReloadOrRestart, "ReloadOrTryRestartUnit"),
    ] {
        let Some(bus) = Bus::start().await else { return };
        let (systemd, calls) = systemd(&bus, "active", vec![]).await;
        unit::refresh(&systemd, &host(), UNIT, refresh, LIMIT).await.unwrap();
        assert_eq!(*calls.lock().unwrap(), [method]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn impossible_unit_refresh_is_found_beforehand() {
    let Some(bus) = Bus::start().await else { return };
    let (systemd, calls) = systemd(&bus, "inactive", vec![]).await;
    for refresh in [
        UnitRefresh::Restart,
        UnitRefresh::Reload,
        UnitRefresh::ReloadOrRestart,
        UnitRefresh::Signal(Signal::Hup),
    ] {
        let error = unit::check(&systemd, UNIT, refresh).await.unwrap_err();
        assert!(matches!(error, RefreshError::Systemd(SystemdError::NotActive { .. })), "{error}");
    }
    let Some(bus) = Bus::start().await else { return };
    let (systemd, _) = systemd_that(&bus, "active", false, vec![]).await;
    for (refresh, problem) in [
        (
            UnitRefresh::Reload,
            Some("thing.service can't reload: it has no ExecReload; restart it instead"),
        ),
        (
            UnitRefresh::Signal(Signal::Hup),
            Some("thing.service has no main process that a signal could be sent to"),
        ),
        (UnitRefresh::Restart, None),
        (UnitRefresh::ReloadOrRestart, None),
    ] {
        assert_eq!(
            unit::check(&systemd, UNIT, refresh).await.err().map(|e| e.to_string()).as_deref(),
            problem
        );
    }
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn main_process_of_unit_gets_signal() {
    let Some(bus) = Bus::start().await else { return };
    let mut sleeper = Sleeper::start();
    let (systemd, calls) = systemd(&bus, "active", vec![sleeper.0.id()]).await;
    unit::refresh(&systemd, &host(), UNIT, UnitRefresh::Signal(Signal::Hup), LIMIT).await.unwrap();
    assert_eq!(sleeper.ended_by(), Some(nix::sys::signal::Signal::SIGHUP as i32));
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn changed_main_process_gets_no_signal() {
    let Some(bus) = Bus::start().await else { return };
    let (mut first, mut second) = (Sleeper::start(), Sleeper::start());
    let (systemd, _) = systemd(&bus, "active", vec![first.0.id(), second.0.id()]).await;
    let error = unit::refresh(&systemd, &host(), UNIT, UnitRefresh::Signal(Signal::Hup), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, RefreshError::MainProcessChanged(_)), "{error}");
    assert!(first.0.try_wait().unwrap().is_none() && second.0.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "current_thread")]
async fn unit_without_main_process_is_reported() {
    let Some(bus) = Bus::start().await else { return };
    let (systemd, _) = systemd(&bus, "active", vec![]).await;
    let error = unit::refresh(&systemd, &host(), UNIT, UnitRefresh::Signal(Signal::Hup), LIMIT)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "thing.service has no main process that a signal could be sent to"
    );
}
