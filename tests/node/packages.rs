//! The package on a node: installation, upgrade, removal and purge change nothing else on the node;
//! and the timer instead of the daemon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Node, schedule_in};
use super::services::{RESTARTED_SERVICES, changed_processes, processes};

const CONFIGURATION: &str = "etc/kubecertd/kubecertd.toml";

pub fn installation_upgrade_and_purge(node: &mut Node) {
    let (first, second) = (package(node, "0.1.0"), package(node, "0.2.0"));
    let (files, before) = (files_named_kubecertd(node), processes(node));
    let output = node.exec(&format!("dpkg --install {first} 2>&1"));
    assert_eq!(daemon_state(node), "enabled active", "{output}");
    assert!(!output.contains("kubecertd-once"), "a disabled unit is not mentioned: {output}");
    node.wait_for_pass("first start on this node");
    assert_eq!(
        changed_processes(&before, &processes(node)),
        Vec::<String>::new(),
        "no service of Kubernetes was restarted"
    );
    node.exec(
        "kubecertd config check && journalctl --list-catalog | grep --quiet 'kubecertd manages'",
    );

    node.edit(CONFIGURATION, "#keep = 10", "keep = 7");
    let edited = node.read(CONFIGURATION);
    node.age("front-proxy-client", 10);
    node.exec("kubecertd renew front-proxy-client");
    let (backups, before) = (node.backups(), processes(node));
    assert!(!backups.is_empty());
    // dpkg would fail if it asked about the configuration: there is no terminal.
    for (package, version) in [(&second, "0.2.0-1"), (&first, "0.1.0-1")] {
        let old = main_pid(node);
        node.exec(&format!("dpkg --install {package}"));
        assert_eq!(node.exec("dpkg-query --show --showformat '${Version}' kubecertd"), version);
        assert_eq!(daemon_state(node), "enabled active");
        assert_ne!(main_pid(node), old, "restarted for {version}");
        assert_eq!((node.read(CONFIGURATION), node.backups()), (edited.clone(), backups.clone()));
    }

    node.exec(&format!("systemctl stop kubecertd && dpkg --install {second}"));
    assert_eq!(
        daemon_state(node),
        "enabled inactive",
        "an upgrade does not start a stopped daemon"
    );

    // As in the middle of a rotation of the root CA.
    let removed = node.exec(
        "systemctl start kubecertd; cd /var/lib/kubecertd
         echo '{\"intent\":{\"document\":\"\",\"signatures\":[]}}' >rotation.json
         dpkg --remove kubecertd 2>&1; rm rotation.json",
    );
    assert!(removed.contains("is left as it is now"), "{removed}");
    assert_eq!(node.try_exec("systemctl is-active kubecertd").status.code(), Some(3));
    for gone in [
        "usr/sbin/kubecertd",
        "usr/lib/systemd/system/kubecertd.service",
        "usr/lib/systemd/system/kubecertd-once.timer",
    ] {
        assert!(!node.path(gone).exists(), "{gone}");
    }
    assert_eq!((node.read(CONFIGURATION), node.backups()), (edited.clone(), backups.clone()));
    assert!(node.path("var/lib/kubecertd/state.json").exists());

    node.exec(&format!("dpkg --install {first}"));
    assert_eq!(daemon_state(node), "enabled active", "installed again");
    assert_eq!((node.read(CONFIGURATION), node.backups()), (edited, backups));

    node.exec(
        "systemctl disable --quiet --now kubecertd && systemctl enable --quiet --now \
        kubecertd-once.timer",
    );
    node.exec("dpkg --purge kubecertd");
    let left: Vec<_> = files_named_kubecertd(node).difference(&files).cloned().collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!node.exec("journalctl --list-catalog").contains("kubecertd"));
    assert_eq!(
        node.exec(
            "systemctl list-unit-files --no-legend 'kubecertd*'; pgrep --exact kubecertd || true"
        ),
        ""
    );
    assert_eq!(
        changed_processes(&before, &processes(node)),
        Vec::<String>::new(),
        "no service of Kubernetes was restarted"
    );
}

/// kubeadm renewed the files, and the services still use the old ones. The installation of
/// kubecertd restarts nothing; the first scheduled pass does.
pub fn stale_services(node: &mut Node) {
    let package = package(node, "0.1.0");
    node.reset_kubelet_backoff();
    node.exec("kubeadm certs renew all");
    let before = processes(node);
    node.write("etc/kubecertd/kubecertd.d/soon.toml", schedule_in(90));
    node.exec(&format!("dpkg --install {package}"));
    let pass = node.wait_for_pass("first start on this node");
    assert!(pass.failed.is_empty() && pass.renewed.is_empty(), "{pass:?}");
    let shown = node.exec("kubecertd check --output wide || true");
    assert!(shown.contains("stale"), "{shown}");
    assert_eq!(changed_processes(&before, &processes(node)), Vec::<String>::new());
    let pass = node.wait_for_pass("by schedule");
    assert!(pass.failed.is_empty(), "{pass:?}");
    assert_eq!(changed_processes(&before, &processes(node)), RESTARTED_SERVICES);
}

