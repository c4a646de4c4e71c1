//! The daemon under test and the node that it runs on.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kubecertd::model::{AbsolutePath, CredentialName, Timestamp};
use kubecertd::report::{PassSummary, Status};
use kubecertd::state::PassMemory;
use kubecertd::sys::Root;
use nix::fcntl::{Flock, FlockArg};

use super::common::requirements::skip;
use super::common::{Node, STATE, now};
use super::notify_socket::NotifySocket;

/// The timeout of every wait. It is generous because the machine may be busy.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(90);

/// A schedule without an occurrence while a test runs: daily, half a day from now. A rarer one is
/// alarmed.
pub const NEVER: &str = "never";
/// Why a pass is made at the start where something can't wait.
pub const URGENT: &str = "a certificate is urgent, expired or broken";
pub const EVERY_SECOND: &str = "* * * * * *";
pub const EVERY_OTHER_SECOND: &str = "*/2 * * * * *";

pub const CONFIG: &str = "etc/kubecertd/kubecertd.toml";
pub const STATUS: &str = "run/kubecertd/status.json";

/// The status line during a pass.
pub const PASS_IN_PROGRESS: &str = "a pass is running";

/// Polls until there is a value, and returns it.
pub fn wait_for<T>(event: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < WAIT_TIMEOUT, "timed out waiting for: {event}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a configuration with this schedule.
pub fn schedule(cron: &str) -> String {
    let hour = now().plus(Duration::from_secs(12 * 3_600)).civil().hour();
    let cron = if cron == NEVER { format!("0 0 {hour} * * *") } else { cron.to_owned() };
    format!("[schedule]\ncron = \"{cron}\"\ntime_zone = \"UTC\"\n")
}

/// Returns the cron expression of one instant.
pub fn at(time: Timestamp) -> String {
    time.civil().strftime("%-S %-M %-H %-d %-m *").to_string()
}

pub fn state_dir() -> AbsolutePath {
    AbsolutePath::constant("/var/lib/kubecertd")
}

pub fn read_state(node: &Node) -> PassMemory {
    let (state, note) = PassMemory::read(&Root::open(node.root()).unwrap(), &state_dir());
    assert_eq!(note, None);
    state
}

pub fn write_state(node: &Node, state: &PassMemory) {
    state.write(&Root::open(node.root()).unwrap(), &state_dir()).unwrap();
}

/// Returns the state after a pass that succeeded at this time.
pub fn successful_state(time: Timestamp) -> PassMemory {
    let time = Some(time);
    PassMemory {
        last_seen: time,
        last_pass_began: time,
        last_pass_succeeded: time,
        unfinished: false,
        scheduled_until: time,
        observing_until: None,
        refused: Vec::new(),
    }
}

/// Gives the node this schedule and a successful pass that ended now.
pub fn with_history(node: Node, cron: &str) -> Node {
    node.write(CONFIG, schedule(cron));
    write_state(&node, &successful_state(now()));
    node
}

/// Sends a signal, named without SIG.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -s {name} {pid}")).status().unwrap();
    assert!(sent.success());
}

/// Holds the lock of the store, as another kubecertd process does. A pass waits for it.
pub struct StoreLock(#[allow(dead_code, reason = "held, not used")] Flock<File>);

impl StoreLock {
    pub fn take(node: &Node) -> Self {
        let file =
            File::options().create(true).append(true).open(node.path(STATE).join("lock")).unwrap();
        Self(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e).unwrap())
    }
}

/// A running daemon, killed on drop.
pub struct Daemon<'n> {
    node: &'n Node,
    child: Child,
    log: File,
    pub notify_socket: NotifySocket,
}

impl<'n> Daemon<'n> {
    pub fn start(node: &'n Node) -> Self {
        Self::start_with(node, NotifySocket::new(), &[])
    }

    pub fn start_with(
        node: &'n Node,
        notify_socket: NotifySocket,
        environment: &[(&str, &str)],
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_kubecertd"));
        Self::start_command(node, notify_socket, environment, command)
    }

