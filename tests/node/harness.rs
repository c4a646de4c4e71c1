//! A controller node in the hands of a test: run something on it, age its certificates, install
//! kubecertd, cut the power.
//!
//! There is one node for each kind of key, one more for ordinary days, and one for what goes wrong;
//! each stays up from case to case, and what a case finds is the node as kubeadm made it. Making,
//! booting and killing it is the work of the script `machine` beside this file.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kubecertd::report::{LastPass, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common;

/// How long anything is waited for. A static pod may take most of a minute to start, and longer on
/// a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(300);

/// What the status line says while a pass is made.
pub const AT_WORK: &str = "a pass is being made";

/// Credentials that no service has to be restarted for, or is slow to take: what is not about
/// services is shown with these.
pub const QUIET: [&str; 7] = [
    "admin.conf",
    "apiserver-etcd-client",
    "apiserver-kubelet-client",
    "etcd/healthcheck-client",
    "etcd/peer",
    "etcd/server",
    "front-proxy-client",
];

/// Which node it is.
#[derive(Clone, Copy)]
pub enum Which {
    /// kubeadm made RSA keys there.
    Rsa,
    /// kubeadm made ECDSA keys there.
    Ecdsa,
    /// The same, for what a node sees on ordinary days.
    Daily,
    /// The same, for cases that leave more behind.
    Troubled,
}

/// A node that runs. What can be done with its files alone is done through [`common::Node`].
pub struct Node {
    name: &'static str,
    /// Its pid 1, as this machine numbers it.
    pid: Pid,
    files: common::Node,
    /// Where its journal stood when the case began.
    cursor: String,
}

impl Deref for Node {
    type Target = common::Node;

    fn deref(&self) -> &common::Node {
        &self.files
    }
}

