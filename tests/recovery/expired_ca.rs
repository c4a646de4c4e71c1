//! A node whose CA has expired signs nothing.

use crate::common::{ECDSA, Node, PKI};

#[test]
fn expired_ca_signs_nothing_and_raises_alarm() {
    let node = Node::fresh(ECDSA);
    node.age_all(-30);
    node.add_kubelet_certificate(-30);
    node.link_kubelet_conf();
    node.shorten_authority(&format!("{PKI}/ca"), -20);
    let link = node.kubelet_link();
    let run = node.run(&["renew", "--force"]);
    assert_ne!(run.code, 0, "{}", run.text);
    assert_eq!(node.kubelet_link(), link);
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.text.contains("CRITICAL expired (500.210) on system.certificate.ca,")
            && alarms.text.contains("kubecertd ca renew --offline"),
        "{}",
        alarms.text
    );
    let check = node.run(&["check"]);
    assert!(check.text.contains("nothing is signed with it"), "{}", check.text);
}
