//! The root CA is renewed with its own key on one node, and its certificate put in place on others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

mod common;

use std::process::Command;

use common::requirements::require;
use common::{CA_CRT, CA_KEY, ECDSA, Node, RSA, now};
use kubecertd::formats::kubeconfig::Kubeconfig;
use kubecertd::formats::kubeconfig::PemSource;
use kubecertd::formats::x509::{Certificate, certificates};

const KUBECONFIGS: [&str; 4] = [
    "etc/kubernetes/admin.conf",
    "etc/kubernetes/controller-manager.conf",
    "etc/kubernetes/scheduler.conf",
    "etc/kubernetes/kubelet.conf",
];

fn root_of(node: &Node) -> Certificate {
    certificates(&node.read(CA_CRT)).unwrap().remove(0)
}

fn trusted_by(node: &Node, kubeconfig: &str) -> Vec<Certificate> {
    let cluster = Kubeconfig::parse(&node.read(kubeconfig)).unwrap().cluster.unwrap();
    let PemSource::Embedded(data) = cluster.authority else { panic!("{kubeconfig}") };
    certificates(data.expose()).unwrap()
}

/// A node whose root CA has few days left.
fn node_with_short_root(tree: &str, days_left: i64) -> Node {
    let node = Node::fresh(tree);
    node.expire_root(days_left);
    node.backdate_files();
    node
}

fn in_base64(certificate: &Certificate) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(certificate.to_pem())
}

#[test]
fn renewed_root_verifies_every_certificate_and_is_in_all_kubeconfigs() {
    require!("openssl");
    for (tree, days_left) in [(RSA, 20), (ECDSA, 20), (ECDSA, -3)] {
        let node = node_with_short_root(tree, days_left);
        let (old, key) = (root_of(&node), node.read(CA_KEY));
        let before: Vec<_> = KUBECONFIGS.iter().map(|file| node.text(file)).collect();
        let run = node.run(&["ca", "renew", "--offline"]);
        assert_eq!(run.code, 0, "{}", run.text);
        let new = root_of(&node);
        assert_eq!(
            (&new.subject, new.public_key_der(), &new.extensions),
            (&old.subject, old.public_key_der(), &old.extensions)
        );
        assert!(new.not_after > old.not_after && new.is_valid_at(now()) && new.is_self_signed());
        assert_eq!(node.read(CA_KEY), key);
        for (kubeconfig, before) in KUBECONFIGS.iter().zip(&before) {
            assert_eq!(trusted_by(&node, kubeconfig), std::slice::from_ref(&new), "{kubeconfig}");
            let back = node.text(kubeconfig).replace(&in_base64(&new), &in_base64(&old));
            assert_eq!(back, *before, "{kubeconfig}: nothing else changes");
        }
        for name in ["apiserver", "apiserver-kubelet-client"] {
            let file = node.path(&format!("etc/kubernetes/pki/{name}.crt"));
            let verified = Command::new("openssl")
                .args(["verify", "-x509_strict", "-CAfile"])
                .arg(node.path(CA_CRT))
                .arg(file)
                .output()
                .unwrap();
            assert!(verified.status.success(), "{name}: {verified:?}");
        }
        let backup = node.backups();
        assert!(backup.iter().any(|one| certificates(one).is_ok_and(|it| it.contains(&old))));
        assert!(node.dot_files().is_empty());
        let again = node.run(&["ca", "renew", "--offline"]);
        assert!(again.code == 1 && again.text.contains("is not worth"), "{}", again.text);
        assert_eq!(root_of(&node), new);
    }
}

#[test]
fn other_nodes_take_the_same_certificate() {
    let first = node_with_short_root(ECDSA, -3);
    let second = node_with_short_root(ECDSA, -3);
    second.remove(CA_KEY);
    let run = second.run(&["ca", "renew", "--offline"]);
    assert!(
        run.code == 1 && run.text.contains("renew it on the node that has the key"),
        "{}",
        run.text
    );
    assert_eq!(first.run(&["ca", "renew", "--offline"]).code, 0);
    // Two copies of a root that has expired were made apart.
    let file = first.path(CA_CRT);
    let run = second.run(&["ca", "trust", file.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(second.read(CA_CRT), first.read(CA_CRT));
    for kubeconfig in KUBECONFIGS {
        assert_eq!(trusted_by(&second, kubeconfig), [root_of(&first)], "{kubeconfig}");
    }
    let before = second.snapshot();
    let run = second.run(&["ca", "trust", file.to_str().unwrap()]);
    assert!(run.code == 0 && run.text.contains("It was in place already"), "{}", run.text);
    assert!(second.snapshot().changed_paths(&before).is_empty());
}

#[test]
fn other_ca_and_earlier_certificate_are_not_trusted() {
    let node = node_with_short_root(ECDSA, 300);
    let (earlier, other) = (node_with_short_root(ECDSA, 20), Node::fresh(RSA));
    let before = node.snapshot();
    for source in [&earlier, &other] {
        let file = source.path(CA_CRT);
        let run = node.run(&["ca", "trust", file.to_str().unwrap()]);
        assert!(
            run.code == 1 && run.text.contains("it is not the root CA of this node"),
            "{}",
            run.text
        );
    }
    let changed = node.snapshot().changed_paths(&before);
    assert!(!changed.iter().any(|path| path.starts_with("etc")), "{changed:?}");
}
