//! A daemon under test, and the node that it is started on.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kubecertd::model::{AbsolutePath, CredentialName, Timestamp};
use kubecertd::report::{LastPass, Status};
use kubecertd::store::State;
use kubecertd::sys::Root;
use nix::fcntl::{Flock, FlockArg};

use super::common::{Node, STATE, now};
use super::ears::Ears;

/// How long anything is waited for: much longer than it takes, because the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A schedule without an occurrence while a test runs.
pub const NEVER: &str = "0 0 0 1 1 *";
pub const EVERY_SECOND: &str = "* * * * * *";
pub const EVERY_OTHER_SECOND: &str = "*/2 * * * * *";

pub const CONFIG: &str = "etc/kubecertd/kubecertd.toml";
pub const STATUS: &str = "run/kubecertd/status.json";

/// What is said while a pass is made.
pub const AT_WORK: &str = "a pass is being made";

/// Looks until there is something to be seen.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The configuration for a schedule.
pub fn schedule(cron: &str) -> String {
    format!("[schedule]\ncron = \"{cron}\"\ntime_zone = \"UTC\"\n")
}

/// A cron expression for one instant.
pub fn at(time: Timestamp) -> String {
    time.civil().strftime("%-S %-M %-H %-d %-m *").to_string()
}

pub fn state_folder() -> AbsolutePath {
    AbsolutePath::constant("/var/lib/kubecertd")
}

pub fn remembered(node: &Node) -> State {
    let (state, note) = State::read(&Root::open(node.root()).unwrap(), &state_folder());
    assert_eq!(note, None);
    state
}

pub fn remember(node: &Node, state: &State) {
    state.write(&Root::open(node.root()).unwrap(), &state_folder()).unwrap();
}

/// The state after a pass that went well at this time.
pub fn well_until(time: Timestamp) -> State {
    let time = Some(time);
    State {
        last_seen: time,
        last_pass_began: time,
        last_pass_succeeded: time,
        unfinished: false,
        scheduled_until: time,
        observing_until: None,
        refused: Vec::new(),
    }
}

/// A node with this schedule that the daemon has looked after until now.
pub fn known(node: Node, cron: &str) -> Node {
    node.write(CONFIG, schedule(cron));
    remember(&node, &well_until(now()));
    node
}

/// Sends a signal, by its name without SIG.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -s {name} {pid}")).status().unwrap();
    assert!(sent.success());
}

/// Has the store for itself, as another kubecertd at work would: a pass waits for it.
pub struct StoreTaken(#[allow(dead_code, reason = "held, not used")] Flock<File>);

impl StoreTaken {
    pub fn on(node: &Node) -> Self {
        let file =
            File::options().create(true).append(true).open(node.path(STATE).join("lock")).unwrap();
        Self(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e).unwrap())
    }
}

/// A daemon that runs, and ends with this value.
pub struct Daemon<'n> {
    node: &'n Node,
    child: Child,
    log: File,
    pub ears: Ears,
}

impl<'n> Daemon<'n> {
    pub fn start(node: &'n Node) -> Self {
        Self::start_with(node, Ears::new(), &[])
    }

    pub fn start_with(node: &'n Node, ears: Ears, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubecertd"));
        command.arg("--root").arg(node.root()).arg("run");
        // Whatever bus this machine has knows nothing of the node's clock.
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .env("NOTIFY_SOCKET", ears.path());
        command
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env_remove("KUBECERTD_LOG")
            .env_remove("JOURNAL_STREAM");
        command.envs(environment.iter().copied());
        // A file and no pipe: what was written is there at once.
        let log = tempfile::tempfile().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { node, child, log, ears }
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

    /// What its status file says; `None` as long as it has written none.
    pub fn status(&self) -> Option<Status> {
        let text = std::fs::read(self.node.path(STATUS)).ok()?;
        let status: Status = serde_json::from_slice(&text).unwrap();
        (status.pid == self.pid()).then_some(status)
    }

    /// Waits until its status file is as it should be.
    pub fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let began = Instant::now();
        loop {
            match self.status() {
                Some(status) if is_so(&status) => return status,
                status => last = status.or(last),
            }
            assert!(
                began.elapsed() < LIMIT,
                "{what}: the last status is {last:#?}, and the log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it waits.
    pub fn settled(&self) -> Status {
        self.until("it has started and rests", |status| status.line != AT_WORK)
    }

    /// Waits for the end of a pass that is under way or about to begin.
    pub fn passed(&self, why: &str) -> LastPass {
        let passed =
            |status: &Status| status.last_pass.as_ref().is_some_and(|last| last.why.contains(why));
        self.until(why, |status| status.line != AT_WORK && passed(status)).last_pass.unwrap()
    }

    /// Asks for a pass and waits for its end.
    pub fn pass(&self) -> LastPass {
        self.settled();
        let before = self.ears.passes();
        self.signal("USR1");
        until("a pass that was asked for", || (self.ears.passes() > before).then_some(()));
        self.passed("asked for by a signal")
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended();
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        until("the daemon ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of credentials, for comparison.
pub fn names<'c>(credentials: impl IntoIterator<Item = &'c CredentialName>) -> Vec<String> {
    let mut names: Vec<_> = credentials.into_iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// All that is renewed on this node.
pub fn all(node: &Node) -> Vec<String> {
    node.whole().into_keys().collect()
}

/// The names of what ends in more than this many days.
pub fn fresh(node: &Node, days: i64) -> Vec<String> {
    let whole = node.whole().into_iter();
    whole
        .filter(|(_, stored)| stored.certificate.not_after.seconds_since(now()) > days * 86_400)
        .map(|(name, _)| name)
        .collect()
}
