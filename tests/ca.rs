//! The public part of the CAs: openssl and kubeadm agree with the output of `kubecertd ca`, and
//! trust is reported correctly.
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

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::requirements::require;
use common::{CA_KEY, ECDSA, Node, RSA};

const CA: &str = "etc/kubernetes/pki/ca.crt";

/// Returns the output of a shell pipeline, with `$CA` as the cluster's root certificate.
fn run_shell(node: &Node, script: &str) -> String {
    let output =
        Command::new("sh").args(["-ec", script]).env("CA", node.path(CA)).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn ca_show_fingerprints_match_openssl() {
    require!("openssl");
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        let shown = node.run(&["ca", "show"]);
        assert_eq!(shown.code, 0, "{}", shown.text);
        let fingerprint =
            run_shell(&node, "openssl x509 -in $CA -noout -fingerprint -sha256 | cut -d = -f 2");
        assert!(
            shown.text.contains(&format!("SHA-256:         {fingerprint}\n")),
            "{}\n{fingerprint}",
            shown.text
        );
        // The command is from the documentation of kubeadm.
        let hash = run_shell(
            &node,
            "openssl x509 -pubkey -in $CA | openssl pkey -pubin -outform der | openssl dgst \
             -sha256 -hex | sed 's/^.* //'",
        );
        assert!(
            shown.text.contains(&format!("Discovery hash:  sha256:{hash}\n")),
            "{}\n{hash}",
            shown.text
        );
        assert!(shown.text.contains("Subject:         CN=kubernetes\n"), "{}", shown.text);
    }
}

