//! Credentials and CAs whose files other users than root can write: nothing that a user puts there
//! makes root replace, sign or trust anything but what is the user's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use common::requirements::{ROOT, are_met};
use common::{Node, now};
use kubecertd::model::days;

const USER: u32 = 4242;
const APP: &str = "srv/app";
const KUBELET_CLIENT: &str = "etc/kubernetes/pki/apiserver-kubelet-client.crt";
/// A key that fits no certificate of the node, as a user can make one.
const OWN_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
    OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
    1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
    -----END PRIVATE KEY-----\n";

/// A node on which everything is due, with a directory that belongs to a user and the entries of a
/// configuration.
fn node(configuration: &str) -> Option<Node> {
    if !are_met(&[ROOT]) {
        return None;
    }
    let node = Node::due();
    fs::create_dir_all(node.path(APP)).unwrap();
    give(&node, APP);
    node.write("etc/kubecertd/kubecertd.toml", configuration);
    Some(node)
}

fn give(node: &Node, path: &str) {
    chown(node.path(path), Some(USER), Some(USER)).unwrap();
}

fn put(node: &Node, path: &str, content: impl AsRef<[u8]>) {
    node.write(path, content);
    give(node, path);
}

/// Everything but `left` is renewed.
fn assert_renewed_but(node: &Node, left: &[&str]) {
    let mut kept: Vec<_> = node
        .usable_credentials()
        .into_iter()
        .filter(|(_, stored)| stored.certificate.not_after < now().plus(days(300)))
        .map(|(name, _)| name)
        .collect();
    kept.retain(|name| !left.contains(&name.as_str()));
    assert!(kept.is_empty(), "not renewed: {kept:?}");
}

const PAIR: &str = "[[credential]]\nname = \"app\"\nca = \"ca\"\n\
    certificate = \"/srv/app/app.crt\"\nkey = \"/srv/app/app.key\"\n";
const KUBECONFIG: &str = "[[credential]]\nname = \"app\"\nca = \"ca\"\n\
    kubeconfig = \"/srv/app/app.conf\"\n";

fn referring(certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context:\n    \
         cluster: k\n    user: u\nclusters:\n- name: k\n  cluster:\n    server: https://cp1:6443\n\
         users:\n- name: u\n  user:\n    client-certificate: {certificate}\n    client-key: {key}\n"
    )
}

#[test]
fn users_kubeconfig_refers_to_no_file_of_root() {
    for key in [
        "/etc/shadow",
        "/etc/kubernetes/pki/ca.key",
        "/etc/kubernetes/pki/sa.key",
        "/etc/kubernetes/pki/apiserver.key",
        "../../etc/shadow",
        "roots.key",
        "link.key",
        "missing.key",
    ] {
        let Some(node) = node(KUBECONFIG) else { return };
        node.write("etc/shadow", "root:*:1::::::\n");
        node.write("srv/app/roots.key", OWN_KEY);
        symlink("/etc/shadow", node.path("srv/app/link.key")).unwrap();
        put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
        put(&node, "srv/app/app.conf", referring("app.crt", key));
        let protected = ["etc/shadow", "etc/kubernetes/pki/ca.key", "etc/kubernetes/pki/sa.key"];
        let before = protected.map(|file| node.read(file));
        let confined = node.run(&["config", "check"]);
        assert!(!confined.text.contains("ReadWritePaths=-/etc\n"), "{key}: {}", confined.text);
        let run = node.run(&["renew"]);
        let refused = if key == "link.key" {
            "is a symlink that others than root may have set"
        } else {
            "may refer only to files beside it"
        };
        assert!(run.text.contains(refused), "{key}: {}", run.text);
        assert_eq!(protected.map(|file| node.read(file)), before, "{key}");
        assert_eq!(node.text("srv/app/roots.key"), OWN_KEY);
        assert!(!node.path("srv/app/missing.key").exists());
        assert_renewed_but(&node, &["app"]);
    }
}

#[test]
fn kubeconfig_of_a_group_refers_to_no_file_of_root_beside_it() {
    let Some(node) = node("") else { return };
    let scheduler = "etc/kubernetes/scheduler.conf";
    node.write("etc/kubernetes/app.crt", node.read(KUBELET_CLIENT));
    node.write("etc/kubernetes/encryption.yaml", "root's own\n");
    node.write(scheduler, referring("app.crt", "encryption.yaml"));
    fs::set_permissions(node.path(scheduler), fs::Permissions::from_mode(0o660)).unwrap();
    let run = node.run(&["renew"]);
    assert!(run.text.contains("may refer only to files beside it"), "{}", run.text);
    assert_eq!(node.text("etc/kubernetes/encryption.yaml"), "root's own\n");
    assert_renewed_but(&node, &["scheduler.conf"]);
}

#[test]
fn users_kubeconfig_may_refer_to_own_files() {
    let Some(node) = node(KUBECONFIG) else { return };
    put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
    put(&node, "srv/app/app.key", node.read("etc/kubernetes/pki/apiserver-kubelet-client.key"));
    put(&node, "srv/app/app.conf", referring("app.crt", "app.key"));
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_renewed_but(&node, &[]);
}

