//! The sandbox of the shipped unit confines the daemon and permits everything that it does.

use super::harness::{CREDENTIALS_WITHOUT_RESTART, Node, schedule_in};
use super::services::{RESTARTED_SERVICES, assert_in_use, changed_processes, processes};

/// The highest exposure level that `systemd-analyze security` may print.
const MAX_EXPOSURE: f64 = 2.7;

/// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_NET_ADMIN and CAP_SYS_PTRACE.
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 19;

/// Returns a line of the daemon's `/proc/PID/status`.
fn status_line(node: &Node, key: &str) -> String {
    let pid = node.exec("systemctl show --property MainPID --value kubecertd");
    let status = node.exec(&format!("cat /proc/{}/status", pid.trim()));
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().to_owned()
}

/// Whether the daemon can create a file there. Tries it in its mount namespace with all
/// capabilities.
pub(super) fn can_write(node: &Node, dir: &str) -> bool {
    let pid = node.exec("systemctl show --property MainPID --value kubecertd");
    let file = format!("{dir}/written-by-a-test");
    let tried = node.try_exec(&format!(
        "nsenter --target {} --mount sh -c 'echo >{file} && rm {file}'",
        pid.trim()
    ));
    let text = String::from_utf8(tried.stderr).unwrap();
    assert!(tried.status.success() || text.contains("Read-only file system"), "{dir}: {text}");
    tried.status.success()
}