#[test]
fn ca_export_prints_certificate_without_key() {
    let node = Node::fresh(ECDSA);
    // A file that an administrator assembled.
    let key = node.read("etc/kubernetes/pki/ca.key");
    let certificate = node.read(CA);
    node.write(CA, [b"of the cluster\n".as_slice(), &key, &certificate].concat());
    let run = node.run(&["ca", "export"]);
    assert_eq!((run.code, run.text.as_bytes()), (0, certificate.as_slice()));
    let other = node.run(&["ca", "export", "--ca", "etcd-ca"]);
    assert_eq!(other.text.as_bytes(), node.read("etc/kubernetes/pki/etcd/ca.crt"));
    let unknown = node.run(&["ca", "export", "--ca", "ct"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.text.contains("there is no CA \"ct\"; the CAs are ca, "), "{}", unknown.text);
}

/// Returns the exit code and the report of `ca verify` for a file.
fn verify(node: &Node, file: &str) -> (i32, String) {
    let run = node.run(&["ca", "verify", file]);
    (run.code, run.text)
}

#[test]
fn ca_verify_reports_trust_and_signatures() {
    let node = Node::fresh(ECDSA);
    for (file, words) in [
        ("/etc/kubernetes/pki/ca.crt", "it trusts ca until "),
        (
            "/etc/kubernetes/pki/apiserver.crt",
            "it (CN=kube-apiserver) is signed by ca and valid until ",
        ),
        ("/etc/kubernetes/admin.conf", "it trusts ca until "),
        (
            "/etc/kubernetes/admin.conf",
            "its client certificate (CN=kubernetes-admin,O=kubeadm:cluster-admins) is signed by ca \
             and valid until ",
        ),
    ] {
        let (code, text) = verify(&node, file);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!("yes   {file}: {words}")), "{text}");
    }
    for (file, words) in [
        ("/etc/kubernetes/pki/etcd/ca.crt", "it does not trust ca, but CN=etcd-ca, SHA-256 "),
        ("/etc/kubernetes/pki/etcd/server.crt", "is not signed by ca, but by CN=etcd-ca"),
    ] {
        let (code, text) = verify(&node, file);
        assert_eq!(code, 3, "{text}");
        assert!(text.starts_with(&format!("no    {file}: ")) && text.contains(words), "{text}");
    }
    node.age("apiserver", -3);
    let (code, text) = verify(&node, "/etc/kubernetes/pki/apiserver.crt");
    assert_eq!(code, 3);
    assert!(text.contains("is signed by ca, but expired at "), "{text}");
    assert_eq!(
        node.run(&["ca", "verify", "/etc/kubernetes/pki/etcd/server.crt", "--ca", "etcd-ca"]).code,
        0
    );
    for (file, words) in
        [("/none", "no such file"), ("/etc/kubernetes/pki/sa.key", "neither certificates in PEM")]
    {
        let (code, text) = verify(&node, file);
        assert!(code == 1 && text.contains(words), "{text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}

/// After a cluster was made again, old kubeconfigs have the same names but another key.
#[test]
fn ca_verify_rejects_same_name_with_other_key() {
    let (node, other) = (Node::fresh(ECDSA), Node::fresh(RSA));
    node.write("old.crt", other.read(CA));
    let (code, text) = verify(&node, "/old.crt");
    assert!(
        code == 3 && text.contains("it does not trust ca, but CN=kubernetes, SHA-256 "),
        "{text}"
    );
    node.write("old-leaf.crt", other.read("etc/kubernetes/pki/apiserver.crt"));
    let (code, text) = verify(&node, "/old-leaf.crt");
    assert!(
        code == 3 && text.contains("is not signed by ca, but by another key with the same name"),
        "{text}"
    );
    node.write("old.conf", other.read("etc/kubernetes/admin.conf"));
    let (code, text) = verify(&node, "/old.conf");
    assert!(code == 3 && text.matches("no    /old.conf: ").count() == 2, "{text}");
}

/// While the CA is replaced, its file holds two. Certificates of both verify, and the one whose key
/// is ca.key signs.
#[test]
fn certificates_of_both_cas_verify_and_the_one_with_the_key_signs() {
    let (node, other) = (Node::fresh(ECDSA), Node::fresh(RSA));
    // Only what is urgent goes over to the other CA.
    node.age("apiserver", 1);
    let both = node.text(CA) + &other.text(CA);
    node.write(CA, &both);
    node.write(CA_KEY, other.read(CA_KEY));
    let signed = |file: &str| {
        let (code, text) = verify(&node, file);
        assert!(code == 0 && text.contains("is signed by ca and valid until "), "{text}");
    };
    signed("/etc/kubernetes/pki/apiserver.crt");
    let check = node.run(&["check"]);
    assert!(!check.text.contains("foreign issuer"), "{}", check.text);
    let renew = node.run(&["renew", "apiserver"]);
    assert_eq!(renew.code, 0, "{}", renew.text);
    signed("/etc/kubernetes/pki/apiserver.crt");
    signed("/etc/kubernetes/pki/apiserver-kubelet-client.crt");
    node.write(CA, other.read(CA));
    signed("/etc/kubernetes/pki/apiserver.crt");
    assert_eq!(verify(&node, "/etc/kubernetes/pki/apiserver-kubelet-client.crt").0, 3);
}

#[test]
fn ca_verify_reads_files_of_kubeconfig() {
    let node = Node::fresh(ECDSA);
    node.write(
        "home/refers.conf",
        "apiVersion: v1\nkind: Config\nclusters:\n- {name: a, cluster: {server: 'https://a', \
         certificate-authority: ../etc/kubernetes/pki/ca.crt}}\n\
         contexts:\n- {name: a, context: {cluster: a, user: a}}\ncurrent-context: a\nusers:\n- \
         {name: a, user: {token: t}}\n",
    );
    let (code, text) = verify(&node, "/home/refers.conf");
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.lines().count(), 1, "a token has no signature: {text}");
    node.remove(CA);
    assert_eq!(verify(&node, "/home/refers.conf").0, 1);
}

#[test]
fn ca_verify_checks_certificate_of_server() {
    require!("openssl");
    let node = Node::fresh(ECDSA);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &address])
        .arg("-cert")
        .arg(node.path("etc/kubernetes/pki/apiserver.crt"))
        .arg("-key")
        .arg(node.path("etc/kubernetes/pki/apiserver.key"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while TcpStream::connect(&address).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "openssl does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, text) = verify(&node, &address);
    assert!(
        code == 0 && text.contains("the served certificate (CN=kube-apiserver) is signed by ca"),
        "{text}"
    );
    let other = node.run(&["ca", "verify", &address, "--ca", "etcd-ca"]);
    assert!(
        other.code == 3 && other.text.contains("is not signed by etcd-ca, but by CN=kubernetes"),
        "{}",
        other.text
    );
    server.kill().unwrap();
    server.wait().unwrap();
    let (code, text) = verify(&node, &address);
    assert!(code == 1 && text.contains("nothing listens there"), "{text}");
}
