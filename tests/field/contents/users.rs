//! Kubeconfigs with several users: each client certificate is a credential.

use kubecertd::formats::x509::certificates;
use serde_json::Value;

use crate::common::Node;
use crate::support::{embed, embedded, json};

const ADMIN: &str = "etc/kubernetes/admin.conf";

/// A due node whose admin.conf has a token user as the current one.
fn node_with_token_user() -> Node {
    let node = Node::due();
    node.edit(ADMIN, "users:\n", "users:\n- name: robot\n  user:\n    token: abc\n");
    node.edit(
        ADMIN,
        "    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n",
        "    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n- context:\n    cluster: \
         kubernetes\n    user: robot\n  name: robot@kubernetes\n",
    );
    let admin = "current-context: kubernetes-admin@kubernetes";
    node.edit(ADMIN, admin, "current-context: robot@kubernetes");
    node
}

fn configure(node: &Node, user: &str) {
    let entry = format!(
        "[[credential]]\nname = \"break-glass\"\nca = \"ca\"\nkubeconfig = \
         \"/{ADMIN}\"\nuser = \"{user}\"\n"
    );
    node.write("etc/kubecertd/kubecertd.toml", entry);
}

fn serial(node: &Node) -> String {
    let pem = embedded(node, ADMIN, "client-certificate-data");
    certificates(&pem).unwrap()[0].serial.to_string()
}

fn listed(node: &Node, list: &str, name: &str) -> Value {
    let json = json(node);
    let all = json[list].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{json:#}")).clone()
}

#[test]
fn certificate_of_a_user_that_is_not_current_is_shown_and_watched() {
    let node = node_with_token_user();
    let shown = listed(&node, "watched", "admin.conf/kubernetes-admin");
    assert_eq!(
        (&shown["state"], &shown["action"], &shown["attention"], &shown["caName"]),
        (&"due".into(), &"report".into(), &true.into(), &"ca".into())
    );
    assert_eq!(shown["file"], format!("/{ADMIN}"));
    assert!(shown["subject"].as_str().unwrap().contains("CN=kubernetes-admin"), "{shown}");
    let run = node.run(&["check", "-o", "wide"]);
    assert_eq!(run.code, 3);
    assert!(run.text.contains("admin.conf/kubernetes-admin"), "{}", run.text);
    assert!(run.text.contains("a [[credential]] with kubeconfig and user"), "{}", run.text);
    // The kubeconfig itself has none, which is no fault.
    let shown = listed(&node, "certificates", "admin.conf");
    assert_eq!(
        (&shown["state"], &shown["action"], &shown["attention"]),
        (&"no certificate".into(), &"nothing".into(), &false.into())
    );
    let reason = "its current user \"robot\" authenticates by token and has no certificate";
    assert_eq!(shown["reason"], reason);
    // The certificate is not renewed.
    let before = node.read(ADMIN);
    node.run(&["renew"]);
    assert_eq!(node.read(ADMIN), before);
}

#[test]
fn user_that_the_configuration_names_is_renewed_alone() {
    let node = node_with_token_user();
    configure(&node, "kubernetes-admin");
    let (before, old) = (node.text(ADMIN), serial(&node));
    let run = node.run(&["renew"]);
    let shown = listed(&node, "certificates", "break-glass");
    assert_eq!(shown["state"], "fresh", "{}", run.text);
    assert!(!run.text.contains("admin.conf/"), "{}", run.text);
    assert_ne!(serial(&node), old);
    // Two lines are changed.
    let after = node.text(ADMIN);
    let changed = before.lines().zip(after.lines()).filter(|(old, new)| old != new).count();
    assert_eq!((changed, before.lines().count()), (2, after.lines().count()));
}

#[test]
fn current_and_named_user_are_renewed_in_one_pass() {
    let node = Node::due();
    let admin = node.text(ADMIN);
    let entry = &admin[admin.find("- name: kubernetes-admin\n").unwrap()..];
    let entry = entry.replace("name: kubernetes-admin", "name: second");
    node.write(ADMIN, admin + &entry);
    configure(&node, "second");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    for name in ["admin.conf", "break-glass"] {
        assert_eq!(listed(&node, "certificates", name)["state"], "fresh", "{name}");
    }
    let check = node.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.text);
}

