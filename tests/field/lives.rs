//! Certificates of a short life, and the validity that kubeadm's configuration asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Node, now};

const CONFIG: &str = "etc/kubecertd/kubecertd.toml";
const KUBEADM: &str = "etc/kubernetes/kubeadm.yaml";
const TEN_DAYS: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
    certificateValidityPeriod: 240h0m0s\n";

/// A node that renews as its kubeadm does.
fn like_kubeadm(node: &Node) {
    node.write(CONFIG, "[renewal]\nvalidity = \"kubeadm\"\n");
}

fn days_left(node: &Node) -> i64 {
    (node.certificate("apiserver").not_after.seconds_since(now()) + 3_600) / 86_400
}

#[test]
fn validity_of_kubeadm_is_honoured_and_renewed_at_two_thirds() {
    let node = Node::due();
    like_kubeadm(&node);
    node.write(KUBEADM, TEN_DAYS);
    let run = node.run(&["renew", "--force", "--allow-shorter"]);
    assert_eq!((run.code, days_left(&node)), (0, 10), "{}", run.text);
    let serial = node.certificate("apiserver").serial;
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("Nothing to renew."), "not every night: {}", run.text);
    let state = |left: i64| {
        let at = (10 - left) * 86_400 + 3_600;
        let at = kubecertd::model::Timestamp::from_seconds(now().seconds() + at).to_string();
        let text = node.run(&["check", "--at", &at]).text;
        let line = text.lines().find(|line| line.starts_with("apiserver ")).unwrap();
        ["fresh", "due", "urgent"].into_iter().find(|state| line.contains(state)).unwrap()
    };
    assert_eq!([state(5), state(3), state(1)], ["fresh", "due", "urgent"]);
    assert_eq!(node.certificate("apiserver").serial, serial);
}

#[test]
fn missing_configuration_of_kubeadm_means_its_default() {
    let node = Node::due();
    like_kubeadm(&node);
    let run = node.run(&["renew", "apiserver"]);
    assert_eq!((run.code, days_left(&node)), (0, 365), "{}", run.text);
    let note = "renewed certificates are valid for kubeadm's default of 365 days: \
        /etc/kubernetes/kubeadm.yaml: does not exist";
    assert!(run.text.contains(note), "{}", run.text);
}

#[test]
fn configuration_of_kubeadm_that_others_can_write_says_nothing() {
    let node = Node::due();
    like_kubeadm(&node);
    node.write(KUBEADM, TEN_DAYS);
    fs::set_permissions(node.path(KUBEADM), fs::Permissions::from_mode(0o666)).unwrap();
    let run = node.run(&["renew", "apiserver"]);
    assert_eq!((run.code, days_left(&node)), (0, 365), "{}", run.text);
    assert!(run.text.contains("has mode 0666"), "{}", run.text);
}
