//! Kubeconfigs that are none, that have a form which is not touched, or that refer to files.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::ways::*;
use super::*;

/// What a kubeconfig's file may hold: not one of these can be repaired or changed.
const NO_KUBECONFIG: &[Way] = &[
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
            with_text(path, |text| {
                text[..text.find("client-certificate-data: ").unwrap() + 126].to_owned()
            })
        },
        "is not base64 as Kubernetes reads it",
    ),
    (
        "cut off before the users",
        |path| with_text(path, |text| before(text, "users:")),
        "it has no users",
    ),
    (
        "cut off in a line",
        |path| with_text(path, |text| format!("{}users: [", before(text, "users:"))),
        "admin.conf: line 1",
    ),
    (
        "tabs",
        |path| with_text(path, |text| text.replace("  user:\n    client", "  user:\n\tclient")),
        "admin.conf: line 1",
    ),
    (
        "no users",
        |path| with_text(path, |text| before(text, "users:") + "users: []\n"),
        "it has no users",
    ),
    (
        "users of another kind",
        |path| with_text(path, |text| before(text, "users:") + "users: many\n"),
        "users is not a list",
    ),
    (
        "another kind of document",
        |path| with_text(path, |text| text.replace("kind: Config", "kind: Pod")),
        "kind is not \"Config\"",
    ),
    (
        "two documents",
        |path| with_text(path, |text| format!("{text}---\n{text}")),
        "a second document begins here",
    ),
    (
        "a key twice",
        |path| with_text(path, |text| format!("{text}kind: Config\n")),
        "a key stands here for the second time",
    ),
    (
        "no current-context",
        |path| with_text(path, |text| text.replace("current-context: ", "currant-context: ")),
        "it has no current-context",
    ),
    (
        "a current-context that is not there",
        |path| {
            with_text(path, |text| {
                text.replace("current-context: kubernetes-admin", "current-context: somebody")
            })
        },
        "current-context is \"somebody@kubernetes\", but there is no context of that name",
    ),
    (
        "a user that is not there",
        |path| with_text(path, |text| text.replace("user: kubernetes-admin", "user: somebody")),
        "names the user \"somebody\", but there is no user of that name",
    ),
    (
        "a certificate that is none",
        |path| {
            with_text(path, |text| {
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
fn a_kubeconfig_that_is_none_costs_itself_alone() {
    each(
        &[NO_KUBECONFIG],
        ADMIN,
        &Expected { code: PARTLY, left: &["admin.conf"], says: &["there is no backup of it"] },
    );
}

#[test]
fn a_kubeconfig_in_a_form_that_is_not_touched_is_refused_with_the_line() {
    const FORMS: &[Way] = &[
        (
            "a token",
            |path| {
                with_text(path, |text| {
                    before(text, "    client-certificate-data") + "    token: abc\n"
                })
            },
            "its current user \"kubernetes-admin\" has no client certificate (a token, a password \
             or a program, perhaps)",
        ),
        (
            "a certificate alone",
            |path| with_text(path, |text| before(text, "    client-key-data")),
            "one half of the client certificate of \"kubernetes-admin\" is embedded and the other \
             is a file or missing",
        ),
        (
            "half embedded, half a file",
            |path| {
                with_text(path, |text| {
                    before(text, "    client-key-data") + "    client-key: pki/admin.key\n"
                })
            },
            "one half of the client certificate of \"kubernetes-admin\" is embedded and the other \
             is a file or missing",
        ),
        (
            "an anchor that is used twice",
            |path| {
                with_text(path, |text| {
                    text.replace("client-key-data: ", "client-key-data: &key ")
                        + "    extra: *key\n"
                })
            },
            "admin.conf: line 18: client-key-data cannot be replaced without touching anything \
             else: an anchor shares it",
        ),
        (
            "a tag",
            |path| {
                with_text(path, |text| text.replace("client-key-data: ", "client-key-data: !!str "))
            },
            "admin.conf: line 18: client-key-data cannot be replaced without touching anything \
             else: it has a tag",
        ),
        (
            "escapes",
            |path| {
                with_text(path, |text| {
                    text.replace("client-key-data: LS0t", "client-key-data: \"\\x4cS0t")
                        .trim_end()
                        .to_owned()
                        + "\"\n"
                })
            },
            "admin.conf: line 18: client-key-data cannot be replaced without touching anything \
             else: it is written with escapes",
        ),
        (
            "a line separator that not every reader knows",
            |path| with_text(path, |text| format!("# from\u{2028}elsewhere\n{text}")),
            "admin.conf: line 1: a line separator that not every YAML reader knows",
        ),
    ];
    each(&[FORMS], ADMIN, &Expected { code: PARTLY, left: &["admin.conf"], says: &[] });
}

#[test]
fn a_kubeconfigs_key_that_is_no_use_is_made_anew() {
    for (name, key, reason) in [
        ("another key", KEY, "client-key-data: the key does not fit the certificate"),
        ("encrypted", ENCRYPTED, "client-key-data: the private key is encrypted with a passphrase"),
        ("prose", "to be copied here later", "client-key-data: the file holds no PEM block"),
    ] {
        let node = Node::due();
        embed(&node, ADMIN, "client-key-data", key.as_bytes());
        Expected { code: FINE, left: &[], says: &["/etc/kubernetes/admin.conf: ", reason] }
            .of(name, &node);
    }
}

/// Gives one embedded value of a kubeconfig another content.
pub fn embed(node: &Node, file: &str, field: &str, content: &[u8]) {
    let text = node.text(file);
    let lines = text.lines().map(|line| match line.split_once(field) {
        Some((indent, _)) => format!("{indent}{field}: {}\n", BASE64_STANDARD.encode(content)),
        None => format!("{line}\n"),
    });
    node.write(file, lines.collect::<String>());
}

/// One embedded value of a kubeconfig.
pub fn embedded(node: &Node, file: &str, field: &str) -> Vec<u8> {
    let text = node.text(file);
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(": ")).unwrap();
    BASE64_STANDARD.decode(value).unwrap()
}

/// Takes a kubeconfig's certificate and key out of it, into these files, which it then refers to.
pub fn refer(node: &Node, file: &str, certificate: &str, key: &str) {
    let parts = [("client-certificate", certificate), ("client-key", key)];
    for (field, target) in parts {
        let data = format!("{field}-data");
        let place = target
            .strip_prefix('/')
            .map_or_else(|| format!("etc/kubernetes/{target}"), str::to_owned);
        node.write(&place, embedded(node, file, &data));
        let text = node.text(file);
        let lines = text.lines().map(|line| match line.split_once(&data) {
            Some((indent, _)) => format!("{indent}{field}: {target}\n"),
            None => format!("{line}\n"),
        });
        node.write(file, lines.collect::<String>());
    }
}

#[test]
fn a_kubeconfig_that_refers_to_files_is_renewed_in_them_and_stays_as_it_is() {
    let cases = [
        ("pki/scheduler.crt", "pki/scheduler.key"),
        ("/etc/scheduler/tls.crt", "/etc/scheduler/tls.key"),
        ("one.pem", "one.pem"),
    ];
    for (certificate, key) in cases {
        let node = Node::due();
        refer(&node, SCHEDULER, certificate, key);
        if certificate == key {
            let part = |field| embedded(&Node::due(), SCHEDULER, field);
            node.write(
                "etc/kubernetes/one.pem",
                [part("client-certificate-data"), part("client-key-data")].concat(),
            );
        }
        let before = node.read(SCHEDULER);
        Expected { code: FINE, left: &[], says: &["scheduler.conf"] }.of(certificate, &node);
        assert_eq!(node.read(SCHEDULER), before, "{certificate}");
    }
}

#[test]
fn a_kubeconfig_that_refers_to_files_that_are_not_there_is_an_error() {
    for missing in ["certificate", "both"] {
        let node = Node::due();
        refer(&node, SCHEDULER, "pki/scheduler.crt", "pki/scheduler.key");
        node.remove("etc/kubernetes/pki/scheduler.crt");
        if missing == "both" {
            node.remove("etc/kubernetes/pki/scheduler.key");
        }
        let says = &["/etc/kubernetes/pki/scheduler.crt", "does not exist"];
        Expected { code: PARTLY, left: &["scheduler.conf"], says }.of(missing, &node);
    }
}
