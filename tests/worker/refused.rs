//! What `kubecertd sign` refuses. Nothing is printed that could be installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::api;
use crate::common::kubelet::{CURRENT, PKI_DIR};
use crate::common::{CA_KEY, ECDSA, Node, RSA};
use crate::request::{control_plane, pem, request};

/// Asserts that a request is refused for this reason.
fn assert_refused(control_plane: &Node, name: &str, request: &Path, words: &str) {
    let before = control_plane.snapshot();
    let run = control_plane.run(&["sign", "--node", name, request.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{words}: {}", run.text);
    assert!(run.text.contains(words), "{words:?} is not in {}", run.text);
    assert!(!run.text.contains("-----BEGIN CERT"), "{}", run.text);
    assert_eq!(before.differences(&control_plane.snapshot()), Vec::<String>::new());
}

#[test]
fn request_of_another_node_is_refused() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w2", -30), control_plane(ECDSA));
    let request = request(&worker);
    let other = "the request is for CN=system:node:w2,O=system:nodes, and a certificate is signed \
        only for exactly CN=system:node:w1 and O=system:nodes";
    assert_refused(&control_plane, "w1", &request, other);
    let absent = "the cluster has no Node w2, says https://127.0.0.1:";
    assert_refused(&control_plane, "w2", &request, absent);
    for name in ["", "W1", "w1/status", "../secrets", "w 1"] {
        assert_refused(&control_plane, name, &request, "is no name of a Node");
    }
}

#[test]
fn file_that_is_no_request_is_refused() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(ECDSA));
    let text = String::from_utf8(fs::read(request(&worker)).unwrap()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len() - 2];
    let flip = |c: char| if c == 'A' { 'B' } else { 'A' };
    let changed =
        text.replacen(last, &format!("{}{}", flip(last.chars().next().unwrap()), &last[1..]), 1);
    let file = worker.path("other");
    for (content, words) in [
        (changed.as_str(), "the signature of the request was not made with its own key"),
        ("", "the file is empty"),
        ("no request\n", "holds no PEM block"),
        (&text.repeat(2), "has to hold one block, a CERTIFICATE REQUEST"),
        (&String::from_utf8(worker.read("etc/kubernetes/pki/ca.crt")).unwrap(), "has to hold one"),
    ] {
        fs::write(&file, content).unwrap();
        assert_refused(&control_plane, "w1", &file, words);
    }
    fs::write(&file, "x".repeat(70_000)).unwrap();
    let run = control_plane.run(&["sign", "--node", "w1", file.to_str().unwrap()]);
    assert!(run.code == 2 && run.text.contains("is larger than"), "{}", run.text);
    let run = control_plane.run(&["sign", "--node", "w1", "/none"]);
    assert!(run.code == 2 && run.text.contains("/none: "), "{}", run.text);
}

#[test]
fn api_that_is_away_signs_nothing_and_says_what_to_do() {
    let worker = Node::worker(ECDSA, "w1", -30);
    let request = request(&worker);
    let node = Node::fresh(ECDSA);
    api::name_closed_port(&node);
    let words = "whether the cluster has a Node w1 is not known: admin.conf: https://127.0.0.1:";
    assert_refused(&node, "w1", &request, words);
    assert_refused(&node, "w1", &request, "sign when kubectl get nodes works on this node");
    let node = control_plane(ECDSA);
    node.age_all(-2);
    let words = "expired: run kubecertd renew on this node first, and sign when kubectl get nodes \
        works";
    assert_refused(&node, "w1", &request, words);
    node.backdate_manifests();
    assert_eq!(node.run(&["renew"]).code, 0);
    let run = node.run(&["sign", "--node", "w1", request.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(pem(&run.text).starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn node_without_the_key_of_the_root_ca_signs_nothing() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(ECDSA));
    let request = request(&worker);
    let words = "/etc/kubernetes/pki/ca.key is not on this node; run kubecertd sign on a \
        control-plane node that has the key of the root CA";
    assert_refused(&worker, "w1", &request, words);
    control_plane.remove(CA_KEY);
    assert_refused(&control_plane, "w1", &request, words);
}

/// It may name a node that is not this one.
#[test]
fn certificate_that_others_can_write_is_not_requested() {
    let worker = Node::worker(ECDSA, "w1", -30);
    // A plain file: no link is followed where others can write.
    let link = worker.kubelet_link();
    worker.remove(CURRENT);
    let file = worker.path(link.strip_prefix("/").unwrap().to_str().unwrap());
    fs::rename(file, worker.path(CURRENT)).unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(worker.path(PKI_DIR), open).unwrap();
    let run = worker.run(&["csr", "kubelet-client"]);
    assert!(
        run.code == 1 && run.text.contains("others than root may have put the certificate there"),
        "{}",
        run.text
    );
    assert!(!run.text.contains("-----BEGIN"), "{}", run.text);
}

/// The worker trusts the CA of its own cluster only.
#[test]
fn certificate_of_another_cluster_is_not_installed() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(RSA));
    let request = request(&worker);
    let run = control_plane.run(&["sign", "--node", "w1", request.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    let answer = worker.path("w1.crt");
    fs::write(&answer, pem(&run.text)).unwrap();
    let link = worker.kubelet_link();
    let run = worker.run(&["install", "kubelet-client", answer.to_str().unwrap()]);
    assert_eq!((run.code, worker.kubelet_link()), (1, link), "{}", run.text);
    assert!(run.text.contains("is not in the file of the CA ca"), "{}", run.text);
}
