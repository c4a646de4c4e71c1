//! An authority whose key is elsewhere: openssl plays it, signs the requests that the node makes,
//! and the answers take the place of the old certificates; or they don't, and nothing has changed.
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

use common::{ECDSA, Node, RSA, STATE, now};
use kubecertd::formats::x509::{Certificate, Oid};

const CA: &str = "etc/kubernetes/pki/ca.crt";
const CA_KEY: &str = "etc/kubernetes/pki/ca.key";
const REQUESTS: &str = "var/lib/kubecertd/requests";

/// A node whose root authority is somewhere else, and that authority.
struct Elsewhere {
    node: Node,
    folder: tempfile::TempDir,
}

impl Elsewhere {
    fn new(tree: &str) -> Self {
        let node = Node::fresh(tree);
        node.age_all(10);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), node.read(CA)).unwrap();
        fs::write(folder.path().join("ca.key"), node.read(CA_KEY)).unwrap();
        node.remove(CA_KEY);
        Self { node, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `csr` prints for one credential.
    fn request(&self, name: &str) -> PathBuf {
        let run = self.node.run(&["csr", name]);
        assert_eq!(run.code, 0, "{}", run.text);
        let pem = run.text.find("-----BEGIN CERTIFICATE REQUEST-----").unwrap();
        assert!(!run.text.contains("PRIVATE KEY"), "{}", run.text);
        let file = self.file(&format!("{name}.csr"));
        let end = run.text.rfind("-----\n").unwrap() + 6;
        fs::write(&file, &run.text[pem..end]).unwrap();
        file
    }

    /// The answer, signed as openssl does it, with these options more.
    fn answer(&self, request: &Path, options: &str) -> PathBuf {
        let answer = self.file("answer.crt");
        let (authority, key) = ("ca.crt", "ca.key");
        openssl(
            self.folder.path(),
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

    /// `install` refuses it for this reason, and not a byte changes.
    fn refuses(&self, name: &str, answer: &Path, words: &str) {
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

fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// As an authority signs that does what it is asked for.
const COPIED: &str = "-days 365 -copy_extensions copyall";

/// Every extension but the key identifiers, byte for byte.
fn extensions(certificate: &Certificate) -> Vec<(Oid<'static>, bool, Vec<u8>)> {
    let names = ["2.5.29.14", "2.5.29.35"];
    let others = certificate
        .extensions
        .iter()
        .filter(|one| !names.contains(&one.oid.to_id_string().as_str()));
    others.map(|one| (one.oid.clone(), one.critical, one.value.clone())).collect()
}

#[test]
fn an_answer_takes_the_place_of_the_old_certificate() {
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
        let elsewhere = Elsewhere::new(tree);
        let node = &elsewhere.node;
        let old = node.certificate(name);
        let old_files: Vec<_> = files.iter().map(|file| node.read(file)).collect();
        let modes = || {
            files
                .iter()
                .map(|file| fs::metadata(node.path(file)).unwrap().permissions().mode())
                .collect::<Vec<_>>()
        };
        let old_modes = modes();
        let answer = elsewhere.answer(&elsewhere.request(name), COPIED);
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
        let said = node.run(&["check"]).text;
        assert!(
            said.lines()
                .any(|line| line.starts_with(&format!("{name} ")) && line.contains("fresh")),
            "{said}"
        );
        assert_eq!(
            fs::read_dir(node.path(REQUESTS)).unwrap().count(),
            0,
            "the key waits no longer"
        );
        // As after any renewal, the old files are kept.
        assert_eq!(node.run(&["restore", name]).code, 0);
        assert_eq!(files.iter().map(|file| node.read(file)).collect::<Vec<_>>(), old_files);
        elsewhere.refuses(name, &answer, "there is no request for it on this node");
    }
}

#[test]
fn a_request_is_what_the_old_certificate_is_and_its_key_stays() {
    for tree in [ECDSA, RSA] {
        let elsewhere = Elsewhere::new(tree);
        let request = elsewhere.request("apiserver");
        let text = |arguments: &str| openssl(elsewhere.folder.path(), arguments);
        fs::write(
            elsewhere.file("old.crt"),
            elsewhere.node.read("etc/kubernetes/pki/apiserver.crt"),
        )
        .unwrap();
        let asked = text("req -in apiserver.csr -noout -text -verify");
        let old = text(
            "x509 -in old.crt -noout -ext \
             subjectAltName,keyUsage,extendedKeyUsage,basicConstraints",
        );
        for line in old.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(asked.contains(line), "{line:?} is not in {asked}");
        }
        let key = elsewhere.node.path(REQUESTS).join("apiserver.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(elsewhere.node.path(REQUESTS)).unwrap().permissions().mode() & 0o777,
            0o700
        );
        // Asked again: the same key, so that an answer that is on its way still fits.
        let first = fs::read(&request).unwrap();
        let public = |file: &Path| text(&format!("req -in {} -noout -pubkey", file.display()));
        let (one, two) = (public(&request), public(&elsewhere.request("apiserver")));
        assert_eq!(one, two);
        fs::write(&request, first).unwrap();
        let answer = elsewhere.answer(&request, COPIED);
        assert_eq!(elsewhere.node.run(&["install", "apiserver", answer.to_str().unwrap()]).code, 0);
    }
}

#[test]
fn what_is_not_the_answer_is_refused_and_nothing_has_changed() {
    let elsewhere = Elsewhere::new(ECDSA);
    let node = &elsewhere.node;
    let request = elsewhere.request("apiserver");
    let answer = |options: &str| elsewhere.answer(&request, options);
    elsewhere.refuses(
        "apiserver",
        &answer("-days 5 -copy_extensions copyall"),
        "the new certificate ends at ",
    );
    elsewhere.refuses(
        "apiserver",
        &answer("-days 5000 -copy_extensions copyall"),
        ", after its authority (",
    );
    elsewhere.refuses("apiserver", &answer("-days 365"), "the new certificate");
    fs::write(
        elsewhere.file("names.cnf"),
        "subjectAltName=DNS:kubernetes\nkeyUsage=critical,digitalSignature\n\
         extendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n",
    )
    .unwrap();
    elsewhere.refuses("apiserver", &answer("-days 365 -extfile names.cnf"), "is not valid for ");
    fs::write(
        elsewhere.file("usage.cnf"),
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n",
    )
    .unwrap();
    elsewhere.refuses(
        "apiserver",
        &answer("-days 365 -copy_extensions copy -extfile usage.cnf"),
        "the new certificate",
    );

    let right = elsewhere.file("right.crt");
    fs::copy(answer(COPIED), &right).unwrap();
    elsewhere.refuses("admin.conf", &right, "there is no request for it");
    elsewhere.request("admin.conf");
    elsewhere.refuses("admin.conf", &right, "is not for the key that waits on this node");
    fs::write(elsewhere.file("none.crt"), "none").unwrap();
    elsewhere.refuses("apiserver", &elsewhere.file("none.crt"), "the answer can't be read");

    // Signed by somebody with the same name, and by another authority of this node.
    openssl(
        elsewhere.folder.path(),
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=kubernetes -days 3650 -keyout ca.key -out \
         ca.crt",
    );
    elsewhere.refuses(
        "apiserver",
        &answer(COPIED),
        "the certificate was signed by CN=kubernetes, which is not in the file of the authority ca",
    );
    for kind in ["crt", "key"] {
        fs::write(
            elsewhere.file(&format!("ca.{kind}")),
            node.read(&format!("etc/kubernetes/pki/etcd/ca.{kind}")),
        )
        .unwrap();
    }
    elsewhere.refuses("apiserver", &answer(COPIED), "the certificate was signed by CN=etcd-ca");
    let missing = node.run(&["install", "apiserver", "/none"]);
    assert_eq!(missing.code, 2, "{}", missing.text);
    // Whatever was refused, the right one is still taken.
    assert_eq!(node.run(&["install", "apiserver", right.to_str().unwrap()]).code, 0);
}

#[test]
fn an_authority_that_writes_extensions_of_its_own_is_taken_for_what_it_says() {
    let elsewhere = Elsewhere::new(ECDSA);
    let request = elsewhere.request("apiserver");
    fs::write(
        elsewhere.file("more.cnf"),
        "subjectKeyIdentifier=hash\ncrlDistributionPoints=URI:http://crl.example.com/ca.crl\n",
    )
    .unwrap();
    let answer = elsewhere.answer(&request, "-days 365 -copy_extensions copyall -extfile more.cnf");
    let run = elsewhere.node.run(&["install", "apiserver", answer.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
}

#[test]
fn all_that_is_signed_elsewhere_is_asked_for_at_once() {
    let elsewhere = Elsewhere::new(ECDSA);
    let node = &elsewhere.node;
    // What kubelet renews it asks for itself.
    node.write(CA_KEY, fs::read(elsewhere.file("ca.key")).unwrap());
    node.give_kubelet(300);
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
                "{name}: the request is /var/lib/kubecertd/requests/{name}.csr too"
            )),
            "{}",
            run.text
        );
    }
    let status = node.run(&["status"]).text;
    assert!(status.contains("Requests without an answer\n"), "{status}");
    let line = status.lines().find(|line| line.contains("apiserver: asked for ")).unwrap();
    assert!(line.ends_with("/var/lib/kubecertd/requests/apiserver.csr"), "{line}");
}

#[test]
fn what_can_be_signed_here_is_not_asked_for() {
    let node = Node::fresh(ECDSA);
    let run = node.run(&["csr", "apiserver"]);
    assert_eq!(run.code, 1);
    assert!(
        run.text.contains(
            "apiserver: its authority ca has its key on this node: kubecertd renew signs it"
        ),
        "{}",
        run.text
    );
    let all = node.run(&["csr", "--all"]);
    assert!(
        all.code == 2 && all.text.contains("there is nothing to sign elsewhere"),
        "{}",
        all.text
    );
    let none = node.run(&["csr"]);
    assert!(none.code == 2 && none.text.contains("kubecertd csr NAME, or --all"), "{}", none.text);
    assert!(
        !node.path(STATE).join("requests").exists()
            || fs::read_dir(node.path(REQUESTS)).unwrap().count() == 0
    );
}
