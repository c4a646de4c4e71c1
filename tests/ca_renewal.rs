//! CAs are renewed with their own keys on one node, and their certificates put in place on others.
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
use common::{CA_CRT, CA_KEY, ECDSA, Node, OTHER_CAS, RSA, now};
use kubecertd::formats::kubeconfig::Kubeconfig;
use kubecertd::formats::kubeconfig::PemSource;
use kubecertd::formats::x509::{Certificate, certificates};
use kubecertd::model::days;

const KUBECONFIGS: [&str; 4] = [
    "etc/kubernetes/admin.conf",
    "etc/kubernetes/controller-manager.conf",
    "etc/kubernetes/scheduler.conf",
    "etc/kubernetes/kubelet.conf",
];

fn root_of(node: &Node) -> Certificate {
    node.ca(CAS[0])
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
    assert!(!run.text.contains("Next:"), "{}", run.text);
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
            run.code == 1 && run.text.contains("it holds no CA of this node with a later end"),
            "{}",
            run.text
        );
    }
    let changed = node.snapshot().changed_paths(&before);
    assert!(!changed.iter().any(|path| path.starts_with("etc")), "{changed:?}");
}

/// The CAs that kubeadm makes, without the ends of their files.
const CAS: [&str; 3] = ["etc/kubernetes/pki/ca", OTHER_CAS[0], OTHER_CAS[1]];

/// A node whose CAs all expired on the same day.
fn node_with_expired_cas() -> Node {
    let node = Node::fresh(ECDSA);
    node.expire_cas(-3);
    node.backdate_files();
    node
}

/// kubeadm makes all its CAs at once, so that they expire at once.
#[test]
fn all_expired_cas_are_renewed_and_taken_by_other_nodes() {
    let (first, second) = (node_with_expired_cas(), node_with_expired_cas());
    let run = first.run(&["ca", "renew", "--offline"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let files = "  cat /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/front-proxy-ca.crt \
        /etc/kubernetes/pki/etcd/ca.crt >cas.pem\n";
    assert!(run.text.ends_with(files), "{}", run.text);
    let renewed = CAS.map(|stem| first.ca(stem));
    assert!(renewed.iter().all(|one| one.is_valid_at(now())), "{renewed:?}");

    let all: String = renewed.iter().map(Certificate::to_pem).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cas.pem");
    std::fs::write(&file, all).unwrap();
    let run = second.run(&["ca", "trust", file.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(CAS.map(|stem| second.ca(stem)), renewed);
    // What they signed is issued again.
    for node in [&first, &second] {
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        let signed = [
            ("apiserver", &renewed[0]),
            ("front-proxy-client", &renewed[1]),
            ("etcd/server", &renewed[2]),
            ("apiserver-etcd-client", &renewed[2]),
        ];
        for (name, ca) in signed {
            let leaf = node.ca(&format!("etc/kubernetes/pki/{name}"));
            assert!(leaf.is_valid_at(now()) && leaf.verifies_by(ca), "{name}");
        }
    }

    // A node without etcd's CA leaves that out.
    let third = node_with_expired_cas();
    third.remove("etc/kubernetes/pki/etcd/ca.crt");
    let run = third.run(&["ca", "trust", file.to_str().unwrap()]);
    assert!(run.code == 0 && run.text.contains("CN=etcd-ca is no CA of this node"), "{}", run.text);
    assert_eq!(third.ca(CAS[1]), renewed[1]);
}

/// The CA of etcd was renewed in between.
#[test]
fn ca_that_is_valid_for_longer_than_the_root_is_left_as_it_is() {
    let node = node_with_expired_cas();
    node.shorten_authority(CAS[2], 400);
    let before = node.ca(CAS[2]);
    let run = node.run(&["ca", "renew", "--offline"]);
    assert!(run.code == 0 && !run.text.contains("etcd"), "{}", run.text);
    assert_eq!(node.ca(CAS[2]), before);
    assert!(node.ca(CAS[1]).is_valid_at(now()));
    // It expires later, when the root does not.
    node.shorten_authority(CAS[2], 20);
    let run = node.run(&["ca", "renew", "--offline"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(node.ca(CAS[2]).not_after > now().plus(days(300)));
    assert!(
        !run.text.contains("CN=kubernetes") && !run.text.contains("front-proxy"),
        "{}",
        run.text
    );
}

#[test]
fn ca_whose_key_is_elsewhere_does_not_keep_the_others_from_renewal() {
    let node = node_with_expired_cas();
    let before = CAS.map(|stem| node.ca(stem));
    node.remove(CA_KEY);
    let run = node.run(&["ca", "renew", "--offline"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let reason = "ca is not renewed: a CA is renewed with its own key, which can't be used here: \
        /etc/kubernetes/pki/ca.key does not exist";
    assert!(run.text.contains(reason), "{}", run.text);
    let after = CAS.map(|stem| node.ca(stem));
    assert_eq!(after[0], before[0]);
    assert!(after[1].is_valid_at(now()) && after[2].is_valid_at(now()), "{after:?}");
}