/// The timer makes one pass a day without a daemon, and makes up for a missed day.
pub fn timer_instead_of_daemon(node: &mut Node) {
    let package = package(node, "0.1.0");
    node.exec(&format!("dpkg --install {package}"));
    assert_eq!(unit_state(node, "kubecertd-once.timer"), "disabled inactive");
    node.wait_for_pass("first start on this node");
    node.exec("systemctl disable --quiet --now kubecertd");

    node.age("front-proxy-client", 10);
    let old = node.serial("front-proxy-client");
    // As if it had last run two days ago, but without the random delay.
    node.exec("touch --date='2 days ago' /var/lib/systemd/timers/stamp-kubecertd-once.timer");
    node.write(
        "etc/systemd/system/kubecertd-once.timer.d/now.conf",
        "[Timer]\nRandomizedDelaySec=0\n",
    );
    node.exec("systemctl daemon-reload && systemctl enable --quiet --now kubecertd-once.timer");
    node.wait_for("the timer renews", |node| {
        (node.serial("front-proxy-client") != old).then_some(())
    });
    node.wait_for("the service stops", |node| {
        (unit_state(node, "kubecertd-once.service") == "static inactive").then_some(())
    });
    assert_eq!(
        node.exec("systemctl show kubecertd-once.service --property Result --value").trim(),
        "success"
    );
    assert!(
        node.journal("kubecertd-once").contains("front-proxy-client: renewed"),
        "{}",
        node.journal("kubecertd-once")
    );

    node.exec(&format!("dpkg --install {package}"));
    assert_eq!(
        (daemon_state(node), unit_state(node, "kubecertd-once.timer")),
        ("disabled inactive".to_owned(), "enabled active".to_owned())
    );
    node.exec(&format!("dpkg --remove kubecertd && dpkg --install {package}"));
    assert_eq!(
        (daemon_state(node), unit_state(node, "kubecertd-once.timer")),
        ("disabled inactive".to_owned(), "enabled active".to_owned())
    );
    node.exec("systemctl start kubecertd");
    assert_eq!(unit_state(node, "kubecertd-once.timer"), "enabled inactive", "one of the two");
    node.exec("systemctl start kubecertd-once.timer");
    // A daemon in the middle of a pass takes a moment to stop.
    node.wait_for("the daemon stops", |node| {
        (daemon_state(node) == "disabled inactive").then_some(())
    });
}

/// Builds the package of the program under test with this version. Returns its path on the node.
pub fn package(node: &Node, version: &str) -> String {
    let programs = tempfile::tempdir().unwrap();
    let program = program_of_version(programs.path(), version);
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packages");
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build");
    let run = Command::new(build)
        .args(["--version", version, "--program"])
        .arg(program)
        .arg("--output")
        .arg(&output)
        .arg("deb")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let made = String::from_utf8(run.stdout).unwrap();
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join(made.trim());
    std::fs::copy(made, node.path(&format!("var/tmp/{version}.deb"))).unwrap();
    format!("/var/tmp/{version}.deb")
}

/// The program under test. One of another version is a copy with that number in it, which it
/// reports and prints: a second build would take minutes.
fn program_of_version(dir: &Path, version: &str) -> PathBuf {
    let (program, own) =
        (PathBuf::from(env!("CARGO_BIN_EXE_kubecertd")), env!("CARGO_PKG_VERSION"));
    if version == own {
        return program;
    }
    assert_eq!(version.len(), own.len(), "nothing else in the program may move");
    let copy = dir.join("kubecertd");
    std::fs::copy(program, &copy).unwrap();
    let replacement = format!("s/{}/{version}/g", own.replace('.', "\\."));
    let run = Command::new("sed").env("LC_ALL", "C").args(["-i", &replacement]).arg(&copy).status();
    assert!(run.unwrap().success());
    let shown = Command::new(&copy).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), format!("kubecertd {version}\n"));
    copy
}

fn daemon_state(node: &Node) -> String {
    unit_state(node, "kubecertd.service")
}

/// Returns whether a unit is enabled and active, in the words of systemctl.
fn unit_state(node: &Node, unit: &str) -> String {
    node.exec(&format!("echo $(systemctl is-enabled {unit}) $(systemctl is-active {unit})"))
        .trim()
        .to_owned()
}

fn main_pid(node: &Node) -> String {
    node.exec("systemctl show kubecertd --property MainPID --value")
}

/// Returns all files with the name of the program in their name, without those that are named after
/// the node.
fn files_named_kubecertd(node: &Node) -> BTreeSet<String> {
    let found = node.exec(&format!(
        "find / /run -xdev -path /proc -prune -o -iname '*kubecertd*' ! -name '*{}*' -print",
        node.name()
    ));
    found.lines().map(str::to_owned).collect()
}
