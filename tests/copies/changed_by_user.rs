//! Copies that a user has changed, and files that never were copies.

use super::common::{ECDSA, Node};
use super::*;

const ROOT_COPIES: &str = "[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = \
    '/root/.kube/config'\n[[copy]]\nname = 'pair'\nof = 'apiserver'\ncertificate = \
    '/srv/a.crt'\nkey = '/srv/a.key'\n";

/// Makes a node with copies, calls `change`, and renews the originals. Returns the output of
/// `renew`.
fn renewed_after(change: impl FnOnce(&Node)) -> (Node, String) {
    let node = Node::due();
    node.write("root/.kube/config", node.text(ADMIN));
    for end in ["crt", "key"] {
        node.write(
            &format!("srv/a.{end}"),
            node.text(&format!("etc/kubernetes/pki/apiserver.{end}")),
        );
    }
    let node = with_configuration(node, ROOT_COPIES);
    change(&node);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("11 credentials renewed"), "{}", run.text);
    (node, run.text)
}

fn assert_left_alone(node: &Node, name: &str, reported: &str) {
    let check = node.run(&["check"]);
    assert_eq!(check.code, 3, "{}", check.text);
    assert!(
        check.text.contains(&format!("{name}: /")) && check.text.contains(reported),
        "{reported}: {}",
        check.text
    );
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.text.contains(reported) && alarms.text.contains("copy-not-updated"),
        "{}",
        alarms.text
    );
    let status = node.run(&["status"]);
    assert!(status.text.contains(reported), "{}", status.text);
}

const UNKNOWN_CERTIFICATE: &str = "holds no certificate that its original is known to have held";

#[test]
fn copy_with_other_certificate_is_kept_and_reported() {
    let others = Node::fresh(ECDSA);
    assert_eq!(others.run(&["renew", "--force"]).code, 0);
    let scheduler = "etc/kubernetes/scheduler.conf";
    let (node, output) = renewed_after(|node| {
        node.write("root/.kube/config", others.text(scheduler));
        node.write("srv/a.crt", others.text("etc/kubernetes/pki/apiserver.crt"));
        node.write("srv/a.key", others.text("etc/kubernetes/pki/apiserver.key"));
    });
    assert!(output.contains(UNKNOWN_CERTIFICATE), "{output}");
    assert_eq!(node.text("root/.kube/config"), others.text(scheduler));
    assert_eq!(node.text("srv/a.crt"), others.text("etc/kubernetes/pki/apiserver.crt"));
    assert_left_alone(&node, "root", UNKNOWN_CERTIFICATE);
    assert_left_alone(&node, "pair", UNKNOWN_CERTIFICATE);
    // The report says what to do, and that works.
    let check = node.run(&["check"]);
    assert!(
        check.text.contains("To have it updated again, put the content of admin.conf into it"),
        "{}",
        check.text
    );
    node.write("root/.kube/config", node.text(ADMIN));
    for end in ["crt", "key"] {
        node.write(
            &format!("srv/a.{end}"),
            node.text(&format!("etc/kubernetes/pki/apiserver.{end}")),
        );
    }
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(node.run(&["check"]).code, 0);
    assert_eq!(node.run(&["alarms"]).code, 0);
}

/// A certificate is not secret: it alone does not entitle to the new key.
#[test]
fn copy_without_old_key_receives_no_new_key() {
    let without = "holds a certificate of its original's without the private key for it";
    let other = Node::fresh(ECDSA);
    let mine = PrivateKey::from_pem(&other.read("etc/kubernetes/pki/front-proxy-client.key"))
        .unwrap()
        .to_pem()
        .unwrap();
    for key in [Some(mine.expose()), Some(b"nothing".as_slice()), None] {
        let (node, _) = renewed_after(|node| {
            match key {
                Some(key) => node.write("srv/a.key", key),
                None => node.remove("srv/a.key"),
            }
            let mut text = node.text("root/.kube/config");
            let data =
                text.lines().find(|line| line.contains("client-key-data")).unwrap().to_owned();
            let line =
                key.map(|key| format!("    client-key-data: {}", BASE64_STANDARD.encode(key)));
            text = text.replace(&data, &line.unwrap_or_else(|| "    # none".to_owned()));
            node.write("root/.kube/config", text);
        });
        let (certificate, text) = (node.text("srv/a.crt"), node.text("root/.kube/config"));
        assert_ne!(certificate, node.text("etc/kubernetes/pki/apiserver.crt"));
        assert_left_alone(&node, "root", without);
        assert_left_alone(
            &node,
            "pair",
            if key.is_some() { without } else { "one of the two files of this copy is missing" },
        );
        let new = node.text("etc/kubernetes/pki/apiserver.key");
        assert!(key.is_none() || node.text("srv/a.key") != new);
        let (values, _) = split_client_data(&node.text(ADMIN));
        assert!(!text.contains(&BASE64_STANDARD.encode(&values[1])), "the new key");
        assert_eq!(node.path("srv/a.key").exists(), key.is_some());
    }
}

