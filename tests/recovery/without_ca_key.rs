//! A node that can't sign reports the command to run, and where to run it.

use crate::common::{ECDSA, Node, PKI};

/// Makes a worker: kubelet's files and the CA certificate, nothing else.
fn worker(days_left: i64) -> Node {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(days_left);
    node.link_kubelet_conf();
    for removed in [
        "manifests",
        "pki",
        "admin.conf",
        "super-admin.conf",
        "controller-manager.conf",
        "scheduler.conf",
    ] {
        let path = node.path("etc/kubernetes").join(removed);
        if removed == "pki" {
            let authority = node.read(&format!("{PKI}/ca.crt"));
            std::fs::remove_dir_all(&path).unwrap();
            node.write(&format!("{PKI}/ca.crt"), authority);
        } else if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    node
}

const COMMAND: &str = "kubeadm kubeconfig user --config kubeadm.yaml --org system:nodes \
    --client-name system:node:cp1 > kubelet.conf";

#[test]
fn expired_worker_reports_command_everywhere() {
    let node = worker(-30);
    let link = node.kubelet_link();
    for arguments in [&["check"][..], &["renew"], &["status"]] {
        let run = node.run(arguments);
        for part in [
            "ca.key is not on this node",
            "on a control-plane node that has the key",
            COMMAND,
            "/etc/kubernetes/kubelet.conf",
            "systemctl restart kubelet",
        ] {
            assert!(run.text.contains(part), "{arguments:?}: {part}: {}", run.text);
        }
    }
    assert_eq!(node.run(&["check"]).code, 3);
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.text.contains("expired (500.210) on system.certificate.kubelet-client")
            && alarms.text.contains(COMMAND),
        "{}",
        alarms.text
    );
    assert_eq!(node.run(&["renew", "kubelet-client", "--force"]).code, 3);
    assert_eq!(node.kubelet_link(), link, "nothing was signed");
}

#[test]
fn healthy_worker_has_nothing_to_do() {
    let node = worker(100);
    assert_eq!(node.run(&["check"]).code, 0);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(node.run(&["alarms"]).code, 0);
}

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
            && alarms.text.contains("Replace the CA"),
        "{}",
        alarms.text
    );
    let check = node.run(&["check"]);
    assert!(check.text.contains("nothing is signed with it"), "{}", check.text);
}
