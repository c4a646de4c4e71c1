//! A node that was off until everything on it had expired: it comes back by itself, and so it does
//! where only some of it has.

use std::time::{Duration, Instant};

use super::common;
use super::common::kubelet::{CONF, CURRENT};
use super::harness::{LIMIT, Node};
use super::services::{assert_in_use, figure};

/// The power goes, everything has ended 30 days ago, and nobody is there.
pub fn a_node_on_which_everything_expired_comes_back(node: &mut Node) {
    node.install_settled();
    node.exec("systemctl stop kubecertd");
    node.age_all(-30);
    node.age("kubelet-client", -30);
    let link = node.kubelet_link();
    comes_back(node, "everything");
    assert_ne!(node.kubelet_link(), link);
    // kubelet is what starts the others, and nothing that waits for it is restarted in vain.
    let journal = node.journal("kubecertd");
    let said = journal.rsplit("Started kubecertd.service").next().unwrap();
    assert!(said.contains("kubelet-client: renewed until"), "{journal}");
    for service in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        assert!(!said.contains(&format!("{service}: it was restarted")), "{service}: {said}");
    }
}

/// kubelet's alone, on a node that runs, and then with the power gone.
pub fn a_kubelet_whose_own_certificate_expired_comes_back(node: &mut Node) {
    node.install_settled();
    let began = kubelet_starts(node);
    node.age("kubelet-client", -30);
    let pass = node.pass();
    assert_eq!(
        pass.renewed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["kubelet-client"],
        "{pass:?}"
    );
    node.until("kubelet has the new one", |node| node.is_ready().then_some(()));
    let again = node.pass();
    assert!(again.renewed.is_empty() && again.refreshed.is_empty(), "{again:?}");
    assert_eq!(kubelet_starts(node) - began, 1, "kubelet is restarted once");

    node.exec("systemctl stop kubecertd");
    node.age("kubelet-client", -30);
    comes_back(node, "kubelet's alone");

    // What kubeadm leaves where kubelet had its own one only later: kubernetes #99645.
    node.exec("systemctl stop kubecertd");
    node.embed_kubelet_certificate(-30);
    comes_back(node, "the one that kubelet.conf embeds");
    assert!(
        node.text(CONF).contains(&format!("client-certificate: /{CURRENT}")),
        "{}",
        node.text(CONF)
    );
}

/// The others, one kind after the other; kubelet works all the while.
pub fn what_expired_alone_comes_back(node: &mut Node) {
    node.install_settled();
    for (what, names) in [
        ("the kubeconfigs", &["admin.conf", "controller-manager.conf", "scheduler.conf"][..]),
        (
            "etcd's",
            &["etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"],
        ),
    ] {
        node.exec("systemctl stop kubecertd");
        names.iter().for_each(|name| node.age(name, -30));
        comes_back(node, what);
    }
    node.exec("systemctl stop kubecertd");
    node.remove("etc/kubernetes/pki/etcd/server.key");
    let mixed = node.read("etc/kubernetes/pki/apiserver.key");
    node.write("etc/kubernetes/pki/apiserver-kubelet-client.key", mixed);
    comes_back(node, "half of two pairs");
}

/// Nothing can be signed, which is said loudly; and nothing is.
pub fn under_an_authority_that_expired_nothing_is_signed(node: &mut Node) {
    node.install_settled();
    node.exec("systemctl stop kubecertd");
    node.age_all(-30);
    node.shorten_authority("etc/kubernetes/pki/ca", -20);
    let before = node.certificate("apiserver").serial;
    node.exec("systemctl start kubecertd");
    node.until("the alarm is raised", |node| {
        let alarms = node.try_exec("kubecertd alarms");
        String::from_utf8(alarms.stdout)
            .unwrap()
            .contains("CRITICAL expired (500.210) on system.certificate.ca,")
            .then_some(())
    });
    assert_eq!(node.certificate("apiserver").serial, before);
    assert!(node.exec("kubecertd check || true").contains("nothing is signed with it"));
}

/// Cuts the power, boots, and waits until all of it works again without anybody; says how long that
/// took from the moment when containers could be started.
fn comes_back(node: &mut Node, what: &str) -> Duration {
    node.power_cut(|_| ());
    let booted = Instant::now();
    node.until(&format!("it is Ready again: {what}"), |node| {
        (ready_again(node) && all_run(node)).then_some(())
    });
    let ready = common::now();
    let since = node.exec(
        "date --date=\"$(systemctl show containerd --property=ActiveEnterTimestamp --value)\" +%s",
    );
    let took = Duration::from_secs(
        u64::try_from(ready.seconds() - since.trim().parse::<i64>().unwrap()).unwrap(),
    );
    figure(&format!("{what} expired: Ready {} s after containerd was up", took.as_secs()));
    assert!(booted.elapsed() < LIMIT, "{took:?}");
    node.until("a pass has ended well", |node| {
        node.status()?.last_pass.filter(|last| {
            last.failed.is_empty() && last.not_refreshed.is_empty() && last.trouble.is_none()
        })
    });
    assert_in_use(node);
    node.exec("kubecertd check");
    took
}

/// The status of before the cut says Ready too: kubelet has to have said it since.
fn ready_again(node: &Node) -> bool {
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

fn all_run(node: &Node) -> bool {
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
