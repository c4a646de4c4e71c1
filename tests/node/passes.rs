//! What makes a pass, and what a whole one does: every credential renewed, and every server and
//! client goes on working.

use std::time::{Duration, Instant};

use super::harness::{Node, in_seconds};
use super::meter::Meter;
use super::services::{RESTARTED, assert_in_use, changed, figure, processes};

/// The ten credentials that kubeadm 1.20 makes and kubecertd renews.
pub const ALL: [&str; 10] = [
    "admin.conf",
    "apiserver",
    "apiserver-etcd-client",
    "apiserver-kubelet-client",
    "controller-manager.conf",
    "etcd/healthcheck-client",
    "etcd/peer",
    "etcd/server",
    "front-proxy-client",
    "scheduler.conf",
];

fn sorted<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// Which credentials end when a renewed one should, in a year.
fn renewed(node: &Node) -> Vec<String> {
    let far = super::common::now().plus(kubecertd::model::days(364));
    sorted(
        node.usable_credentials()
            .into_iter()
            .filter(|(_, stored)| stored.certificate.not_after > far)
            .map(|(name, _)| name),
    )
}

/// By the schedule, while a client asks the API server all the time: everything is renewed, every
/// service works with it, and no request fails.
pub fn all_ten_that_are_due_are_renewed_and_in_use(node: &mut Node) {
    node.calm_kubelet();
    node.age_all(10);
    let old: Vec<_> = ALL.map(|name| node.serial(name)).into();
    let (ready, before) = (node.ready_since(), processes(node));
    node.install(&in_seconds(20));
    let first = node.until_passed("first start");
    assert!(first.renewed.is_empty(), "the first start only looks: {first:?}");
    assert_eq!(changed(&before, &processes(node)), Vec::<String>::new(), "and restarts nothing");
    let meter = Meter::start(&node.address());
    let began = Instant::now();
    let pass = node.until_passed("by schedule");
    let took = began.elapsed();
    // Whatever comes later is part of it too.
    std::thread::sleep(Duration::from_secs(5));
    let figures = meter.stop();
    figure(&format!("all renewed and in use after {:.1} s: {figures}", took.as_secs_f64()));

    assert_eq!(sorted(&pass.renewed), ALL);
    assert!(
        pass.failed.is_empty() && pass.waiting.is_empty() && pass.not_refreshed.is_empty(),
        "{pass:?}"
    );
    let journal = node.journal("kubecertd");
    for (name, old) in ALL.iter().zip(&old) {
        assert_ne!(node.serial(name), *old, "{name}");
        assert!(
            journal.contains(&format!("{name}: renewed until ")),
            "{name} is not in the journal: {journal}"
        );
    }
    assert!(
        !journal.contains("without a trial"),
        "each client certificate was tried at its server: {journal}"
    );
    assert_eq!(renewed(node), ALL);
    assert_in_use(node);
    assert!(node.kubectl("get nodes").contains(" Ready "));
    assert_eq!(node.ready_since(), ready, "it was Ready without a break");
    assert_eq!(figures.failed, 0, "{figures}");
    let after = processes(node);
    assert_eq!(
        changed(&before, &after),
        RESTARTED,
        "neither etcd, nor the API server, nor kubelet"
    );

    let shown = node.exec("kubecertd check --output wide");
    assert!(!shown.contains("stale"), "{shown}");
    let again = node.pass();
    assert!(
        again.renewed.is_empty() && again.refreshed.is_empty(),
        "a second pass does nothing: {again:?}"
    );
    assert_eq!(changed(&after, &processes(node)), Vec::<String>::new());
}

pub fn a_changed_file_makes_a_pass(node: &mut Node) {
    node.install_settled();
    node.age("apiserver-etcd-client", 10);
    let pass = node.until_passed("changed");
    assert_eq!(sorted(&pass.renewed), ["apiserver-etcd-client"]);
    assert!(pass.why.contains("/etc/kubernetes/pki/apiserver-etcd-client.crt"), "{}", pass.why);
    node.assert_whole();
    node.assert_accepted();
}

pub fn a_signal_makes_a_pass(node: &mut Node) {
    node.install_settled();
    node.age("front-proxy-client", 10);
    node.age("admin.conf", 2);
    let pass = node.pass();
    assert_eq!(
        (pass.why.as_str(), sorted(&pass.renewed)),
        ("asked for by a signal", sorted(["admin.conf", "front-proxy-client"]))
    );
    node.assert_accepted();
    assert!(node.pass().renewed.is_empty(), "nothing is left to do");
}
