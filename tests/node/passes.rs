//! What makes a pass, and what a whole one does: every credential renewed, and every server and client goes on working.

use super::harness::{Node, in_seconds};

/// The ten credentials that kubeadm 1.20 makes and kubecertd renews.
const ALL: [&str; 10] = [
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
    sorted(node.whole().into_iter().filter(|(_, stored)| stored.certificate.not_after > far).map(|(name, _)| name))
}

pub fn all_ten_that_are_due_are_renewed_by_the_schedule(node: &mut Node) {
    let kubelet = "systemctl show kubelet --property MainPID --property NRestarts";
    let (ready, running) = (node.ready_since(), node.exec(kubelet));
    node.age_all(10);
    let old: Vec<_> = ALL.map(|name| node.serial(name)).into();

    node.install(&in_seconds(10));
    let first = node.until_passed("first start");
    assert!(first.renewed.is_empty(), "the first start only looks: {first:?}");
    let pass = node.until_passed("by schedule");
    assert_eq!(sorted(&pass.renewed), ALL);
    assert!(pass.failed.is_empty() && pass.waiting.is_empty(), "{pass:?}");
    let journal = node.journal("kubecertd");
    for (name, old) in ALL.iter().zip(&old) {
        assert_ne!(node.serial(name), *old, "{name}");
        assert!(journal.contains(&format!("{name}: renewed until ")), "{name} is not in the journal: {journal}");
    }
    assert_eq!(renewed(node), ALL);
    node.assert_whole();

    node.until_serving("etcd", "etcd/server");
    node.until_serving("etcd's peers", "etcd/peer");
    node.until_serving("kube-apiserver", "apiserver");
    node.assert_accepted();
    assert!(node.kubectl("get nodes").contains(" Ready "));
    node.kubectl("delete pod --namespace kube-system --ignore-not-found nobody");
    assert_eq!(node.ready_since(), ready, "it was Ready without a break");
    assert_eq!(node.exec(kubelet), running, "kubelet was not restarted");
    assert_eq!(node.exec("kubecertd check >/dev/null; echo $?").trim(), "0");
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
    node.age("scheduler.conf", 2);
    let pass = node.pass();
    assert_eq!((pass.why.as_str(), sorted(&pass.renewed)), ("asked for by a signal", sorted(["front-proxy-client", "scheduler.conf"])));
    node.assert_accepted();
    assert!(node.pass().renewed.is_empty(), "nothing is left to do");
}
