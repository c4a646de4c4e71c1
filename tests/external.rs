//! An external CA, played by openssl: it signs the requests of the node, and the answers replace
//! the old certificates. A wrong answer changes nothing.
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

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::requirements::require;
use common::{CA_KEY, ECDSA, Node, RSA, STATE, now};
use kubecertd::formats::x509::{Certificate, Oid};

const CA: &str = "etc/kubernetes/pki/ca.crt";
const REQUESTS: &str = "var/lib/kubecertd/requests";

/// A node without the key of its root CA, and the CA.
struct ExternalCa {
    node: Node,
    dir: tempfile::TempDir,
}

impl ExternalCa {
    fn new(tree: &str) -> Self {
        let node = Node::fresh(tree);
        node.age_all(10);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), node.read(CA)).unwrap();
        fs::write(dir.path().join("ca.key"), node.read(CA_KEY)).unwrap();
        node.remove(CA_KEY);
        Self { node, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the request that `csr` prints for one credential to a file.
    fn request_csr(&self, name: &str) -> PathBuf {
        let run = self.node.run(&["csr", name]);
        assert_eq!(run.code, 0, "{}", run.text);
        let pem = run.text.find("-----BEGIN CERTIFICATE REQUEST-----").unwrap();
        assert!(!run.text.contains("PRIVATE KEY"), "{}", run.text);
        let file = self.path(&format!("{name}.csr"));
        let end = run.text.rfind("-----\n").unwrap() + 6;
        fs::write(&file, &run.text[pem..end]).unwrap();
        file
    }

    /// Signs a request with openssl and these additional options.
    fn sign(&self, request: &Path, options: &str) -> PathBuf {
        let answer = self.path("answer.crt");
        let (authority, key) = ("ca.crt", "ca.key");
        openssl(
            self.dir.path(),
            &format!(
                "x509 -req -in {} -CA {authority} -CAkey {key} -set_serial 0x{:x} -out {} \
                 {options}",
                request.display(),
                now().seconds(),
                answer.display(),
            ),
        );
        answer
    }

    /// Asserts that `install` refuses an answer for this reason, and that nothing changes.
    fn assert_refuses(&self, name: &str, answer: &Path, words: &str) {
        let before = self.node.snapshot();
        let run = self.node.run(&["install", name, answer.to_str().unwrap()]);
        assert_eq!(run.code, 1, "{words}: {}", run.text);
        assert!(run.text.contains(words), "{words:?} is not in {}", run.text);
        let changed = before.differences(&self.node.snapshot());
        assert!(
            changed.iter().all(|line| line.starts_with("var/lib/kubecertd")),
            "{words}: {changed:#?}"
        );
    }
}

fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The options of a CA that copies all requested extensions.
const COPY_EXTENSIONS: &str = "-days 365 -copy_extensions copyall";

/// Returns every extension except the key identifiers.
fn extensions(certificate: &Certificate) -> Vec<(Oid<'static>, bool, Vec<u8>)> {
    let names = ["2.5.29.14", "2.5.29.35"];
    let others = certificate
        .extensions
        .iter()
        .filter(|one| !names.contains(&one.oid.to_id_string().as_str()));
    others.map(|one| (one.oid.clone(), one.critical, one.value.clone())).collect()
}

