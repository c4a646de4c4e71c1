//! A node with expired certificates, all of them or some, recovers by itself.

use std::time::{Duration, Instant};

use super::common;
use super::common::kubelet::{CONF, CURRENT};
use super::harness::{Node, WAIT_TIMEOUT};
use super::root_renewal::wait_until_published;
use super::services::{assert_in_use, print_figure};

/// All certificates expired 30 days ago, and the node boots after a power cut.
pub fn fully_expired_node(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    node.age_all(-30);
    node.age("kubelet-client", -30);
    let link = node.kubelet_link();
    assert_recovers(node, "everything");
    assert_ne!(node.kubelet_link(), link);
    // kubelet starts the other services. Services that wait for kubelet are not restarted.
    let journal = node.journal("kubecertd");
    let since_boot = journal.rsplit("Started kubecertd.service").next().unwrap();
    assert!(since_boot.contains("kubelet-client: renewed until"), "{journal}");
    for service in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let restart = format!("{service}: restarted,");
        assert!(!since_boot.contains(&restart), "{service}: {since_boot}");
    }
}

/// Only kubelet's own certificate expired: on a running node, and then after a power cut.
pub fn expired_kubelet_certificate(node: &mut Node) {
    node.install_past_first_pass();
    let starts = kubelet_starts(node);
    node.age("kubelet-client", -30);
    let pass = node.request_pass();
    assert_eq!(
        pass.renewed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["kubelet-client"],
        "{pass:?}"
    );
    node.wait_for("kubelet uses the new certificate", |node| node.is_ready().then_some(()));
    let again = node.request_pass();
    assert!(again.renewed.is_empty() && again.refreshed.is_empty(), "{again:?}");
    assert_eq!(kubelet_starts(node) - starts, 1, "kubelet is restarted once");

    node.exec("systemctl stop kubecertd");
    node.age("kubelet-client", -30);
    assert_recovers(node, "kubelet's alone");

    // kubeadm leaves this where kubelet got its own certificate later: kubernetes #99645.
    node.exec("systemctl stop kubecertd");
    node.embed_kubelet_certificate(-30);
    assert_recovers(node, "the one that kubelet.conf embeds");
    assert!(
        node.text(CONF).contains(&format!("client-certificate: /{CURRENT}")),
        "{}",
        node.text(CONF)
    );
}

/// The other certificates expired, one kind after the other, with a healthy kubelet.
pub fn partly_expired_node(node: &mut Node) {
    node.install_past_first_pass();
    for (kind, names) in [
        ("the kubeconfigs", &["admin.conf", "controller-manager.conf", "scheduler.conf"][..]),
        (
            "etcd's",
            &["etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"],
        ),
    ] {
        node.exec("systemctl stop kubecertd");
        names.iter().for_each(|name| node.age(name, -30));
        assert_recovers(node, kind);
    }
    node.exec("systemctl stop kubecertd");
    node.remove("etc/kubernetes/pki/etcd/server.key");
    let mixed = node.read("etc/kubernetes/pki/apiserver.key");
    node.write("etc/kubernetes/pki/apiserver-kubelet-client.key", mixed);
    assert_recovers(node, "half of two pairs");
}

/// An expired CA signs nothing, and an alarm is raised.
pub fn expired_ca(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    node.age_all(-30);
    node.shorten_authority("etc/kubernetes/pki/ca", -20);
    let before = node.certificate("apiserver").serial;
    node.exec("systemctl start kubecertd");
    node.wait_for_alarm("CRITICAL expired (500.210) on system.certificate.ca,");
    assert_eq!(node.certificate("apiserver").serial, before);
    assert!(node.exec("kubecertd check || true").contains("nothing is signed with it"));
}

/// All CAs have expired, as they do ten years after `kubeadm init`, and everything that they
/// signed: nothing on the node accepts anything. One command renews them, and the daemon does the
/// rest.
pub fn expired_cas(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    node.age_all(-30);
    node.age("kubelet-client", -30);
    node.expire_cas(-20);
    node.power_cut(|_| ());
    node.wait_for_alarm("CRITICAL expired (500.210) on system.certificate.ca,");
    let refused = node.try_exec("kubectl --request-timeout=20s get nodes");
    assert!(!refused.status.success(), "{refused:?}");

    let began = Instant::now();
    let renewed = node.exec("kubecertd ca renew --offline");
    assert_eq!(renewed.matches("renewed until ").count(), 3, "{renewed}");
    node.wait_for("it is Ready again", |node| {
        (is_ready_since_boot(node) && are_all_healthy(node)).then_some(())
    });
    print_figure(&format!("all expired CAs renewed: Ready after {} s", began.elapsed().as_secs()));
    node.wait_for("a pass without failures", |node| {
        node.status()?.last_pass.filter(|last| {
            last.failed.is_empty() && last.not_refreshed.is_empty() && last.trouble.is_none()
        })
    });
    assert_in_use(node);
    node.exec("kubecertd check");
    wait_until_published(node);
}

/// Cuts the power, boots, and waits until the node works again by itself. Prints and returns the
/// time from the moment when containers could be started.
fn assert_recovers(node: &mut Node, what: &str) -> Duration {
    node.power_cut(|_| ());
    let booted = Instant::now();
    node.wait_for(&format!("it is Ready again: {what}"), |node| {
        (is_ready_since_boot(node) && are_all_healthy(node)).then_some(())
    });
    let ready = common::now();
    let since = node.exec(
        "date --date=\"$(systemctl show containerd --property=ActiveEnterTimestamp --value)\" +%s",
    );
    let took = Duration::from_secs(
        u64::try_from(ready.seconds() - since.trim().parse::<i64>().unwrap()).unwrap(),
    );
    print_figure(&format!("{what} expired: Ready {} s after containerd was up", took.as_secs()));
    assert!(booted.elapsed() < WAIT_TIMEOUT, "{took:?}");
    node.wait_for("a pass without failures", |node| {
        node.status()?.last_pass.filter(|last| {
            last.failed.is_empty() && last.not_refreshed.is_empty() && last.trouble.is_none()
        })
    });
    assert_in_use(node);
    node.exec("kubecertd check");
    took
}

/// Whether kubelet has reported Ready since the boot. The status from before the cut is Ready too.
pub fn is_ready_since_boot(node: &Node) -> bool {
    let path =
        "{range .status.conditions[?(@.type==\"Ready\")]}{.status} {.lastHeartbeatTime}{end}";
    let shown = node.try_exec(&format!(
        "kubectl --request-timeout=5s get node {} -o jsonpath='{path}'",
        node.name()
    ));
    let shown = String::from_utf8(shown.stdout).unwrap();
    let Some(at) = shown.strip_prefix("True ") else { return false };
    let since = node.exec(
        "date --date=\"$(systemctl show containerd \
        --property=ActiveEnterTimestamp --value)\" --utc +%Y-%m-%dT%H:%M:%SZ",
    );
    at.trim() > since.trim()
}

fn are_all_healthy(node: &Node) -> bool {
    node.try_exec(
        "curl --fail --silent --insecure https://127.0.0.1:6443/readyz >/dev/null && curl --fail \
         --silent http://127.0.0.1:2381/health >/dev/null &&
         curl --fail --silent --insecure https://127.0.0.1:10257/healthz >/dev/null && curl --fail \
         --silent --insecure https://127.0.0.1:10259/healthz >/dev/null",
    )
    .status
    .success()
}

fn kubelet_starts(node: &Node) -> usize {
    node.exec("journalctl --unit kubelet --output cat")
        .lines()
        .filter(|line| line.starts_with("Started kubelet"))
        .count()
}
