//! Kubeconfigs that are invalid, that have an unsupported form, or that refer to files.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::faults::*;
use super::*;

/// Invalid contents of a kubeconfig. None of them can be repaired or changed.
const NO_KUBECONFIG: &[Fault] = &[
    ("empty", |path| fs::write(path, "").unwrap(), "admin.conf: it is empty"),
    ("zeros", |path| fs::write(path, [0; 600]).unwrap(), "admin.conf: line 1"),
    (
        "binary",
        |path| fs::write(path, [b"kind: Config\n", [0xff; 9].as_slice()].concat()).unwrap(),
        "line 2: not UTF-8 text",
    ),
    (
        "prose",
        |path| fs::write(path, "to be copied here later\n").unwrap(),
        "it is not a kubeconfig",
    ),
    ("a certificate", |path| fs::write(path, certificate_pem()).unwrap(), "it is not a kubeconfig"),
    ("DER", |path| fs::write(path, [0x30, 0x82, 1, 0, 0x30, 0x81]).unwrap(), "not UTF-8 text"),
    (
        "cut off in the certificate",
        |path| {
            edit_text(path, |text| {
                text[..text.find("client-certificate-data: ").unwrap() + 126].to_owned()
            })
        },
        "is not base64 as Kubernetes reads it",
    ),
    (
        "cut off before the users",
        |path| edit_text(path, |text| text_before(text, "users:")),
        "it has no users",
    ),
    (
        "cut off in a line",
        |path| edit_text(path, |text| format!("{}users: [", text_before(text, "users:"))),
        "admin.conf: line 1",
    ),
    (
        "tabs",
        |path| edit_text(path, |text| text.replace("  user:\n    client", "  user:\n\tclient")),
        "admin.conf: line 1",
    ),
    (
        "no users",
        |path| edit_text(path, |text| text_before(text, "users:") + "users: []\n"),
        "it has no users",
    ),
    (
        "users of another kind",
        |path| edit_text(path, |text| text_before(text, "users:") + "users: many\n"),
        "users is not a list",
    ),
    (
        "another kind of document",
        |path| edit_text(path, |text| text.replace("kind: Config", "kind: Pod")),
        "kind is not \"Config\"",
    ),
    (
        "no current-context",
        |path| edit_text(path, |text| text.replace("current-context: ", "currant-context: ")),
        "it has no current-context",
    ),
    (
        "a current-context that is not there",
        |path| {
            edit_text(path, |text| {
                text.replace("current-context: kubernetes-admin", "current-context: unknown")
            })
        },
        "current-context is \"unknown@kubernetes\", but there is no context of that name",
    ),
    (
        "a user that is not there",
        |path| edit_text(path, |text| text.replace("user: kubernetes-admin", "user: unknown")),
        "names the user \"unknown\", but there is no user of that name",
    ),
    (
        "a certificate that is none",
        |path| {
            edit_text(path, |text| {
                text.replace(
                    "certificate-data: LS0tLS1CRUdJTiBDRVJUS",
                    "certificate-data: bm90aGluZyBvZiB0aGUga",
                )
            })
        },
        "client-certificate-data: the file holds no PEM block",
    ),
];

#[test]
fn invalid_kubeconfig_affects_only_itself() {
    check_faults(
        &[NO_KUBECONFIG],
        ADMIN,
        &Expected { code: PARTIAL, left: &["admin.conf"], reported: &["there is no backup of it"] },
    );
}

#[test]
fn unsupported_kubeconfig_is_refused_with_line() {
    const FORMS: &[Fault] = &[
        (
            "two documents",
            |path| edit_text(path, |text| format!("{text}---\n{text}")),
            "a second document begins here",
        ),
        (
            "a key twice",
            |path| edit_text(path, |text| format!("{text}kind: Config\n")),
            "a key stands here for the second time",
        ),
        (
            "a password",
            |path| {
                edit_text(path, |text| {
                    text_before(text, "    client-certificate-data") + "    username: abc\n"
                })
            },
            "its current user \"kubernetes-admin\" has no client certificate",
        ),
        (
            "a certificate alone",
            |path| edit_text(path, |text| text_before(text, "    client-key-data")),
            "one half of the client certificate of \"kubernetes-admin\" is embedded and the other \
             is a file or missing",
        ),
        (
            "half embedded, half a file",
            |path| {
                edit_text(path, |text| {
                    text_before(text, "    client-key-data") + "    client-key: pki/admin.key\n"
                })
            },
            "one half of the client certificate of \"kubernetes-admin\" is embedded and the other \
             is a file or missing",
        ),
        (
            "an anchor that is used twice",
            |path| {
                edit_text(path, |text| {
                    text.replace("client-key-data: ", "client-key-data: &key ")
                        + "    extra: *key\n"
                })
            },
            "admin.conf: line 18: client-key-data cannot be replaced without changing anything \
             else: an anchor shares it",
        ),
        (
            "a tag",
            |path| {
                edit_text(path, |text| text.replace("client-key-data: ", "client-key-data: !!str "))
            },
            "admin.conf: line 18: client-key-data cannot be replaced without changing anything \
             else: it has a tag",
        ),
        (
            "escapes",
            |path| {
                edit_text(path, |text| {
                    text.replace("client-key-data: LS0t", "client-key-data: \"\\x4cS0t")
                        .trim_end()
                        .to_owned()
                        + "\"\n"
                })
            },
            "admin.conf: line 18: client-key-data cannot be replaced without changing anything \
             else: it is written with escapes",
        ),
        (
            "a line separator that not every reader knows",
            |path| edit_text(path, |text| format!("# from\u{2028}elsewhere\n{text}")),
            "admin.conf: line 1: a line separator that not every YAML reader knows",
        ),
    ];
    check_faults(
        &[FORMS],
        ADMIN,
        &Expected { code: PARTIAL, left: &["admin.conf"], reported: &[] },
    );
}