impl Node {
    /// The node as kubeadm made it. It is made, or booted, where that was not done yet.
    pub fn of(which: Which) -> Self {
        let (name, address, algorithm) = match which {
            Which::Rsa => ("kubecertd-rsa", "10.210.0.1", "rsa"),
            Which::Ecdsa => ("kubecertd-ecdsa", "10.210.0.2", "ecdsa"),
            Which::Troubled => ("kubecertd-troubled", "10.210.0.3", "ecdsa"),
            Which::Daily => ("kubecertd-daily", "10.210.0.4", "ecdsa"),
        };
        if !disk(name).join("as-made").exists() {
            machine(&["up", name, address, algorithm]);
            let node = Self::running(name);
            node.exec(
                "mkdir /as-made && cp -a /etc/kubernetes /as-made/ && cp -a \
                /var/lib/kubelet/pki /as-made/kubelet-pki",
            );
        } else if try_machine(&["pid", name]).is_none() {
            machine(&["boot", name]);
        }
        let mut node = Self::running(name);
        node.as_made();
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

    /// Takes away what an earlier case left.
    fn as_made(&self) {
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
        self.until("it is Ready", |node| node.is_ready().then_some(()));
    }

    /// Runs a command on it, by a shell, and gives what it wrote. The test fails where the command
    /// does.
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

    /// The same for a command that may fail.
    pub fn try_exec(&self, command: &str) -> Output {
        run(&["exec", self.name, "sh", "-c", command])
    }

    /// What kubectl writes, as the administrator.
    pub fn kubectl(&self, arguments: &str) -> String {
        self.exec(&format!("kubectl --request-timeout=20s {arguments}"))
    }

    /// Gives the [`QUIET`] credentials this many days to live.
    pub fn age_quiet(&self, days_left: i64) {
        QUIET.iter().for_each(|name| self.age(name, days_left));
    }

    /// Whether Kubernetes says that the node is Ready.
    pub fn is_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    /// Since when the node has been Ready without a break.
    pub fn ready_since(&self) -> Option<String> {
        let path =
            "{range .status.conditions[?(@.type==\"Ready\")]}{.status} {.lastTransitionTime}{end}";
        let output = self.try_exec(&format!(
            "kubectl --request-timeout=5s get node {} -o jsonpath='{path}'",
            self.name
        ));
        String::from_utf8(output.stdout).unwrap().strip_prefix("True ").map(str::to_owned)
    }

    /// Has kubelet forget that containers ended lately: it lets the next one wait, longer each
    /// time, up to minutes.
    pub fn calm_kubelet(&self) {
        self.exec("systemctl restart kubelet");
        self.until("kubelet is healthy", |node| {
            node.try_exec("curl --fail --silent http://127.0.0.1:10248/healthz")
                .status
                .success()
                .then_some(())
        });
        self.until("it is Ready", |node| node.is_ready().then_some(()));
    }

    /// What a unit wrote to the journal since the case began.
    pub fn journal(&self, unit: &str) -> String {
        String::from_utf8(self.journal_as("cat", unit)).unwrap()
    }

    /// The same in another form of journalctl.
    pub fn journal_as(&self, form: &str, unit: &str) -> Vec<u8> {
        let command = format!(
            "journalctl --sync; journalctl --all --output {form} --unit {unit} --after-cursor '{}'",
            self.cursor
        );
        let output = self.try_exec(&command);
        assert!(output.status.success(), "{}: {command}: {}", self.name, both(&output));
        output.stdout
    }

    /// Installs kubecertd as the README says, with this configuration, and starts it.
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

    /// The same, by the time that its first schedule has come and gone: from then on it does more
    /// than look.
    pub fn install_settled(&self) {
        self.install(&in_seconds(3));
        let passed = |node: &Self| {
            node.status()
                .and_then(|status| status.last_pass)
                .is_some_and(|last| last.why.contains("by schedule"))
        };
        let mut asked = Instant::now();
        self.until("its first schedule has come", |node| {
            // On a machine that is busy it may have started later than that.
            if !passed(node) && asked.elapsed() > Duration::from_secs(25) {
                asked = Instant::now();
                // And then it would only look until the next occurrence, which is in a year: it
                // begins anew.
                node.exec("systemctl stop kubecertd && rm -f /var/lib/kubecertd/state.json");
                node.write("etc/kubecertd/kubecertd.toml", in_seconds(20));
                node.exec("systemctl start kubecertd");
            }
            passed(node).then_some(())
        });
    }

    /// What the daemon last said of itself.
    pub fn status(&self) -> Option<Status> {
        serde_json::from_slice(&std::fs::read(self.path("run/kubecertd/status.json")).ok()?)
            .unwrap()
    }

    /// Waits until the last pass is one that was made for this reason, which may be a part of the
    /// text.
    pub fn until_passed(&self, why: &str) -> LastPass {
        self.until(&format!("a pass {why:?}"), |node| {
            node.status()?.last_pass.filter(|last| last.why.contains(why))
        })
    }

    /// Has a pass made, as an operator does, and waits for its end.
    pub fn pass(&self) -> LastPass {
        let asked = common::now();
        // The beginning of a pass is known by the second.
        std::thread::sleep(Duration::from_secs(1));
        self.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
        self.until("a pass", |node| node.status()?.last_pass.filter(|last| last.began > asked))
    }

    /// Waits until kubecertd has written this to the journal.
    pub fn until_said(&self, text: &str) {
        self.until(&format!("kubecertd says {text:?}"), |node| {
            node.journal("kubecertd").contains(text).then_some(())
        });
    }

    /// Looks until there is something to be seen. When it takes too long, the journal of kubecertd
    /// tells why.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(
                began.elapsed() < LIMIT,
                "{}: in vain: {what}\n{}",
                self.name,
                self.journal("kubecertd")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills everything on it at once, as the end of its power does; what was written stays, synced
    /// or not. Lets somebody look at the disk as it lies there, then boots it and waits until its
    /// containers may start; not until it is Ready.
    pub fn power_cut(&mut self, look: impl FnOnce(&common::Node)) {
        // Here and not by the script, which would take some milliseconds to begin: when its pid 1
        // dies, so does all else.
        kill(self.pid, Signal::SIGKILL).unwrap();
        machine(&["cut", self.name]);
        look(&common::Node::at(disk(self.name)));
        machine(&["boot", self.name]);
        *self = Self { cursor: std::mem::take(&mut self.cursor), ..Self::running(self.name) };
    }

    /// Where it can be reached from this machine.
    pub fn address(&self) -> String {
        self.exec("hostname --ip-address").trim().to_owned()
    }

    /// Its name, which is its host name too.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The configuration for a schedule, a cron expression in UTC.
pub fn schedule(cron: &str) -> String {
    format!("[schedule]\ncron = \"{cron}\"\ntime_zone = \"UTC\"\n")
}

/// A schedule with its first occurrence in a few seconds, and no other for a year.
pub fn in_seconds(seconds: u64) -> String {
    schedule(
        &common::now()
            .plus(Duration::from_secs(seconds))
            .civil()
            .strftime("%-S %-M %-H %-d %-m *")
            .to_string(),
    )
}

/// Where a node's disk is.
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
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/machine"))
        .args(arguments)
        .output()
        .unwrap()
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
