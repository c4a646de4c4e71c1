//! Keys of kinds that kubeadm does not make, all of which openssl makes.

use serde_json::Value;

use crate::common::requirements::require;
use crate::common::{Node, PKI};
use crate::support::{json, openssl_leaf};

const UNUSUAL: [(&str, &str); 4] = [
    ("ec:secp521r1", "ECDSA-P521"),
    ("ed25519", "Ed25519"),
    ("rsa:1024", "RSA-1024"),
    ("rsa:2560", "RSA-2560"),
];

/// A credential, its files without extension, and its CA's.
const NAME: &str = "apiserver-kubelet-client";

fn node_with(key: &str, days: u32) -> Node {
    let node = Node::fresh(crate::common::ECDSA);
    openssl_leaf(&node, &format!("{PKI}/{NAME}"), &format!("{PKI}/ca"), key, days);
    node
}

fn check(node: &Node) -> Value {
    let json = json(node);
    let all = json["certificates"].as_array().unwrap();
    all.iter().find(|one| one["name"] == NAME).unwrap().clone()
}

#[test]
fn key_that_can_be_made_is_renewed_in_its_kind() {
    require!("openssl");
    for (key, kind) in &UNUSUAL[..2] {
        let node = node_with(key, 5);
        assert_eq!(check(&node)["state"], "due", "{kind}");
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{kind}: {}", run.text);
        let found = check(&node);
        assert_eq!((&found["state"], &found["keyAlgorithm"]), (&"fresh".into(), &(*kind).into()));
        assert!(!node.run(&["check"]).text.contains("key_algorithm"));
    }
}

#[test]
fn key_that_cannot_be_made_is_known_before_it_is_due() {
    require!("openssl");
    for (key, kind) in &UNUSUAL[2..] {
        let node = node_with(key, 300);
        let run = node.run(&["check"]);
        assert_eq!(run.code, 0, "{kind}: {}", run.text);
        let note = format!(
            "{NAME}: can't be renewed: kubecertd can't make a key of the kind {kind}; set \
             key_algorithm in [renewal]"
        );
        assert!(run.text.contains(&note), "{kind}: {}", run.text);
        assert_eq!(check(&node)["state"], "fresh", "{kind}");
    }
}

#[test]
fn dry_run_is_honest_about_a_key_that_cannot_be_made() {
    require!("openssl");
    for (key, kind) in &UNUSUAL[2..] {
        let node = node_with(key, 5);
        let found = check(&node);
        assert_eq!(
            (&found["state"], &found["action"]),
            (&"due".into(), &"error".into()),
            "{kind}: {found}"
        );
        let before = node.read(&format!("{PKI}/{NAME}.crt"));
        for arguments in [&["renew", "--dry-run"][..], &["renew"], &["renew", NAME, "--force"]] {
            let run = node.run(arguments);
            assert!(run.text.contains("can't be renewed"), "{kind}: {arguments:?}: {}", run.text);
            assert!(run.text.contains("key_algorithm"), "{kind}: {arguments:?}: {}", run.text);
            assert!(!run.text.contains("would renew"), "{kind}: {arguments:?}: {}", run.text);
        }
        assert_eq!(node.run(&["renew"]).code, 1, "{kind}");
        assert_eq!(node.read(&format!("{PKI}/{NAME}.crt")), before, "{kind}");
    }
}

#[test]
fn configured_kind_replaces_a_key_that_cannot_be_made() {
    require!("openssl");
    for (key, kind) in &UNUSUAL[2..] {
        let node = node_with(key, 5);
        node.write("etc/kubecertd/kubecertd.toml", "[renewal]\nkey_algorithm = \"RSA-2048\"\n");
        assert_eq!(check(&node)["action"], "renew", "{kind}");
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{kind}: {}", run.text);
        let found = check(&node);
        assert_eq!(
            (&found["state"], &found["keyAlgorithm"]),
            (&"fresh".into(), &"RSA-2048".into()),
            "{kind}"
        );
    }
}
