//! Files that no component can read, and texts that have to fit what was found.

use crate::common::Node;
use crate::common::kubelet::CONF;
use crate::common::requirements::{ROOT, require, skip};
use crate::support::{json, run_tool};

const ADMIN: &str = "etc/kubernetes/admin.conf";

fn state(node: &Node, name: &str) -> (String, String) {
    let json = json(node);
    let lists = ["certificates", "watched"].map(|list| json[list].as_array().unwrap().clone());
    let one = lists.concat().into_iter().find(|one| one["name"] == name).unwrap();
    (one["state"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned())
}

/// A change of the text of a kubeconfig, and the reason that is given.
type Case = (&'static str, fn(&str) -> String, &'static str);

#[test]
fn kubeconfig_that_no_component_can_read_is_unreadable() {
    const CASES: &[Case] = &[
        (
            "a tab in a blank line",
            |text| text.replace("users:\n", "\t\nusers:\n"),
            "line 14: a tab where YAML allows only spaces: no component of Kubernetes can read",
        ),
        (
            "a tab in the last line",
            |text| format!("{text}\t\n"),
            "line 19: a tab where YAML allows only spaces",
        ),
        (
            "a slash with JSON's escape",
            |text| {
                text.replace(
                    "server: https://k8s-api.example.com:6443",
                    "server: \
                \"https:\\/\\/k8s-api.example.com:6443\"",
                )
            },
            "line 5: the escape \\/, which its YAML reader does not know",
        ),
        ("YAML 1.2", |text| format!("%YAML 1.2\n---\n{text}"), "line 1: a directive"),
        (
            "a key that is a list",
            |text| format!("{text}? [a]\n: b\n"),
            "line 19: a key that is neither a string nor a number: no component of Kubernetes",
        ),
        (
            "a file beside data",
            |text| text.replace("    client-key-data:", "    client-key: a\n    client-key-data:"),
            "line 18: client-key is set beside client-key-data, and every component of",
        ),
    ];
    for (name, change, reason) in CASES {
        let node = Node::due();
        node.write(ADMIN, change(&node.text(ADMIN)));
        node.backdate_files();
        let (state, found) = state(&node, "admin.conf");
        assert_eq!(state, "unreadable", "{name}");
        assert!(found.contains(reason), "{name}: {found}");
        let before = node.read(ADMIN);
        assert_eq!(node.run(&["renew"]).code, 4, "{name}");
        assert_eq!(node.read(ADMIN), before, "{name}");
    }
}

/// Makes another text of a kubeconfig.
type Change = fn(&str) -> String;

/// All of these are read by kubectl.
#[test]
fn kubeconfig_with_harmless_tabs_and_escapes_is_renewed() {
    const TEXTS: &[(&str, Change)] = &[
        ("spaces and a tab", |text| text.replace("users:\n", "  \t\nusers:\n")),
        ("tabs around values", |text| {
            text.replace("kind: Config", "kind:\tConfig\t# why").replace("data: LS", "data:\tLS")
        }),
        ("YAML 1.1", |text| format!("%YAML 1.1\n---\n{text}")),
        ("a byte order mark", |text| format!("\u{feff}{text}")),
        ("carriage returns", |text| text.replace('\n', "\r\n")),
    ];
    for (name, change) in TEXTS {
        let node = Node::due();
        node.write(ADMIN, change(&node.text(ADMIN)));
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{name}: {}", run.text);
        assert_eq!(state(&node, "admin.conf").0, "fresh", "{name}");
    }
}

#[test]
fn kubeconfig_with_a_value_of_another_type_is_kept() {
    const CASES: &[Case] = &[
        (
            "a name that YAML 1.1 takes for a boolean",
            |text| text.replace("kubernetes-admin@kubernetes", "on"),
            "is not a string (quote it",
        ),
        (
            "a token of digits",
            |text| format!("{text}- name: robot\n  user: {{token: 123}}\n"),
            "line 20: token is not a string",
        ),
        (
            "a quoted boolean",
            |text| text.replace("    server:", "    insecure-skip-tls-verify: 'no'\n    server:"),
            "line 5: insecure-skip-tls-verify is not true or false",
        ),
        (
            "an argument that is a number",
            |text| {
                format!("{text}- name: robot\n  user:\n    exec: {{command: a, args: [b, 1]}}\n")
            },
            "line 21: args is not a string",
        ),
        (
            "groups that are no list",
            |text| format!("{text}- name: robot\n  user: {{as: a, as-groups: b}}\n"),
            "line 20: as-groups is not a list",
        ),
        (
            "extensions that are no list",
            |text| format!("{text}extensions: {{}}\n"),
            "line 19: extensions is not a list",
        ),
        (
            "a boolean that is a number",
            |text| format!("{text}preferences: {{colors: 1}}\n"),
            "line 19: colors is not true or false",
        ),
        (
            "a user that is there twice",
            |text| format!("{text}- name: robot\n  user: {{}}\n- name: robot\n  user: {{}}\n"),
            "for the second time under users",
        ),
    ];
    for (name, change, reason) in CASES {
        let node = Node::due();
        // A backup, from which a damaged file would be repaired.
        assert_eq!(node.run(&["renew"]).code, 0);
        node.write(ADMIN, change(&node.text(ADMIN)));
        node.backdate_files();
        let before = node.read(ADMIN);
        let (state, found) = state(&node, "admin.conf");
        assert_eq!(state, "unreadable", "{name}: {found}");
        assert!(found.contains(reason), "{name}: {found}");
        assert!(found.contains("correct this; the next pass checks it again"), "{name}: {found}");
        assert_eq!(node.run(&["renew"]).code, 1, "{name}");
        assert_eq!(node.read(ADMIN), before, "{name}");
    }
}

#[test]
fn advice_for_a_repeated_key_is_to_remove_one() {
    let node = Node::due();
    node.write(ADMIN, node.text(ADMIN) + "kind: Config\n");
    let (state, reason) = state(&node, "admin.conf");
    assert_eq!(state, "unreadable");
    assert!(reason.contains("line 19: a key stands here for the second time"), "{reason}");
    assert!(!reason.contains("kubeadm"), "{reason}");
}

#[test]
fn letter_case_of_a_key_is_named() {
    let both = ["client-certificate-data", "client-key-data"];
    for fields in [&both[..1], &both] {
        let node = Node::due();
        for field in fields {
            let capitals = field.replace("client", "Client").replace("data", "Data");
            node.edit(ADMIN, &format!("    {field}:"), &format!("    {capitals}:"));
        }
        let (state, reason) = state(&node, "admin.conf");
        assert_eq!(state, "unreadable");
        let text = "line 17: Kubernetes tells upper case from lower case in the name of a field \
            and does not read this one; write client-certificate-data";
        assert!(reason.contains(text), "{reason}");
        assert!(!reason.contains("one half"), "{reason}");
    }
    let node = Node::due();
    node.edit(ADMIN, "current-context:", "Current-Context:");
    assert!(state(&node, "admin.conf").1.contains("write current-context"));
}

#[test]
fn certificate_that_names_no_node_is_not_called_unreadable() {
    let node = Node::due();
    node.add_kubelet_certificate(-1);
    node.link_kubelet_conf();
    // The certificate of another client in kubelet's place.
    let admin = Node::due();
    admin.age("admin.conf", -1);
    let part = |field| crate::support::embedded(&admin, ADMIN, field);
    let pem = [part("client-certificate-data"), part("client-key-data")].concat();
    let file = node.kubelet_link().strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    node.write(&file, pem);
    node.edit(CONF, "system:node:cp1", "default-auth");
    node.backdate_kubelet_files();
    let (state, reason) = state(&node, "kubelet-client");
    assert_eq!(state, "expired", "{reason}");
    assert!(reason.contains("the old certificate names no node (it is for "), "{reason}");
    assert!(!reason.contains("can't be read"), "{reason}");
    // A file that can't be read is said to be one.
    node.write(&file, "nothing");
    node.backdate_kubelet_files();
    let (_, reason) = self::state(&node, "kubelet-client");
    assert!(reason.contains("there is no old certificate that can be read"), "{reason}");
}

#[test]
fn immutable_file_is_named_and_nothing_is_half_made() {
    require!(ROOT, "chattr");
    for file in ["apiserver.key", "apiserver.crt", ""] {
        let node = Node::due();
        let path = node.path(&format!("etc/kubernetes/pki/{file}"));
        let path = path.to_str().unwrap();
        if !run_tool("chattr", &["+i", path]) {
            return skip(
                "needs a file system with the immutable attribute, and the right to set it",
            );
        }
        let before = node.snapshot();
        let check = node.run(&["check"]);
        let renew = node.run(&["renew"]);
        let dry = node.run(&["renew", "apiserver"]);
        let after = node.snapshot();
        assert!(run_tool("chattr", &["-i", path]));
        let file = format!("/etc/kubernetes/pki/{file}");
        let file = file.trim_end_matches('/');
        let text = format!(
            "{file}: is immutable (chattr +i), so it can't be replaced; to allow it: chattr \
             -i {file}"
        );
        for run in [&check, &renew, &dry] {
            assert!(run.text.contains(&text), "{}", run.text);
        }
        assert_eq!(renew.code, 4, "{}", renew.text);
        let changed = before.changed_paths(&after);
        assert!(!changed.iter().any(|path| path.ends_with("apiserver.crt")), "{changed:?}");
        assert_eq!(node.run(&["renew"]).code, 0);
    }
}