#[test]
fn installed_answer_replaces_old_certificate() {
    require!("openssl");
    for (tree, name, files) in [
        (
            ECDSA,
            "apiserver",
            &["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/pki/apiserver.key"][..],
        ),
        (
            RSA,
            "apiserver-kubelet-client",
            &[
                "etc/kubernetes/pki/apiserver-kubelet-client.crt",
                "etc/kubernetes/pki/apiserver-kubelet-client.key",
            ],
        ),
        (RSA, "admin.conf", &["etc/kubernetes/admin.conf"]),
    ] {
        let ca = ExternalCa::new(tree);
        let node = &ca.node;
        let old = node.certificate(name);
        let old_files: Vec<_> = files.iter().map(|file| node.read(file)).collect();
        let modes = || {
            files
                .iter()
                .map(|file| fs::metadata(node.path(file)).unwrap().permissions().mode())
                .collect::<Vec<_>>()
        };
        let old_modes = modes();
        let answer = ca.sign(&ca.request_csr(name), COPY_EXTENSIONS);
        let run = node.run(&["install", name, answer.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(run.text.starts_with(&format!("installed {name}: valid until ")), "{}", run.text);

        let new = node.certificate(name);
        assert!(
            new.not_after > now().plus(kubecertd::model::days(364)),
            "{name} ends {}",
            new.not_after
        );
        assert_eq!(
            (new.subject.der(), extensions(&new)),
            (old.subject.der(), extensions(&old)),
            "{name}"
        );
        assert_ne!(new.public_key_der(), old.public_key_der(), "a new key");
        assert_eq!(modes(), old_modes);
        let output = node.run(&["check"]).text;
        assert!(
            output
                .lines()
                .any(|line| line.starts_with(&format!("{name} ")) && line.contains("fresh")),
            "{output}"
        );
        assert_eq!(
            fs::read_dir(node.path(REQUESTS)).unwrap().count(),
            0,
            "the key of the request is removed"
        );
        // The old files are in a backup, as after any renewal.
        assert_eq!(node.run(&["restore", name]).code, 0);
        assert_eq!(files.iter().map(|file| node.read(file)).collect::<Vec<_>>(), old_files);
        ca.assert_refuses(name, &answer, "there is no request for it on this node");
    }
}

#[test]
fn repeated_request_matches_certificate_and_keeps_key() {
    require!("openssl");
    for tree in [ECDSA, RSA] {
        let ca = ExternalCa::new(tree);
        let request = ca.request_csr("apiserver");
        let text = |arguments: &str| openssl(ca.dir.path(), arguments);
        fs::write(ca.path("old.crt"), ca.node.read("etc/kubernetes/pki/apiserver.crt")).unwrap();
        let asked = text("req -in apiserver.csr -noout -text -verify");
        let old = text(
            "x509 -in old.crt -noout -ext \
             subjectAltName,keyUsage,extendedKeyUsage,basicConstraints",
        );
        for line in old.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(asked.contains(line), "{line:?} is not in {asked}");
        }
        let key = ca.node.path(REQUESTS).join("apiserver.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(ca.node.path(REQUESTS)).unwrap().permissions().mode() & 0o777,
            0o700
        );
        // A repeated request has the same key, so that an outstanding answer still fits.
        let first = fs::read(&request).unwrap();
        let public = |file: &Path| text(&format!("req -in {} -noout -pubkey", file.display()));
        let (one, two) = (public(&request), public(&ca.request_csr("apiserver")));
        assert_eq!(one, two);
        fs::write(&request, first).unwrap();
        let answer = ca.sign(&request, COPY_EXTENSIONS);
        assert_eq!(ca.node.run(&["install", "apiserver", answer.to_str().unwrap()]).code, 0);
    }
}

#[test]
fn wrong_answer_is_refused_without_change() {
    require!("openssl");
    let ca = ExternalCa::new(ECDSA);
    let node = &ca.node;
    let request = ca.request_csr("apiserver");
    let answer = |options: &str| ca.sign(&request, options);
    ca.assert_refuses(
        "apiserver",
        &answer("-days 5 -copy_extensions copyall"),
        "the new certificate expires at ",
    );
    ca.assert_refuses(
        "apiserver",
        &answer("-days 5000 -copy_extensions copyall"),
        ", after its CA (",
    );
    ca.assert_refuses("apiserver", &answer("-days 365"), "the new certificate");
    fs::write(
        ca.path("names.cnf"),
        "subjectAltName=DNS:kubernetes\nkeyUsage=critical,digitalSignature\n\
         extendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n",
    )
    .unwrap();
    ca.assert_refuses("apiserver", &answer("-days 365 -extfile names.cnf"), "is not valid for ");
    fs::write(
        ca.path("usage.cnf"),
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n",
    )
    .unwrap();
    ca.assert_refuses(
        "apiserver",
        &answer("-days 365 -copy_extensions copy -extfile usage.cnf"),
        "the new certificate",
    );

    let right = ca.path("right.crt");
    fs::copy(answer(COPY_EXTENSIONS), &right).unwrap();
    ca.assert_refuses("admin.conf", &right, "there is no request for it");
    ca.request_csr("admin.conf");
    ca.assert_refuses("admin.conf", &right, "is not for the key of the open request on this node");
    fs::write(ca.path("none.crt"), "none").unwrap();
    ca.assert_refuses("apiserver", &ca.path("none.crt"), "the certificate can't be read");

    // Signed by another CA of the same name, and by another CA of this node.
    openssl(
        ca.dir.path(),
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=kubernetes -days 3650 -keyout ca.key -out \
         ca.crt",
    );
    ca.assert_refuses(
        "apiserver",
        &answer(COPY_EXTENSIONS),
        "the certificate was signed by CN=kubernetes, which is not in the file of the CA ca",
    );
    for kind in ["crt", "key"] {
        fs::write(
            ca.path(&format!("ca.{kind}")),
            node.read(&format!("etc/kubernetes/pki/etcd/ca.{kind}")),
        )
        .unwrap();
    }
    ca.assert_refuses(
        "apiserver",
        &answer(COPY_EXTENSIONS),
        "the certificate was signed by CN=etcd-ca",
    );
    let missing = node.run(&["install", "apiserver", "/none"]);
    assert_eq!(missing.code, 2, "{}", missing.text);
    // A file is read whole or not at all.
    let large = ca.path("large.crt");
    fs::write(&large, [&fs::read(&right).unwrap()[..], &[b'\n'; 1 << 20]].concat()).unwrap();
    let run = node.run(&["install", "apiserver", large.to_str().unwrap()]);
    assert_eq!(run.code, 2, "{}", run.text);
    assert!(run.text.contains("large.crt: is larger than 1048576 bytes"), "{}", run.text);
    // The right answer is still accepted.
    assert_eq!(node.run(&["install", "apiserver", right.to_str().unwrap()]).code, 0);
}

#[test]
fn answer_with_additional_extensions_is_installed() {
    require!("openssl");
    let ca = ExternalCa::new(ECDSA);
    let request = ca.request_csr("apiserver");
    fs::write(
        ca.path("more.cnf"),
        "subjectKeyIdentifier=hash\ncrlDistributionPoints=URI:http://crl.example.com/ca.crl\n",
    )
    .unwrap();
    let answer = ca.sign(&request, "-days 365 -copy_extensions copyall -extfile more.cnf");
    let run = ca.node.run(&["install", "apiserver", answer.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
}

#[test]
fn csr_all_requests_every_external_credential() {
    let ca = ExternalCa::new(ECDSA);
    let node = &ca.node;
    // The certificate that kubelet renews itself is left out.
    node.write(CA_KEY, fs::read(ca.path("ca.key")).unwrap());
    node.add_kubelet_certificate(300);
    node.remove(CA_KEY);
    let run = node.run(&["csr", "--all"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let expected = [
        "admin.conf",
        "apiserver",
        "apiserver-kubelet-client",
        "controller-manager.conf",
        "scheduler.conf",
        "super-admin.conf",
    ];
    assert_eq!(
        run.text.matches("-----BEGIN CERTIFICATE REQUEST-----").count(),
        expected.len(),
        "{}",
        run.text
    );
    for name in expected {
        assert!(node.path(REQUESTS).join(format!("{name}.csr")).exists(), "{name}");
        assert!(
            run.text.contains(&format!(
                "{name}: the request is also in /var/lib/kubecertd/requests/{name}.csr"
            )),
            "{}",
            run.text
        );
    }
    let status = node.run(&["status"]).text;
    assert!(status.contains("Open requests\n"), "{status}");
    let line = status.lines().find(|line| line.contains("apiserver: asked for ")).unwrap();
    assert!(line.ends_with("/var/lib/kubecertd/requests/apiserver.csr"), "{line}");
}

#[test]
fn csr_is_refused_for_ca_with_local_key() {
    let node = Node::fresh(ECDSA);
    let run = node.run(&["csr", "apiserver"]);
    assert_eq!(run.code, 1);
    assert!(
        run.text
            .contains("apiserver: the key of its CA ca is on this node: kubecertd renew signs it"),
        "{}",
        run.text
    );
    let all = node.run(&["csr", "--all"]);
    assert!(all.code == 2 && all.text.contains("there is nothing to request"), "{}", all.text);
    let none = node.run(&["csr"]);
    assert!(none.code == 2 && none.text.contains("kubecertd csr NAME, or --all"), "{}", none.text);
    assert!(
        !node.path(STATE).join("requests").exists()
            || fs::read_dir(node.path(REQUESTS)).unwrap().count() == 0
    );
}
