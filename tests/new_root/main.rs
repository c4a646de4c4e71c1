//! A root CA of the operator's own: which certificates are accepted, what openssl thinks of those
//! that are not, and the installation before there is a cluster.
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

#[path = "../common/mod.rs"]
mod common;

mod forms;
mod go;
mod installation;
mod trust_store;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::requirements::require;
use common::{CA_CRT, CA_KEY, ECDSA, Node, RSA, Run, kubecertd};
use kubecertd::formats::x509::{PrivateKey, certificates};

/// The extensions of a good root.
const BASIC: &str = "basicConstraints = critical, CA:TRUE";
const USAGE: &str = "keyUsage = critical, keyCertSign, cRLSign";
const IDENTIFIER: &str = "subjectKeyIdentifier = hash";
const NO_IDENTIFIER: &str = "subjectKeyIdentifier = none";

/// A directory with the files of an operator.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Runs a shell script in the directory, which has to succeed.
    fn shell(&self, script: &str) -> String {
        let output =
            Command::new("sh").args(["-ec", script]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes NAME.crt and NAME.key: a self-signed certificate for ten years, with these extensions.
    fn root(&self, name: &str, extensions: &[&str]) {
        self.root_with(name, "ec -pkeyopt ec_paramgen_curve:P-256", "-sha256", extensions);
    }

    fn root_with(&self, name: &str, key: &str, options: &str, extensions: &[&str]) {
        let extensions = extensions.join("\n");
        let configuration = format!("[req]\ndistinguished_name = dn\n[dn]\n[v3]\n{extensions}\n");
        fs::write(self.path("openssl.cnf"), configuration).unwrap();
        self.shell(&format!(
            "umask 077; openssl req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.crt \
             -subj '/O=Example Company/CN={name}' -days 3650 {options} -config openssl.cnf \
             -extensions v3 2>&1"
        ));
    }

    /// Signs the certificate of a server and client with a root, and returns whether openssl
    /// verifies it by the root, in the usual way and strictly by RFC 5280.
    fn verified_by_openssl(&self, root: &str) -> [bool; 2] {
        fs::write(
            self.path("leaf.cnf"),
            "[v3]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
             extendedKeyUsage = serverAuth, clientAuth\nsubjectKeyIdentifier = hash\n\
             authorityKeyIdentifier = keyid\nsubjectAltName = DNS:localhost\n",
        )
        .unwrap();
        self.shell(&format!(
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key \
             -subj /CN=leaf -out leaf.csr 2>&1; openssl x509 -req -in leaf.csr -CA {root}.crt \
             -CAkey {root}.key -extfile leaf.cnf -extensions v3 -days 365 -out leaf.crt 2>&1 || \
             openssl x509 -req -in leaf.csr -CA {root}.crt -CAkey {root}.key -days 365 -out \
             leaf.crt"
        ));
        ["", "-x509_strict"].map(|strictly| {
            let verifies = |purpose: &str| {
                let mut command = Command::new("openssl");
                command
                    .args(["verify", "-purpose", purpose, "-CAfile"])
                    .arg(self.path(root).with_extension("crt"));
                command.args([strictly].into_iter().filter(|word| !word.is_empty()));
                command.arg(self.path("leaf.crt")).output().unwrap().status.success()
            };
            verifies("sslserver") && verifies("sslclient")
        })
    }

    fn check(&self, arguments: &[&str]) -> Run {
        check_on(&Node::empty(), self, arguments)
    }
}

/// Runs `ca check` on a node, with files of the operator.
fn check_on(node: &Node, desk: &Desk, arguments: &[&str]) -> Run {
    on_node(node, desk, "check", arguments)
}

fn install_on(node: &Node, desk: &Desk, arguments: &[&str]) -> Run {
    on_node(node, desk, "install", arguments)
}

fn on_node(node: &Node, desk: &Desk, verb: &str, arguments: &[&str]) -> Run {
    let path = |argument: &&str| match argument.strip_prefix("--") {
        Some(_) => (*argument).to_owned(),
        None => desk.path(argument).to_str().unwrap().to_owned(),
    };
    let root = node.root().to_str().unwrap().to_owned();
    let start = ["--root", &root, "ca", verb].map(str::to_owned);
    let all: Vec<_> = start.into_iter().chain(arguments.iter().map(path)).collect();
    kubecertd(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn assert_says(run: &Run, code: i32, words: &str) {
    assert!(run.code == code && run.text.contains(words), "{words}: {} {}", run.code, run.text);
    assert!(!run.text.contains("BEGIN"), "{}", run.text);
}

const USABLE: &str = "usable   it can be the root CA of a cluster\n";

#[test]
fn usual_roots_are_accepted_and_verify_strictly() {
    require!("openssl");
    let desk = Desk::new();
    for (name, key, options) in [
        ("rsa2048", "rsa:2048", "-sha256"),
        ("rsa4096", "rsa:4096", "-sha512"),
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256", "-sha256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384", "-sha384"),
    ] {
        desk.root_with(name, key, options, &[BASIC, USAGE, IDENTIFIER]);
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let run = desk.check(&[&certificate, &key]);
        assert_says(&run, 0, USABLE);
        assert!(!run.text.contains("warning") && !run.text.contains("refused"), "{}", run.text);
        assert_eq!(desk.verified_by_openssl(name), [true; 2], "{name}");
        assert_says(&desk.check(&[&certificate]), 0, "warning  the private key was not given");
    }
    // Without an argument for the key, that of the same file counts.
    desk.shell("cat p256.key p256.crt >both.pem; cat p384.key p256.crt >mixed.pem");
    let run = desk.check(&["both.pem"]);
    assert!(run.text.ends_with(USABLE) && !run.text.contains("warning"), "{}", run.text);
    assert_says(&desk.check(&["mixed.pem"]), 3, "refused  the private key does not belong to");
    assert_says(&desk.check(&["p256.crt", "p384.key"]), 3, "the private key does not belong to");
}

/// A root, its extensions, what is said of it, and whether openssl verifies by it, in the usual way
/// and strictly.
type Case = (&'static str, &'static [&'static str], &'static str, [bool; 2]);

/// The issuer `CN=other` with the root's serial number, and the root's issuer with another number.
const NAMES_OTHER_ISSUER: &str = "authorityKeyIdentifier = \
    DER:3019a114a4123010310e300c06035504030c056f74686572820101";
const NAMES_OTHER_SERIAL: &str = "authorityKeyIdentifier = DER:3003820102";

const FAULTS: [Case; 12] = [
    (
        "no-ca",
        &["basicConstraints = critical, CA:FALSE", USAGE, IDENTIFIER],
        "it is no CA certificate",
        [false; 2],
    ),
    (
        "not-critical",
        &["basicConstraints = CA:TRUE", USAGE, IDENTIFIER],
        "its basicConstraints are not critical",
        [true, false],
    ),
    (
        "no-signing",
        &[BASIC, "keyUsage = critical, digitalSignature", IDENTIFIER],
        "it may not sign certificates",
        [false; 2],
    ),
    (
        "no-identifier",
        &[BASIC, USAGE, NO_IDENTIFIER],
        "it has no subjectKeyIdentifier",
        [true, false],
    ),
    ("no-usage", &[BASIC, IDENTIFIER], "it has no keyUsage", [true, false]),
    (
        "other-issuer",
        &[BASIC, USAGE, IDENTIFIER, NAMES_OTHER_ISSUER],
        "its authorityKeyIdentifier names another certificate",
        [false; 2],
    ),
    (
        "other-serial",
        &[BASIC, USAGE, IDENTIFIER, NAMES_OTHER_SERIAL],
        "its authorityKeyIdentifier names another certificate",
        [false; 2],
    ),
    (
        "servers",
        &[BASIC, USAGE, IDENTIFIER, "extendedKeyUsage = serverAuth"],
        "its extendedKeyUsage allows servers only",
        [false; 2],
    ),
    (
        "any",
        &[BASIC, USAGE, IDENTIFIER, "extendedKeyUsage = anyExtendedKeyUsage"],
        "its extendedKeyUsage allows any purpose, which OpenSSL does not take",
        [false; 2],
    ),
    (
        "names",
        &[BASIC, USAGE, IDENTIFIER, "nameConstraints = critical, permitted;DNS:example.com"],
        "it has name constraints",
        [false; 2],
    ),
    (
        "unknown",
        &[BASIC, USAGE, IDENTIFIER, "1.2.3.4 = critical, DER:0500"],
        "it has critical extensions that Kubernetes does not know (1.2.3.4)",
        [false; 2],
    ),
    ("sha1", &[BASIC, USAGE, IDENTIFIER], "it is signed with SHA-1", [true; 2]),
];

#[test]
fn faults_are_those_of_openssl_and_kubernetes() {
    require!("openssl");
    let desk = Desk::new();
    for (name, extensions, words, verified) in FAULTS {
        let digest = if name == "sha1" { "-sha1" } else { "-sha256 -set_serial 1" };
        desk.root_with(name, "ec -pkeyopt ec_paramgen_curve:P-256", digest, extensions);
        let run = desk.check(&[&format!("{name}.crt"), &format!("{name}.key")]);
        assert_says(&run, 3, &format!("refused  {words}"));
        assert_says(&run, 3, "It can't be the root CA of a cluster: 1 reason.");
        assert_eq!(desk.verified_by_openssl(name), verified, "{name}");
    }
    desk.root("no-room", &["basicConstraints = critical, CA:TRUE, pathlen:0", USAGE, IDENTIFIER]);
    assert_says(&desk.check(&["no-room.crt", "no-room.key"]), 0, "warning  its path length is 0");
}

#[test]
fn kinds_of_keys_are_judged() {
    require!("openssl");
    let desk = Desk::new();
    let good = [BASIC, USAGE, IDENTIFIER];
    desk.root_with("p521", "ec -pkeyopt ec_paramgen_curve:P-521", "-sha512", &good);
    assert_says(
        &desk.check(&["p521.crt", "p521.key"]),
        0,
        "warning  its key is of the kind ECDSA-P521",
    );
    desk.root_with("ed25519", "ed25519", "", &good);
    assert_says(
        &desk.check(&["ed25519.crt", "ed25519.key"]),
        3,
        "refused  its key is of the kind Ed25519",
    );
    desk.root_with("rsa1024", "rsa:1024", "-sha256", &good);
    let run = desk.check(&["rsa1024.crt"]);
    assert_says(&run, 3, "refused  its key is of the kind RSA-1024");
    assert_says(&run, 3, "1 reason.");
}

#[test]
fn intermediate_and_old_version_are_refused() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell(
        "printf '[v3]\\nbasicConstraints = critical, CA:TRUE\\nkeyUsage = critical, keyCertSign\\n\
         subjectKeyIdentifier = hash\\nauthorityKeyIdentifier = keyid\\n' >v3.cnf
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout issuing.key \
           -subj /CN=issuing -out issuing.csr 2>&1
         openssl x509 -req -in issuing.csr -CA company.crt -CAkey company.key -extfile v3.cnf \
           -extensions v3 -days 3000 -out issuing.crt 2>&1
         openssl x509 -req -in issuing.csr -signkey issuing.key -days 3000 -out old.crt 2>&1
         cat issuing.crt company.crt >chain.crt",
    );
    let run = desk.check(&["issuing.crt", "issuing.key"]);
    assert_says(
        &run,
        3,
        "refused  it is an intermediate CA, issued by CN=company,O=Example Company:",
    );
    assert_says(&run, 3, "1 reason.");
    let run = desk.check(&["chain.crt", "issuing.key"]);
    assert_says(&run, 1, "chain.crt: it holds 2 certificates: a root CA is exactly one");
    let run = desk.check(&["old.crt", "issuing.key"]);
    assert_says(&run, 3, "refused  it is a certificate of X.509 version 1");
    // One bit of the signature.
    let mut der = certificates(desk.text("company.crt").as_bytes()).unwrap()[0].der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    fs::write(desk.path("forged.der"), der).unwrap();
    desk.shell("openssl x509 -inform DER -in forged.der -out forged.crt");
    assert_says(
        &desk.check(&["forged.crt", "company.key"]),
        3,
        "its signature was not made by its own key",
    );
}

#[test]
fn root_is_compared_with_the_present_one() {
    require!("openssl");
    let desk = Desk::new();
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        fs::write(desk.path("present.crt"), node.read(CA_CRT)).unwrap();
        fs::write(desk.path("present.key"), node.read(CA_KEY)).unwrap();
        let run = check_on(&node, &desk, &["present.crt", "present.key"]);
        assert_says(
            &run,
            0,
            "warning  it is the present root CA of this node (/etc/kubernetes/pki/ca.crt)",
        );
        // openssl writes the name as UTF8String, and kubeadm as PrintableString.
        fs::write(
            desk.path("openssl.cnf"),
            format!("[req]\ndistinguished_name = dn\n[dn]\n[v3]\n{BASIC}\n{USAGE}\n{IDENTIFIER}\n"),
        )
        .unwrap();
        desk.shell(
            "openssl req -x509 -new -key present.key -out name.crt -subj /CN=kubernetes -days 3650 \
             -config openssl.cnf -extensions v3
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key \
             -out new.crt -subj /CN=kubernetes -days 3650 -config openssl.cnf -extensions v3 2>&1",
        );
        let run = check_on(&node, &desk, &["name.crt", "present.key"]);
        assert_says(
            &run,
            3,
            "it has the key of the present root CA (/etc/kubernetes/pki/ca.crt), and not the same \
             bytes",
        );
        // Both have key identifiers, and so do the certificates of these versions of kubeadm.
        assert_says(&check_on(&node, &desk, &["new.crt", "new.key"]), 0, USABLE);
        node.shorten_authority("etc/kubernetes/pki/ca", 300);
        fs::write(desk.path("short.crt"), node.read(CA_CRT)).unwrap();
        let run = check_on(&node, &desk, &["short.crt", "present.key"]);
        assert_says(
            &run,
            3,
            "it expires in 300 days: certificates that it signs are valid for 365 days",
        );
    }
}