#[test]
fn copy_that_refers_to_files_is_kept_and_reported() {
    let (node, _) = renewed_after(|node| {
        let text = node.text("root/.kube/config");
        let lines = text.lines().map(|line| match line.split_once("-data:") {
            Some((key, _)) if key.contains("client-") => {
                format!("{key}: /etc/kubernetes/pki/apiserver.crt\n")
            }
            _ => format!("{line}\n"),
        });
        node.write("root/.kube/config", lines.collect::<String>());
    });
    assert_left_alone(&node, "root", "refers to files, which are not followed from here");
}

#[test]
fn wildcard_path_matches_only_plausible_copies() {
    let node = Node::due();
    let admin = node.text(ADMIN);
    let elsewhere = Node::fresh(common::RSA);
    node.write(ALICE_CONFIG, alice_kubeconfig(&admin));
    // A kubeconfig of another cluster, one with another user of this cluster, and one without any
    // certificate.
    node.write("home/bob/.kube/config", elsewhere.text(ADMIN));
    node.write("home/carol/.kube/config", node.text("etc/kubernetes/scheduler.conf"));
    node.write(
        "home/dave/.kube/config",
        "apiVersion: v1\nkind: Config\nusers: [{name: d, user: {token: t}}]\n",
    );
    // A kubeconfig with an expired certificate that neither state nor backups know.
    let forgotten = Node::fresh(ECDSA);
    forgotten.age("admin.conf", -40);
    node.write("home/erin/.kube/config", forgotten.text(ADMIN));
    let node = with_configuration(node, HOME_COPIES);
    let kept = ["bob", "carol", "dave", "erin"]
        .map(|user| node.text(&format!("home/{user}/.kube/config")));
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(
        ["bob", "carol", "dave", "erin"]
            .map(|user| node.text(&format!("home/{user}/.kube/config"))),
        kept
    );
    assert_eq!(embedded_fingerprint(&node, ALICE_CONFIG), admin_fingerprint(&node));
    for (user, state) in [
        ("alice", "in step"),
        ("bob", "absent"),
        ("carol", "absent"),
        ("dave", "absent"),
        ("erin", "changed by another program"),
    ] {
        let shown = check_line(&node, &format!("home/{user}/.kube/config"));
        assert!(shown.contains(state), "{shown}");
    }
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.text.contains("/home/erin/") && !alarms.text.contains("/home/bob/"),
        "{}",
        alarms.text
    );
    // A kubeconfig that is added later is found as well.
    node.write("home/frank/.kube/config", node.text(ADMIN));
    assert!(check_line(&node, "home/frank/.kube/config").contains("in step"));
}

#[test]
fn copy_of_broken_original_is_not_changed() {
    let node = Node::due();
    node.write("root/.kube/config", node.text(ADMIN));
    let node = with_configuration(node, ROOT_COPIES);
    assert_eq!(node.run(&["renew"]).code, 0);
    let copy = node.text("root/.kube/config");
    let foreign = Node::fresh(common::RSA).text(ADMIN);
    for (broken, reported) in
        [("nonsense", "is not a kubeconfig"), (&foreign, "its certificate was not issued by ca")]
    {
        node.write(ADMIN, broken);
        let check = node.run(&["check"]);
        assert!(
            check.text.contains("root: is a copy of admin.conf, which can't be copied now: "),
            "{}",
            check.text
        );
        assert!(check.text.contains(reported), "{reported}: {}", check.text);
        node.backdate_files();
        drop(node.run(&["renew", "root"]));
        assert_eq!(node.text("root/.kube/config"), copy, "what is not of its CA is not spread");
    }
}

/// The admin.conf of another control-plane node: of the same user and CA, with another key.
#[test]
fn copy_from_another_node_is_updated_while_it_is_valid() {
    let others = Node::fresh(ECDSA);
    assert_eq!(others.run(&["renew", "--force"]).code, 0);
    let (node, output) = renewed_after(|node| node.write("root/.kube/config", others.text(ADMIN)));
    assert!(!output.contains(UNKNOWN_CERTIFICATE), "{output}");
    assert_eq!(node.text("root/.kube/config"), node.text(ADMIN));

    let expired = Node::fresh(ECDSA);
    expired.age("admin.conf", -1);
    node.write("root/.kube/config", expired.text(ADMIN));
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(node.text("root/.kube/config"), expired.text(ADMIN));
    assert_left_alone(
        &node,
        "root",
        "holds an expired certificate that admin.conf is not known to have held",
    );

    // The certificate alone proves nothing.
    let without_key = others.text(ADMIN).replace("client-key-data: ", "client-key-data: AAAA");
    node.write("root/.kube/config", &without_key);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(node.text("root/.kube/config"), without_key);
    assert_left_alone(&node, "root", "without the private key for it");
}