#[test]
fn unusable_kubeconfig_key_is_replaced() {
    for (name, key, reason) in [
        ("another key", OTHER_KEY, "client-key-data: the key does not fit the certificate"),
        (
            "encrypted",
            ENCRYPTED_KEY,
            "client-key-data: the private key is encrypted with a passphrase",
        ),
        ("prose", "to be copied here later", "client-key-data: the file holds no PEM block"),
    ] {
        let node = Node::due();
        embed(&node, ADMIN, "client-key-data", key.as_bytes());
        Expected { code: SUCCESS, left: &[], reported: &["/etc/kubernetes/admin.conf: ", reason] }
            .assert(name, &node);
    }
}

/// Replaces one embedded value of a kubeconfig.
pub fn embed(node: &Node, file: &str, field: &str, content: &[u8]) {
    let text = node.text(file);
    let lines = text.lines().map(|line| match line.split_once(field) {
        Some((indent, _)) => format!("{indent}{field}: {}\n", BASE64_STANDARD.encode(content)),
        None => format!("{line}\n"),
    });
    node.write(file, lines.collect::<String>());
}

/// Returns one embedded value of a kubeconfig.
pub fn read_embedded(node: &Node, file: &str, field: &str) -> Vec<u8> {
    let text = node.text(file);
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(": ")).unwrap();
    BASE64_STANDARD.decode(value).unwrap()
}

/// Moves a kubeconfig's certificate and key to these files, and makes it refer to them.
pub fn refer_to_files(node: &Node, file: &str, certificate: &str, key: &str) {
    let parts = [("client-certificate", certificate), ("client-key", key)];
    for (field, target) in parts {
        let data = format!("{field}-data");
        let place = target
            .strip_prefix('/')
            .map_or_else(|| format!("etc/kubernetes/{target}"), str::to_owned);
        node.write(&place, read_embedded(node, file, &data));
        let text = node.text(file);
        let lines = text.lines().map(|line| match line.split_once(&data) {
            Some((indent, _)) => format!("{indent}{field}: {target}\n"),
            None => format!("{line}\n"),
        });
        node.write(file, lines.collect::<String>());
    }
}

#[test]
fn kubeconfig_with_files_is_renewed_in_those_files() {
    let cases = [
        ("pki/scheduler.crt", "pki/scheduler.key"),
        ("/etc/scheduler/tls.crt", "/etc/scheduler/tls.key"),
        ("one.pem", "one.pem"),
    ];
    for (certificate, key) in cases {
        let node = Node::due();
        refer_to_files(&node, SCHEDULER, certificate, key);
        if certificate == key {
            let part = |field| read_embedded(&Node::due(), SCHEDULER, field);
            node.write(
                "etc/kubernetes/one.pem",
                [part("client-certificate-data"), part("client-key-data")].concat(),
            );
        }
        let before = node.read(SCHEDULER);
        Expected { code: SUCCESS, left: &[], reported: &["scheduler.conf"] }
            .assert(certificate, &node);
        assert_eq!(node.read(SCHEDULER), before, "{certificate}");
    }
}

#[test]
fn missing_files_of_kubeconfig_are_made_by_profile() {
    for missing in ["certificate", "both"] {
        let node = Node::due();
        refer_to_files(&node, SCHEDULER, "pki/scheduler.crt", "pki/scheduler.key");
        node.remove("etc/kubernetes/pki/scheduler.crt");
        if missing == "both" {
            node.remove("etc/kubernetes/pki/scheduler.key");
        }
        let reported = &["/etc/kubernetes/pki/scheduler.crt", "lost: made by the profile"];
        Expected { code: SUCCESS, left: &[], reported }.assert(missing, &node);
        assert!(node.text(SCHEDULER).contains("pki/scheduler.crt"), "it refers to them still");
    }
}
