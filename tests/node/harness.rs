//! A control-plane node under test: commands run on it, its certificates are aged, kubecertd is
//! installed, its power is cut.
//!
//! There is one node for each algorithm of keys, one for the daily work, and one for faults; and
//! those of the [cluster](super::cluster). Each stays up from case to case and is restored to the
//! state of `kubeadm init` before a case. The script `machine` beside this file makes, boots and
//! kills a node.

use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kubecertd::report::{Message, PassSummary, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common;

/// The timeout of a wait for one event. A static pod may take most of a minute to start, and longer
/// on a busy machine.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(300);

/// The status line during a pass.
pub const PASS_IN_PROGRESS: &str = "a pass is running";

/// Credentials whose renewal restarts no service and is in use soon. Cases that are not about
/// services use these.
pub const CREDENTIALS_WITHOUT_RESTART: [&str; 7] = [
    "admin.conf",
    "apiserver-etcd-client",
    "apiserver-kubelet-client",
    "etcd/healthcheck-client",
    "etcd/peer",
    "etcd/server",
    "front-proxy-client",
];

/// Prints the process id of etcd's container.
const ETCD_PID: &str = "pgrep --full '^etcd --advertise'";

/// The copy of etcd's certificates that etcd sees, in its container.
const FROZEN: &str = "tmp/frozen";

/// The kind of a node.
#[derive(Clone, Copy)]
pub enum NodeKind {
    /// With RSA keys.
    Rsa,
    /// With ECDSA keys.
    Ecdsa,
    /// With ECDSA keys, for the daily work of a node.
    Daily,
    /// With ECDSA keys, for cases with faults, which change more of the node.
    Faults,
}

/// A running node. [`common::Node`] works with its files alone.
pub struct Node {
    name: &'static str,
    /// The process id of its pid 1 on this machine.
    pid: Pid,
    files: common::Node,
    /// The cursor of its journal at the start of the case.
    cursor: String,
}

impl Deref for Node {
    type Target = common::Node;

    fn deref(&self) -> &common::Node {
        &self.files
    }
}

impl Node {
    /// Makes or boots the node where necessary, and restores the state of `kubeadm init`.
    pub fn prepare(kind: NodeKind) -> Self {
        let (name, address, algorithm) = match kind {
            NodeKind::Rsa => ("kubecertd-rsa", "10.210.0.1", "rsa"),
            NodeKind::Ecdsa => ("kubecertd-ecdsa", "10.210.0.2", "ecdsa"),
            NodeKind::Faults => ("kubecertd-faults", "10.210.0.3", "ecdsa"),
            NodeKind::Daily => ("kubecertd-daily", "10.210.0.4", "ecdsa"),
        };
        if !disk(name).join("as-made").exists() {
            machine(&["up", name, address, algorithm]);
        } else if try_machine(&["pid", name]).is_none() {
            machine(&["boot", name]);
        }
        let node = Self::restored(name);
        node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
        node
    }

    /// A machine as it is before `kubeadm init` or `kubeadm join`, with the program alone. One that
    /// an earlier run left is made anew.
    pub fn fresh(name: &'static str, address: &str) -> Self {
        machine(&["make", name, address]);
        let node = Self::running(name);
        std::fs::copy(env!("CARGO_BIN_EXE_kubecertd"), node.path("usr/sbin/kubecertd")).unwrap();
        node
    }

    /// Runs `kubeadm init`, with the address at which other nodes reach the API server.
    pub fn init(&self, algorithm: &str, endpoint: &str) {
        machine(&["init", self.name, algorithm, endpoint]);
    }

    /// Keeps the files as kubeadm made them: clients outside of the node use them.
    pub fn kept(self) -> Self {
        machine(&["keep", self.name]);
        Self::restored(self.name)
    }

    /// Runs `kubeadm join`.
    pub fn join(&self, options: &[&str]) {
        machine(&[&["join", self.name], options].concat());
    }

    /// Removes the machine.
    pub fn remove_machine(self) {
        machine(&["down", self.name]);
    }

    /// A running node, with the state of `kubeadm init` or `join` restored.
    pub fn restored(name: &'static str) -> Self {
        let mut node = Self::running(name);
        node.restore_initial_state();
        let shown = node.exec("journalctl --sync; journalctl --lines 0 --show-cursor");
        node.cursor = shown.split("cursor: ").nth(1).unwrap().trim().to_owned();
        node
    }

    fn running(name: &'static str) -> Self {
        let pid = machine(&["pid", name]).trim().parse().unwrap();
        Self {
            name,
            pid: Pid::from_raw(pid),
            files: common::Node::at(format!("/proc/{pid}/root")),
            cursor: String::new(),
        }
    }

    /// Removes everything that an earlier case left.
    fn restore_initial_state(&self) {
        self.exec(
            "dpkg --purge --force-all kubecertd >/dev/null 2>&1 || true
             systemctl disable --quiet --now kubecertd kubecertd-once.timer 2>/dev/null || true
             systemctl reset-failed
             pkill --exact kubeadm || true
             systemctl stop stand-in 2>/dev/null || true
             awk '$2 ~ \"^/(etc/kubernetes|var/lib/kubecertd)\" { print $2 }' /proc/mounts | tac | \
             xargs --no-run-if-empty umount
             rm -rf /run/kubecertd /run/never /etc/kubecertd /var/lib/kubecertd \
             /etc/systemd/system/kubecertd* /usr/sbin/kubecertd
             rm -f /usr/lib/systemd/catalog/kubecertd.catalog \
             /var/lib/systemd/timers/stamp-kubecertd* /var/tmp/*.deb
             rsync --archive --acls --checksum --delete /as-made/kubernetes/ /etc/kubernetes/
             pki=/var/lib/kubelet/pki
             if [ -n \"$(rsync --archive --checksum --delete --itemize-changes \
             /as-made/kubelet-pki/ $pki/)\" ]; then systemctl restart kubelet; fi
             systemctl daemon-reload",
        );
    }

    /// Runs a shell command on it and returns the standard output. Panics where the command fails.
    pub fn exec(&self, command: &str) -> String {
        let output = self.try_exec(command);
        assert!(
            output.status.success(),
            "{}: {command}: {}\n{}",
            self.name,
            output.status,
            both(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a shell command that may fail.
    pub fn try_exec(&self, command: &str) -> Output {
        run(&["exec", self.name, "sh", "-c", command])
    }

    /// Runs kubectl as the administrator and returns its output.
    pub fn kubectl(&self, arguments: &str) -> String {
        self.exec(&format!("kubectl --request-timeout=20s {arguments}"))
    }

    /// The names of the credentials that `kubeadm init` made here and kubecertd renews, sorted: by
    /// the files, since each version of Kubernetes has its own.
    pub fn all_credentials(&self) -> Vec<String> {
        let files = self.exec(
            "cd /as-made/kubernetes && find pki -name '*.crt' ! -name '*ca.crt' && \
             find -name '*.conf' ! -name kubelet.conf",
        );
        let name = |file: &str| {
            let file = file.trim_start_matches("./").trim_start_matches("pki/");
            file.trim_end_matches(".crt").to_owned()
        };
        let mut names: Vec<_> = files.lines().map(name).collect();
        names.sort();
        names
    }

    /// Lets the [`CREDENTIALS_WITHOUT_RESTART`] expire in this many days.
    pub fn age_credentials_without_restart(&self, days_left: i64) {
        CREDENTIALS_WITHOUT_RESTART.iter().for_each(|name| self.age(name, days_left));
    }

    /// Whether the node is Ready in Kubernetes.
    pub fn is_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    /// The time since which the node has been Ready without interruption.
    pub fn ready_since(&self) -> Option<String> {
        let path =
            "{range .status.conditions[?(@.type==\"Ready\")]}{.status} {.lastTransitionTime}{end}";
        let output = self.try_exec(&format!(
            "kubectl --request-timeout=5s get node {} -o jsonpath='{path}'",
            self.name
        ));
        String::from_utf8(output.stdout).unwrap().strip_prefix("True ").map(str::to_owned)
    }

    /// Resets kubelet's backoff for restarted containers, which can reach minutes.
    pub fn reset_kubelet_backoff(&self) {
        self.exec("systemctl restart kubelet");
        self.wait_for("kubelet is healthy", |node| {
            node.try_exec("curl --fail --silent http://127.0.0.1:10248/healthz")
                .status
                .success()
                .then_some(())
        });
        self.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    }

    /// Receives the messages of a kind that are in the journal since the boot, and those to come,
    /// until the power is cut.
    pub fn follow(&self, message: Message) -> Receiver<String> {
        let id = format!("MESSAGE_ID={}", message.id());
        let mut followed = machine_command(&["exec", self.name, "journalctl", "--boot"])
            .args(["--follow", "--lines=all", "--output=cat", &id])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(followed.stdout.take().unwrap()).lines();
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok());
            followed.wait().unwrap();
        });
        receiver
    }

    /// Returns the messages of a unit in the journal since the start of the case.
    pub fn journal(&self, unit: &str) -> String {
        String::from_utf8(self.journal_as("cat", unit)).unwrap()
    }

    /// Returns the journal of a unit in an output format of journalctl.
    pub fn journal_as(&self, form: &str, unit: &str) -> Vec<u8> {
        let command = format!(
            "journalctl --sync; journalctl --all --output {form} --unit {unit} --after-cursor '{}'",
            self.cursor
        );
        let output = self.try_exec(&command);
        assert!(output.status.success(), "{}: {command}: {}", self.name, both(&output));
        output.stdout
    }

    /// Installs kubecertd as the README describes, with this configuration, and starts it.
    pub fn install(&self, configuration: &str) {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kubecertd.service");
        self.write(
            "usr/lib/systemd/catalog/kubecertd.catalog",
            include_str!("../../packaging/kubecertd.catalog"),
        );
        std::fs::copy(env!("CARGO_BIN_EXE_kubecertd"), self.path("usr/sbin/kubecertd")).unwrap();
        std::fs::copy(unit, self.path("etc/systemd/system/kubecertd.service")).unwrap();
        self.write("etc/kubecertd/kubecertd.toml", configuration);
        self.exec(
            "journalctl --update-catalog && systemctl daemon-reload && systemctl enable \
            --quiet --now kubecertd",
        );
    }

    /// Installs kubecertd and waits for its first scheduled pass. After that pass it no longer only
    /// observes.
    pub fn install_past_first_pass(&self) {
        self.install(&schedule_in(3));
        let passed = |node: &Self| {
            node.status()
                .and_then(|status| status.last_pass)
                .is_some_and(|last| last.why.contains("by schedule"))
                && !node.only_observes()
        };
        let mut started = Instant::now();
        self.wait_for("the first scheduled pass", |node| {
            // On a busy machine it may have started after the scheduled time.
            if !passed(node) && started.elapsed() > Duration::from_secs(25) {
                started = Instant::now();
                // It would then only observe until the next occurrence, in a year. Start over.
                node.exec("systemctl stop kubecertd && rm -f /var/lib/kubecertd/state.json");
                node.write("etc/kubecertd/kubecertd.toml", schedule_in(20));
                node.exec("systemctl start kubecertd");
            }
            passed(node).then_some(())
        });
    }

    /// Whether the daemon, new on this node, makes no change yet.
    fn only_observes(&self) -> bool {
        let state = std::fs::read(self.path("var/lib/kubecertd/state.json")).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&state)
            .map_or(true, |state| state["observing_until"].as_str().is_some())
    }

    /// Reads the status file of the daemon.
    pub fn status(&self) -> Option<Status> {
        serde_json::from_slice(&std::fs::read(self.path("run/kubecertd/status.json")).ok()?)
            .unwrap()
    }

    /// Waits until the last pass is one with this reason (a part of the text).
    pub fn wait_for_pass(&self, why: &str) -> PassSummary {
        self.wait_for(&format!("a pass {why:?}"), |node| {
            node.status()?.last_pass.filter(|last| last.why.contains(why))
        })
    }

    /// Requests a pass by a signal, as an operator does, and waits until it is complete.
    pub fn request_pass(&self) -> PassSummary {
        let requested = common::now();
        // The start of a pass is recorded in whole seconds.
        std::thread::sleep(Duration::from_secs(1));
        self.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
        self.wait_for("a pass", |node| {
            node.status()?.last_pass.filter(|last| last.began > requested)
        })
    }

    /// Waits until the journal of kubecertd contains this text.
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for(&format!("kubecertd logs {text:?}"), |node| {
            node.journal("kubecertd").contains(text).then_some(())
        });
    }

    /// Waits until the alarms in force contain this text, and returns them as `kubecertd alarms`
    /// shows them.
    pub fn wait_for_alarm(&self, text: &str) -> String {
        self.wait_for(&format!("the alarm {text:?}"), |node| {
            let shown = String::from_utf8(node.try_exec("kubecertd alarms").stdout).unwrap();
            shown.contains(text).then_some(shown)
        })
    }

    /// Polls until there is a value, and returns it. Panics with the journal of kubecertd after the
    /// timeout.
    pub fn wait_for<T>(&self, event: &str, poll: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_within(WAIT_TIMEOUT, event, poll)
    }

    /// Like [`Node::wait_for`], with another timeout.
    pub fn wait_within<T>(
        &self,
        timeout: Duration,
        event: &str,
        mut poll: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = poll(self) {
                return value;
            }
            assert!(
                start.elapsed() < timeout,
                "{}: timed out waiting for: {event}\n{}",
                self.name,
                self.journal("kubecertd")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills all its processes at once, as a power cut does; written data stays, synced or not.
    /// Calls `inspect` with the disk of the dead node, boots it, and waits until containers can
    /// start, but not until it is Ready.
    pub fn power_cut(&mut self, inspect: impl FnOnce(&common::Node)) {
        self.cut_power();
        inspect(&common::Node::at(disk(self.name)));
        self.boot();
    }

    /// Kills all its processes at once. Until [`Self::boot`] it is off.
    pub fn cut_power(&self) {
        // The script would take some milliseconds to start. All processes die with pid 1.
        kill(self.pid, Signal::SIGKILL).unwrap();
        machine(&["cut", self.name]);
    }

    /// Boots the node, and waits until containers can start.
    pub fn boot(&mut self) {
        machine(&["boot", self.name]);
        *self = Self { cursor: std::mem::take(&mut self.cursor), ..Self::running(self.name) };
    }

    /// Cuts the node off the network of all nodes.
    pub fn partition(&self) {
        machine(&["disconnect", self.name]);
    }

    /// Connects it again.
    pub fn reconnect(&self) {
        machine(&["connect", self.name]);
    }

    /// Lets etcd see a copy of its certificates from now on, so that it can't reload changed ones
    /// and has to be restarted for them.
    ///
    /// The copy is mounted over the directory in the container alone. The container of a restarted
    /// etcd has no such mount.
    pub fn freeze_etcd_certificates(&self) {
        self.exec(&format!(
            "set -e; pid=$({ETCD_PID}); cd /proc/$pid/root
             cp -a etc/kubernetes/pki/etcd {FROZEN}
             mount --namespace $pid --bind /{FROZEN} /etc/kubernetes/pki/etcd"
        ));
    }

    /// Kills an etcd that sees a copy: kubelet starts another one.
    pub fn unfreeze_etcd_certificates(&self) {
        self.exec(&format!(
            "pid=$({ETCD_PID}) && [ -e /proc/$pid/root/{FROZEN} ] && kill -KILL $pid; true"
        ));
    }

    /// Its address, which this machine can reach.
    pub fn address(&self) -> String {
        self.exec("hostname --ip-address").trim().to_owned()
    }

    /// Its name, which is its host name too.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Returns the configuration of a schedule, a cron expression in UTC.
pub fn schedule(cron: &str) -> String {
    format!("[schedule]\ncron = \"{cron}\"\ntime_zone = \"UTC\"\n")
}

/// Returns the configuration of a schedule that occurs in this many seconds and then daily.
pub fn schedule_in(seconds: u64) -> String {
    schedule(
        &common::now()
            .plus(Duration::from_secs(seconds))
            .civil()
            .strftime("%-S %-M %-H * * *")
            .to_string(),
    )
}

/// The directory of a node's disk.
fn disk(name: &str) -> PathBuf {
    let cache = std::env::var_os("NODE_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/kubecertd-node"), PathBuf::from);
    cache.join("nodes").join(name)
}

fn machine(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "machine {}: {}\n{}",
        arguments.join(" "),
        output.status,
        both(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn try_machine(arguments: &[&str]) -> Option<String> {
    let output = run(arguments);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn run(arguments: &[&str]) -> Output {
    machine_command(arguments).output().unwrap()
}

fn machine_command(arguments: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/machine");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
