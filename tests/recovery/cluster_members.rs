//! A long expired control-plane node of several is renewed only with `--include-long-expired`.

use crate::common::{ECDSA, Node};

fn expired_node(days_ago: i64, several: bool) -> Node {
    let node = Node::fresh(ECDSA);
    node.age_all(-days_ago);
    node.add_kubelet_certificate(-days_ago);
    node.link_kubelet_conf();
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
fn long_expired_member_waits_for_flag_and_raises_alarm() {
    let node = expired_node(40, true);
    let before = node.read("etc/kubernetes/pki/apiserver.crt");
    let link = node.kubelet_link();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 5, "{}", run.text);
    assert!(
        run.text.contains("it expired 39 days ago, and etcd has 3 members")
            && run.text.contains("kubecertd renew --include-long-expired"),
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
    let at = |text: &str| alarms.text.find(text).unwrap_or_else(|| panic!("{}", alarms.text));
    assert!(at("MAJOR not-revived") < at("CRITICAL expired"), "{}", alarms.text);
    let (others, commands) = (
        alarms.text.matches("See the alarm not-revived, which says what to do.").count(),
        alarms.text.matches("CRITICAL expired").count(),
    );
    assert_eq!(others, commands, "only one says what to do: {}", alarms.text);
    assert_eq!(node.run(&["renew", "--force"]).code, 5, "--force is not enough");

    let run = node.run(&["renew", "--include-long-expired"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.kubelet_files().len(), 3, "the link, the old one and the new one");
    let alarms = node.run(&["alarms"]);
    assert!(!alarms.text.contains("not-revived"), "{}", alarms.text);
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn recently_expired_or_single_member_recovers_unattended() {
    // Its manifest names three members, and etcd answered later that the others were removed.
    let shrunk = expired_node(400, true);
    shrunk.write("var/lib/kubecertd/services.json", "{\"format\": 1, \"etcd_members\": 1}");
    for node in [expired_node(20, true), expired_node(400, false), shrunk] {
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert_eq!(node.run(&["check"]).code, 0);
    }
}

/// The manifest of a cluster's first node names only itself. The number of members comes from the
/// state file, which keeps etcd's last answer.
#[test]
fn first_member_is_recognised_by_stored_member_count() {
    let node = expired_node(40, false);
    node.write("var/lib/kubecertd/services.json", "{\"format\": 1, \"etcd_members\": 3}");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 5, "{}", run.text);
    assert!(run.text.contains("etcd has 3 members"), "{}", run.text);
}