#[test]
fn named_user_that_is_current_is_the_kubeconfig_itself() {
    let node = Node::due();
    configure(&node, "kubernetes-admin");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(
        run.text.contains("break-glass and admin.conf are the same credential"),
        "{}",
        run.text
    );
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn users_with_odd_names_and_files_are_listed_once_each() {
    let node = Node::due();
    node.write("etc/kubernetes/other.crt", embedded(&node, ADMIN, "client-certificate-data"));
    node.write("etc/kubernetes/other.key", embedded(&node, ADMIN, "client-key-data"));
    let more = "- name: \"a b\"\n  user: {client-certificate: other.crt, client-key: \
        other.key}\n- name: a_b\n  user: {client-certificate: gone.crt, client-key: \
        gone.key}\n- name: robot\n  user: {token: x}\n";
    node.write(ADMIN, node.text(ADMIN) + more);
    assert_eq!(listed(&node, "watched", "admin.conf/a_b")["state"], "due");
    assert_eq!(listed(&node, "watched", "admin.conf/a_b-2")["state"], "certificate missing");
    let json = node.run(&["check", "-o", "json"]).text;
    assert!(!json.contains("admin.conf/robot"), "{json}");
    // The further users hold up nothing, and their files are left alone.
    let other = node.read("etc/kubernetes/other.crt");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(listed(&node, "certificates", "admin.conf")["state"], "fresh");
    assert_eq!(node.read("etc/kubernetes/other.crt"), other);
}

#[test]
fn expiry_of_a_user_that_is_not_current_raises_an_alarm() {
    let node = node_with_token_user();
    let expired = Node::fresh(crate::common::ECDSA);
    expired.age("admin.conf", -2);
    for field in ["client-certificate-data", "client-key-data"] {
        embed(&node, ADMIN, field, &embedded(&expired, ADMIN, field));
    }
    node.run(&["renew"]);
    let alarms = node.run(&["alarms", "-o", "json"]).text;
    assert!(alarms.contains("system.certificate.admin.conf/kubernetes-admin"), "{alarms}");
}

/// Each user is renewed in a change of its own, and each change backs up the whole file.
#[test]
fn restore_brings_back_the_certificate_of_its_user_alone() {
    let node = Node::due();
    let text = node.text(ADMIN);
    let users = text.split_once("users:\n").unwrap().1.replace("kubernetes-admin", "other");
    node.write(ADMIN, format!("{}\n{users}", text.trim_end()));
    configure(&node, "other");
    let before = node.text(ADMIN);
    assert_eq!(node.run(&["renew"]).code, 0);
    let after = node.text(ADMIN);
    // Whether each line that was renewed is the earlier one again.
    let is_restored = || -> Vec<bool> {
        let now = node.text(ADMIN);
        let lines = before.lines().zip(after.lines()).zip(now.lines());
        let changed = lines.filter(|((old, new), _)| old != new);
        changed.map(|((old, _), now)| old == now).collect()
    };
    assert_eq!(is_restored(), [false; 4], "both are renewed");
    for (name, restored) in
        [("admin.conf", [true, true, false, false]), ("break-glass", [false, false, true, true])]
    {
        node.write(ADMIN, &after);
        let run = node.run(&["restore", name]);
        assert_eq!((run.code, is_restored().as_slice()), (0, restored.as_slice()), "{}", run.text);
    }
    node.write(ADMIN, &after);
    let first = node.path("var/lib/kubecertd/backups").read_dir().unwrap();
    let first = first.map(|one| one.unwrap().file_name().into_string().unwrap()).min().unwrap();
    assert_eq!(node.run(&["restore", "--from", &first]).code, 0);
    assert_eq!(is_restored(), [true; 4], "both with the file");
}