/// Everything due is renewed and in use under the unit, and the daemon can do little else.
pub fn confined_daemon(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.age_all(10);
    // A separate owner, as some sites give etcd. It has to be kept.
    node.exec("chown -R 1234:1234 /etc/kubernetes/pki/etcd && chmod 0700 /etc/kubernetes/pki/etcd");
    let before = processes(node);
    node.install(&schedule_in(20));
    let exposure = node.exec("systemd-analyze security --no-pager kubecertd | tail -n 1");
    let figure: f64 = exposure.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(figure <= MAX_EXPOSURE, "{exposure}");
    let pass = node.wait_for_pass("by schedule");
    assert_eq!(pass.renewed.len(), node.all_credentials().len(), "{pass:?}");
    assert!(
        pass.failed.is_empty() && pass.waiting.is_empty() && pass.not_refreshed.is_empty(),
        "{pass:?}"
    );
    assert_in_use(node);
    assert_eq!(changed_processes(&before, &processes(node)), RESTARTED_SERVICES);
    assert_eq!(
        node.exec("stat -c %u:%g:%a /etc/kubernetes/pki/etcd/server.key").trim(),
        "1234:1234:600"
    );
    let journal = node.journal("kubecertd");
    assert!(!journal.contains("not permitted") && !journal.contains("denied"), "{journal}");

    for dir in [
        "/etc",
        "/etc/kubecertd",
        "/usr/sbin",
        "/root",
        "/home",
        "/var/lib",
        "/var/lib/kubelet",
        "/opt",
        "/boot",
    ] {
        assert!(!can_write(node, dir), "{dir}");
    }
    for dir in [
        "/etc/kubernetes",
        "/etc/kubernetes/pki",
        "/var/lib/kubecertd",
        "/var/lib/kubelet/pki",
        "/run/kubecertd",
    ] {
        assert!(can_write(node, dir), "{dir}");
    }
    let tried = node.try_exec(
        "nsenter --target $(systemctl show --property MainPID --value \
        kubecertd) --mount ls /dev/kmsg /dev/vda",
    );
    assert!(!tried.status.success(), "it sees devices");
    for key in ["CapEff", "CapBnd", "CapPrm"] {
        assert_eq!(
            u64::from_str_radix(&status_line(node, key), 16).unwrap(),
            CAPABILITIES,
            "{key}"
        );
    }
    for (key, value) in [
        ("CapAmb", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(status_line(node, key), value, "{key}");
    }
    node.exec("systemctl stop kubecertd");
    assert!(node.status().is_some(), "the last status stays after the stop");
    assert_eq!(node.exec("stat -c %a /var/lib/kubecertd").trim(), "700");
}

/// The configuration with files outside of the directories that the unit permits.
const OUTSIDE_FILES: &str = r#"
[[credential]]
name = "own"
ca = "ca"
certificate = "/srv/pki/own.crt"
key = "/srv/pki/own.key"
[metrics]
textfile = "/srv/metrics/kubecertd.prom"
listen = "unix:/run/kubecertd/metrics.sock"
[[alarms.command]]
name = "site"
run = ["/bin/sh", "-c", "cat >>/usr/local/told"]
"#;

/// Files outside need a drop-in. Without it the error names the cause, `config check` prints it,
/// and with it the files are written.
pub fn files_outside(node: &mut Node) {
    node.exec(
        "rm -rf /srv/* /usr/local/told /etc/systemd/system/kubecertd.service.d; mkdir -p \
        /srv/pki /srv/metrics",
    );
    node.age("apiserver-kubelet-client", 10);
    node.exec(
        "cd /etc/kubernetes/pki && for kind in crt key; do cp -a \
        apiserver-kubelet-client.$kind /srv/pki/own.$kind; done",
    );
    node.age(CREDENTIALS_WITHOUT_RESTART[0], 10);
    node.install_past_first_pass();
    assert!(
        !node.exec("kubecertd config check").contains("ReadWritePaths"),
        "no file is outside yet"
    );
    node.write(
        "etc/kubecertd/kubecertd.toml",
        format!("{}{OUTSIDE_FILES}", schedule_in(12 * 3_600)),
    );
    node.exec("systemctl reload kubecertd");
    let pass = node.request_pass();
    assert!(pass.failed.len() == 1 && pass.failed[0].0.as_str() == "own", "{pass:?}");
    let why = &pass.failed[0].1;
    assert!(
        why.contains("/srv/pki/")
            && why.contains("Read-only file system")
            && why.contains("kubecertd config check"),
        "{why}"
    );
    assert!(
        node.journal("kubecertd").contains("/srv/metrics/.kubecertd.prom.new: cannot "),
        "{}",
        node.journal("kubecertd")
    );

    // The sandbox does not confine the alarm command of the site.
    node.wait_for("the alarm command has run", |node| {
        std::fs::read_to_string(node.path("usr/local/told"))
            .ok()?
            .contains("renewal-failed")
            .then_some(())
    });

    let output = node.exec("kubecertd config check");
    let drop_in = &output[output.find("[Service]").unwrap()..];
    assert_eq!(drop_in, "[Service]\nReadWritePaths=-/srv/metrics\nReadWritePaths=-/srv/pki\n");
    let command =
        output.split("put this into ").nth(1).and_then(|rest| rest.split_once(", and ")).unwrap();
    let restart = command.1.split(':').next().unwrap();
    assert_eq!(restart, "systemctl daemon-reload && systemctl restart kubecertd");
    node.exec("mkdir -p /etc/systemd/system/kubecertd.service.d");
    node.write(command.0.trim_start_matches('/'), drop_in);
    node.exec(restart);
    assert!(
        !node.exec("kubecertd config check").contains("ReadWritePaths"),
        "the drop-in is in force"
    );
    node.wait_for("it has started", |node| {
        node.status().filter(|status| status.line != super::harness::PASS_IN_PROGRESS)
    });
    let pass = node.request_pass();
    assert!(pass.failed.is_empty(), "{pass:?}");
    assert!(
        !node
            .exec("kubecertd check || true")
            .lines()
            .any(|line| line.starts_with("own ") && line.contains("due"))
    );
    node.wait_for("the metrics are there", |node| {
        node.path("srv/metrics/kubecertd.prom").exists().then_some(())
    });
    let asked = node.exec(
        "curl --silent --fail --unix-socket /run/kubecertd/metrics.sock http://kubecertd/metrics",
    );
    assert!(asked.contains("kubecertd_last_pass_timestamp_seconds"), "{asked}");
    node.exec("rm -rf /srv/pki /srv/metrics /usr/local/told");
}

/// A node that was reset or restored has another /etc/kubernetes than the one that the unit opened.
pub fn replaced_directory(node: &mut Node) {
    node.install_past_first_pass();
    node.exec(
        "cp -a /etc/kubernetes /etc/kubernetes.new && mv /etc/kubernetes /etc/kubernetes.old && mv \
         /etc/kubernetes.new /etc/kubernetes",
    );
    // No running service uses this one.
    node.age("admin.conf", 10);
    node.wait_for_log("is no longer the directory that the unit opened to kubecertd");
    let pass = node.wait_for("it is renewed", |node| {
        node.status()?.last_pass.filter(|pass| !pass.renewed.is_empty())
    });
    assert_eq!(pass.renewed[0].as_str(), "admin.conf");
    assert!(node.path("etc/kubernetes.old").exists());
    node.exec(
        "systemctl stop kubecertd && rm -r /etc/kubernetes && mv /etc/kubernetes.old \
        /etc/kubernetes",
    );
}

/// kubelet.conf points into the directory of kubelet's certificates. Where that is removed, the
/// daemon makes it and the certificate again: while it runs, and where it was missing at its start.
pub fn removed_kubelet_directory(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("rm -rf /var/lib/kubelet/pki && (systemctl restart kubelet || true)");
    node.wait_for_log("is no longer the directory that the unit opened to kubecertd");
    assert_kubelet_is_back(node);
    assert!(can_write(node, "/var/lib/kubelet/pki") && !can_write(node, "/var/lib/kubelet"));

    node.exec(
        "systemctl stop kubecertd && rm -rf /var/lib/kubelet/pki && (systemctl restart kubelet || \
         true) && systemctl start kubecertd",
    );
    assert_kubelet_is_back(node);
    node.exec("systemctl stop kubecertd");
}

fn assert_kubelet_is_back(node: &Node) {
    node.wait_for("kubelet's certificate is there", |node| {
        node.try_exec("test -s /var/lib/kubelet/pki/kubelet-client-current.pem")
            .status
            .success()
            .then_some(())
    });
    assert_eq!(node.exec("stat -c %u:%g:%a /var/lib/kubelet/pki").trim(), "0:0:755");
    node.wait_for("kubelet runs", |node| {
        node.try_exec("curl --silent --fail http://127.0.0.1:10248/healthz")
            .status
            .success()
            .then_some(())
    });
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
}