#[test]
fn public_certificate_without_its_key_gets_no_key() {
    for key in [None, Some(OWN_KEY), Some("no key\n")] {
        let Some(node) = node(PAIR) else { return };
        put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
        if let Some(key) = key {
            put(&node, "srv/app/app.key", key);
        }
        let before = node.read("srv/app/app.crt");
        let run = node.run(&["renew"]);
        assert!(run.text.contains("the subject of app is not known"), "{}", run.text);
        assert_eq!(run.code, 4, "{}", run.text);
        let forced = node.run(&["renew", "--force", "app"]);
        assert!(forced.text.contains("the subject of app is not known"), "{}", forced.text);
        assert_eq!(node.read("srv/app/app.crt"), before);
        assert_renewed_but(&node, &["app"]);
    }
}

#[test]
fn users_scheduler_conf_gets_no_key_of_an_administrator() {
    let Some(node) = node("") else { return };
    let scheduler = "etc/kubernetes/scheduler.conf";
    let (own, admin) = (node.text(scheduler), node.text("etc/kubernetes/admin.conf"));
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(key)).unwrap();
        line.trim().to_owned()
    };
    let stolen = own.replace(
        &value(&own, "client-certificate-data"),
        &value(&admin, "client-certificate-data"),
    );
    put(&node, scheduler, &stolen);
    let run = node.run(&["renew"]);
    assert!(run.text.contains("the subject of scheduler.conf is not known"), "{}", run.text);
    assert_eq!(node.text(scheduler), stolen);
    assert_renewed_but(&node, &["scheduler.conf"]);
}

#[test]
fn broken_credential_of_the_profile_is_renewed_for_its_own_subject() {
    let Some(node) = node("") else { return };
    let etcd = "etc/kubernetes/pki/etcd";
    for file in ["", "/server.crt", "/server.key", "/peer.crt", "/peer.key"] {
        give(&node, &format!("{etcd}{file}"));
    }
    node.remove(&format!("{etcd}/server.key"));
    put(&node, &format!("{etcd}/peer.key"), OWN_KEY);
    give(&node, "etc/kubernetes/scheduler.conf");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_renewed_but(&node, &[]);
}

