//! A controller of several that was off for long is not revived without an operator's word.

use crate::common::{ECDSA, Node};

fn expired(days_ago: i64, several: bool) -> Node {
    let node = Node::fresh(ECDSA);
    node.age_all(-days_ago);
    node.give_kubelet(-days_ago);
    node.point_kubelet();
    if several {
        let manifest = "etc/kubernetes/manifests/etcd.yaml";
        let text = node.text(manifest);
        let flag =
            text.lines().find(|line| line.contains("--initial-cluster=")).unwrap().to_owned();
        node.edit(
            manifest,
            &flag,
            &format!("{flag},cp2=https://10.0.0.2:2380,cp3=https://10.0.0.3:2380"),
        );
    }
    node
}

#[test]
fn one_of_several_waits_for_a_word_and_the_alarm_says_so() {
    let node = expired(40, true);
    let before = node.read("etc/kubernetes/pki/apiserver.crt");
    let link = node.kubelet_link();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 5, "{}", run.text);
    assert!(
        run.text.contains("it ended 39 days ago, and etcd has 3 members")
            && run.text.contains("kubecertd renew --revive"),
        "{}",
        run.text
    );
    assert_eq!(
        (node.read("etc/kubernetes/pki/apiserver.crt"), node.kubelet_link()),
        (before, link),
        "nothing was signed"
    );
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.text.contains("not-revived") && alarms.text.contains("kubeadm reset"),
        "{}",
        alarms.text
    );
    assert_eq!(node.run(&["renew", "--force"]).code, 5, "--force is not that word");

    let run = node.run(&["renew", "--revive"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.kubelet_files().len(), 3, "the link, the old one and the new one");
    let alarms = node.run(&["alarms"]);
    assert!(!alarms.text.contains("not-revived"), "{}", alarms.text);
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn within_thirty_days_and_alone_it_comes_back_by_itself() {
    for node in [expired(20, true), expired(400, false)] {
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert_eq!(node.run(&["check"]).code, 0);
    }
}

/// The manifest of a cluster's first node names only itself: how many there were is remembered from
/// when etcd was asked.
#[test]
fn the_first_of_several_is_known_by_what_etcd_said() {
    let node = expired(40, false);
    node.write("var/lib/kubecertd/services.json", "{\"format\": 1, \"etcd_members\": 3}");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 5, "{}", run.text);
    assert!(run.text.contains("etcd has 3 members"), "{}", run.text);
}