    /// Starts the program by a command, to which its arguments are added.
    pub fn start_command(
        node: &'n Node,
        notify_socket: NotifySocket,
        environment: &[(&str, &str)],
        mut command: Command,
    ) -> Self {
        command.arg("--root").arg(node.root()).arg("run");
        // The bus of this machine has no information about the node's clock.
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .env("NOTIFY_SOCKET", notify_socket.path());
        command
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env_remove("KUBECERTD_LOG")
            .env_remove("JOURNAL_STREAM");
        command.envs(environment.iter().copied());
        // A file, not a pipe: written lines can be read immediately.
        let log = tempfile::tempfile().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { node, child, log, notify_socket }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        let mut text = vec![0; usize::try_from(self.log.metadata().unwrap().len()).unwrap()];
        self.log.read_exact_at(&mut text, 0).unwrap();
        String::from_utf8(text).unwrap()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Reads its status file. `None` until this process has written one.
    pub fn status(&self) -> Option<Status> {
        let text = std::fs::read(self.node.path(STATUS)).ok()?;
        let status: Status = serde_json::from_slice(&text).unwrap();
        (status.pid == self.pid()).then_some(status)
    }

    /// Waits until its status matches.
    pub fn wait_for_status(&self, event: &str, matches: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let start = Instant::now();
        loop {
            match self.status() {
                Some(status) if matches(&status) => return status,
                status => last = status.or(last),
            }
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "timed out waiting for: {event}; last status: {last:#?}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has started and no pass is in progress.
    pub fn wait_until_idle(&self) -> Status {
        self.wait_for_status("the daemon is idle", |status| status.line != PASS_IN_PROGRESS)
    }

    /// Waits until the last pass is one with this reason (a part of the text), and is complete.
    pub fn wait_for_pass(&self, reason: &str) -> PassSummary {
        let has_reason = |last: &PassSummary| last.why.contains(reason);
        let is_complete = |status: &Status| {
            status.line != PASS_IN_PROGRESS && status.last_pass.as_ref().is_some_and(has_reason)
        };
        self.wait_for_status(reason, is_complete).last_pass.unwrap()
    }

    /// Requests a pass by a signal and waits until it is complete.
    pub fn request_pass(&self) -> PassSummary {
        self.wait_until_idle();
        let before = self.notify_socket.completed_passes();
        self.signal("USR1");
        wait_for("the requested pass", || {
            (self.notify_socket.completed_passes() > before).then_some(())
        });
        self.wait_for_pass("asked for by a signal")
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait_for_exit();
    }

    /// Waits until the process exits.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        wait_for("the daemon exits", || self.child.try_wait().unwrap())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether inotify instances are left for a test. Where they are not, for example because kubelet
/// and its pods use them all, the test is skipped, except in CI.
pub fn can_watch() -> bool {
    let probe = |_| notify::recommended_watcher(|_: notify::Result<notify::Event>| {});
    let all: Result<Vec<_>, _> = (0..8).map(probe).collect();
    if let Err(e) = &all {
        skip(&format!("needs inotify, see fs.inotify.max_user_instances: {e}"));
    }
    all.is_ok()
}

/// Returns the names of credentials, sorted.
pub fn names<'c>(credentials: impl IntoIterator<Item = &'c CredentialName>) -> Vec<String> {
    let mut names: Vec<_> = credentials.into_iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// Returns the names of all credentials that are renewed on this node.
pub fn all_credentials(node: &Node) -> Vec<String> {
    node.usable_credentials().into_keys().collect()
}

/// Returns the names of the credentials that expire in more than this many days.
pub fn valid_longer_than(node: &Node, days: i64) -> Vec<String> {
    let whole = node.usable_credentials().into_iter();
    whole
        .filter(|(_, stored)| stored.certificate.not_after.seconds_since(now()) > days * 86_400)
        .map(|(name, _)| name)
        .collect()
}