#[test]
fn remembered_subject_decides_and_one_renewal_a_day_is_made() {
    let Some(node) = node(PAIR) else { return };
    put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
    put(&node, "srv/app/app.key", node.read("etc/kubernetes/pki/apiserver-kubelet-client.key"));
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    assert_renewed_but(&node, &[]);
    // The same subject: broken, it is issued again, but not twice a day.
    node.remove("srv/app/app.key");
    let run = node.run(&["renew"]);
    assert!(run.text.contains("a credential is issued once a day"), "{}", run.text);
    assert!(!node.path("srv/app/app.key").exists());
    let run = node.run(&["renew", "app"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(node.path("srv/app/app.key").exists());
    // Another subject.
    put(&node, "srv/app/app.crt", node.read("etc/kubernetes/pki/apiserver.crt"));
    let run = node.run(&["renew", "app", "--force"]);
    assert!(run.text.contains("app is known to be for"), "{}", run.text);
    assert_eq!(node.read("srv/app/app.crt"), node.read("etc/kubernetes/pki/apiserver.crt"));
}

#[test]
fn expired_certificate_of_unknown_subject_is_not_brought_back() {
    let Some(node) = node(PAIR) else { return };
    put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
    put(&node, "srv/app/app.key", node.read("etc/kubernetes/pki/apiserver-kubelet-client.key"));
    node.age("app", -3);
    give(&node, "srv/app/app.crt");
    give(&node, "srv/app/app.key");
    let before = node.read("srv/app/app.crt");
    let run = node.run(&["renew"]);
    assert!(run.text.contains("the subject of app is not known"), "{}", run.text);
    assert_eq!(node.read("srv/app/app.crt"), before);
}

#[test]
fn ca_behind_a_users_symlink_signs_nothing() {
    let Some(node) = node("") else { return };
    let etcd = "etc/kubernetes/pki/etcd";
    give(&node, etcd);
    for (file, target) in [("ca.crt", "../ca.crt"), ("ca.key", "../ca.key")] {
        fs::remove_file(node.path(&format!("{etcd}/{file}"))).unwrap();
        symlink(target, node.path(&format!("{etcd}/{file}"))).unwrap();
    }
    put(&node, &format!("{etcd}/server.key"), OWN_KEY);
    let before = node.read(&format!("{etcd}/server.crt"));
    let run = node.run(&["renew"]);
    assert!(run.text.contains("is a symlink that others than root may have set"), "{}", run.text);
    assert_eq!(node.read(&format!("{etcd}/server.crt")), before);
}

#[test]
fn ca_with_the_key_of_another_signs_only_where_root_put_it() {
    let Some(node) = node("") else { return };
    let pki = "etc/kubernetes/pki";
    for file in ["ca.crt", "ca.key"] {
        node.write(&format!("{pki}/etcd/{file}"), node.read(&format!("{pki}/{file}")));
    }
    let shown = node.run(&["check"]).text;
    assert!(!shown.contains("has the key of the CA"), "a single root CA is legitimate: {shown}");
    give(&node, &format!("{pki}/etcd"));
    let shown = node.run(&["check"]).text;
    assert!(shown.contains("has the key of the CA ca"), "{shown}");
}

/// kubeadm's RootlessControlPlane gives ca.key to the user of kube-controller-manager.
#[test]
fn public_ca_certificate_in_a_users_directory_stops_no_other_ca() {
    let Some(node) = node("") else { return };
    let pki = "etc/kubernetes/pki";
    give(&node, &format!("{pki}/ca.key"));
    give(&node, &format!("{pki}/etcd"));
    put(&node, &format!("{pki}/etcd/ca.crt"), node.read(&format!("{pki}/ca.crt")));
    let run = node.run(&["renew"]);
    assert!(!run.text.contains("has the key of the CA"), "{}", run.text);
    let etcds = ["etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"];
    assert_renewed_but(&node, &etcds);
}

#[test]
fn node_whose_directories_a_group_can_write_is_renewed() {
    let Some(node) = node("") else { return };
    node.fill(&common::fixture(common::ECDSA));
    for dir in ["etc/kubernetes", "etc/kubernetes/pki", "etc/kubernetes/pki/etcd"] {
        fs::set_permissions(node.path(dir), fs::Permissions::from_mode(0o775)).unwrap();
    }
    // What is in place is remembered by a pass that renews nothing.
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    node.age_all(-2);
    node.remove("etc/kubernetes/pki/etcd/server.key");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_renewed_but(&node, &[]);
}

#[test]
fn swapped_directory_of_a_key_leads_to_no_file_of_root() {
    let configuration = PAIR.replace("/srv/app/app.key", "/srv/app/private/app.key");
    let Some(node) = node(&configuration) else { return };
    fs::create_dir_all(node.path("etc/victim")).unwrap();
    node.write("etc/victim/app.key", "root's own\n");
    put(&node, "srv/app/app.crt", node.read(KUBELET_CLIENT));
    symlink("/etc/victim", node.path("srv/app/private")).unwrap();
    let run = node.run(&["renew"]);
    assert!(run.text.contains("is a symlink that others than root may have set"), "{}", run.text);
    assert_eq!(node.text("etc/victim/app.key"), "root's own\n");
    assert_renewed_but(&node, &["app"]);
    let confined = node.run(&["config", "check"]);
    assert!(!confined.text.contains("victim"), "{}", confined.text);
}

#[test]
fn files_of_a_ca_are_never_a_credential() {
    for key in ["/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/sa.key"] {
        let Some(node) = node(&PAIR.replace("/srv/app/app.key", key)) else { return };
        node.write("srv/app/app.crt", node.read(KUBELET_CLIENT));
        let before = node.read(&key[1..]);
        let run = node.run(&["renew"]);
        assert_eq!(node.read(&key[1..]), before, "{}", run.text);
        assert!(run.text.contains(&format!("{key}: ")), "{}", run.text);
        assert_renewed_but(&node, &["app"]);
    }
}

#[test]
fn valid_certificate_with_other_names_is_renewed_and_another_subject_is_not() {
    let Some(node) = node(PAIR) else { return };
    let pair = |from: &str| {
        for kind in ["crt", "key"] {
            put(&node, &format!("srv/app/app.{kind}"), node.read(&format!("{from}.{kind}")));
        }
    };
    pair("etc/kubernetes/pki/etcd/server");
    node.write("etc/kubecertd/kubecertd.toml", PAIR.replace("\"ca\"", "\"etcd-ca\""));
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    let renewed = node.certificate("app");
    // Made anew with another name, and then the pair without it is put back.
    let old = ["crt", "key"].map(|kind| node.read(&format!("srv/app/app.{kind}")));
    let changed = node.run(&["renew", "app", "--add-san", "new.example.com"]);
    assert_eq!(changed.code, 0, "{}", changed.text);
    put(&node, "srv/app/app.crt", &old[0]);
    put(&node, "srv/app/app.key", &old[1]);
    node.age("app", 5);
    give(&node, "srv/app/app.crt");
    let run = node.run(&["renew", "app"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.certificate("app").subject, renewed.subject);
    // Another subject, with its key: it is valid, and it is not this credential's.
    pair("etc/kubernetes/pki/etcd/healthcheck-client");
    node.age("app", 5);
    give(&node, "srv/app/app.crt");
    let before = node.read("srv/app/app.crt");
    let run = node.run(&["renew", "app"]);
    assert!(run.text.contains("app is known to be for CN=cp1"), "{}", run.text);
    assert_eq!(node.read("srv/app/app.crt"), before);
}
