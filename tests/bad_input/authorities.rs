//! CAs that can't sign, and files with several CAs of which one can.

use kubecertd::formats::x509::{Certificate, PrivateKey, reissue};

use super::common::{ECDSA, PKI, fixture, terms_with_days_left};
use super::*;

/// A CA made for a test.
struct Authority {
    certificate: Certificate,
    key: PrivateKey,
    key_pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// `by` is the issuer; without one the CA is self-signed.
    fn new(name: &str, by: Option<&Self>) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().unwrap();
        let key_pem = key.serialize_pem();
        let made = match by {
            None => params.self_signed(&key),
            Some(by) => params.signed_by(&key, &by.issuer),
        };
        Self {
            certificate: Certificate::from_der(made.unwrap().der()).unwrap(),
            key: PrivateKey::from_pem(key_pem.as_bytes()).unwrap(),
            key_pem,
            issuer: rcgen::Issuer::new(params, key),
        }
    }
}

/// Reads a CA from its own files.
pub fn read_ca(node: &Node, certificate: &str, key: &str) -> (Certificate, PrivateKey) {
    (
        certificates(&node.read(certificate)).unwrap().remove(0),
        PrivateKey::from_pem(&node.read(key)).unwrap(),
    )
}

/// The CA `ca` with other dates: same key, same name, valid for a year until then.
fn reissued_ca(node: &Node, days_left: i64) -> Certificate {
    let (certificate, key) = read_ca(node, CA_CRT, CA_KEY);
    let der =
        reissue(&certificate, &certificate, &key, &key, &terms_with_days_left(days_left)).unwrap();
    Certificate::from_der(&der).unwrap()
}

fn reissue_ca(node: &Node, days_left: i64) {
    node.write(CA_CRT, reissued_ca(node, days_left).to_pem());
}

#[test]
fn expired_ca_signs_nothing() {
    let node = Node::due();
    reissue_ca(&node, -5);
    Expected {
        code: PARTIAL,
        left: SIGNED_BY_CA,
        reported: &["ca.crt expired", "ago: nothing is signed with it"],
    }
    .assert("expired", &node);
}

#[test]
fn not_yet_valid_ca_signs_nothing() {
    let node = Node::due();
    reissue_ca(&node, 365 + 30);
    Expected {
        code: PARTIAL,
        left: SIGNED_BY_CA,
        reported: &["ca.crt is not valid before", "is the clock right?"],
    }
    .assert("not yet valid", &node);
}

#[test]
fn missing_ca_certificate_signs_nothing() {
    let node = Node::due();
    node.remove(CA_CRT);
    Expected {
        code: PARTIAL,
        left: SIGNED_BY_CA,
        reported: &["/etc/kubernetes/pki/ca.crt does not exist"],
    }
    .assert("absent", &node);
}

#[test]
fn missing_ca_key_is_external_without_failure() {
    let node = Node::due();
    node.remove(CA_KEY);
    let reported = &["external: /etc/kubernetes/pki/ca.key is not on this node"];
    Expected { code: SUCCESS, left: SIGNED_BY_CA, reported }.assert("external", &node);
}

/// Go takes any certificate as an anchor.
#[test]
fn intermediate_ca_signs_with_and_without_its_root() {
    let root = Authority::new("root", None);
    let intermediate = Authority::new("intermediate", Some(&root));
    let (own, above) = (intermediate.certificate.to_pem(), root.certificate.to_pem());
    let expected = Expected { code: SUCCESS, left: &[], reported: &["front-proxy-client"] };
    for (case, file) in [
        ("alone", own.clone()),
        ("root behind it", own.clone() + &above),
        ("root before it", above + &own),
    ] {
        let node = Node::due();
        node.sign_with("front-proxy-client", &intermediate.certificate, &intermediate.key, 10);
        node.write(FRONT_CA_CRT, file);
        node.write(FRONT_CA_KEY, &intermediate.key_pem);
        expected.assert(case, &node);
    }
}

#[test]
fn leaf_certificate_as_ca_signs_nothing() {
    let node = Node::due();
    for kind in ["crt", "key"] {
        node.write(
            &format!("{PKI}/front-proxy-ca.{kind}"),
            node.read(&format!("{PKI}/apiserver.{kind}")),
        );
    }
    let reported =
        &["/etc/kubernetes/pki/front-proxy-ca.crt: CN=kube-apiserver is no CA certificate"];
    Expected { code: PARTIAL, left: &["front-proxy-client"], reported }.assert("a leaf", &node);
}

#[test]
fn issuer_stays_while_the_key_is_that_of_another_ca() {
    let new = Authority::new("kubernetes", None);
    let old = String::from_utf8(fixture(ECDSA)[CA_CRT].clone()).unwrap();
    let new_first = new.certificate.to_pem() + &old;
    let old_first = old + &new.certificate.to_pem();
    for (case, file, new_key) in [
        ("new before old, the old key", &new_first, false),
        ("old before new, the old key", &old_first, false),
        ("new before old, the new key", &new_first, true),
        ("old before new, the new key", &old_first, true),
    ] {
        let node = Node::due();
        let (old, _) = read_ca(&node, CA_CRT, CA_KEY);
        node.write(CA_CRT, file);
        let expected = if new_key {
            node.write(CA_KEY, &new.key_pem);
            Expected {
                code: PARTIAL,
                left: SIGNED_BY_CA,
                reported: &["signs as another CA in /etc/kubernetes/pki/ca.crt"],
            }
        } else {
            Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }
        };
        expected.assert(case, &node);
        assert!(node.certificate("apiserver").is_signed_by(&old), "{case}");
    }
}

/// A CA that is renewed with the same key is in its file twice. Whatever the order, the one that is
/// valid and expires last signs.
#[test]
fn of_cas_with_the_same_key_the_valid_one_that_expires_last_signs() {
    for (case, other, signer) in [
        ("old and new", 20, 340),
        ("expired and new", -5, 340),
        ("valid and not yet valid", 365 + 30, 340),
    ] {
        for signer_first in [true, false] {
            let node = Node::due();
            let (other, signer) = (reissued_ca(&node, other), reissued_ca(&node, signer));
            let (first, second) = if signer_first { (&signer, &other) } else { (&other, &signer) };
            node.write(CA_CRT, first.to_pem() + &second.to_pem());
            let case = format!("{case}, signer first: {signer_first}");
            Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert(&case, &node);
            assert_eq!(node.certificate("apiserver").not_after, signer.not_after, "{case}");
        }
    }
}

/// A CA that expires soon would shorten the life of a certificate, and its successor does not.
#[test]
fn forced_renewal_never_shortens_unasked() {
    let node = Node::fresh(ECDSA);
    let fresh = |name: &str| node.certificate(name).not_after;
    let (before, etcd) = (fresh("apiserver"), fresh("etcd/server"));
    let [old, new] = [5, 340].map(|days| reissued_ca(&node, days));
    node.write(CA_CRT, old.to_pem());
    let refusal = format!(
        "would expire {}, earlier than the present certificate ({before}): --allow-shorter",
        old.not_after
    );
    for change in [&["--force"][..], &["--add-san", "other.example.com"]] {
        let run = node.run(&[&["renew", "apiserver"], change].concat());
        assert_eq!((run.code, fresh("apiserver")), (FAILED, before), "{}", run.text);
        assert!(run.text.contains(&refusal), "{}", run.text);
    }
    let run = node.run(&["renew", "--force", "apiserver", "etcd/server"]);
    assert_eq!((run.code, fresh("apiserver")), (PARTIAL, before), "{}", run.text);
    assert!(run.text.contains(&refusal) && fresh("etcd/server") >= etcd, "{}", run.text);
    let run = node.run(&["renew", "--force", "--allow-shorter", "apiserver"]);
    assert_eq!((run.code, fresh("apiserver")), (ATTENTION, old.not_after), "{}", run.text);
    for file in [[&old, &new], [&new, &old]] {
        node.write(CA_CRT, file.map(Certificate::to_pem).concat());
        let run = node.run(&["renew", "--force", "apiserver"]);
        assert_eq!((run.code, fresh("apiserver")), (SUCCESS, new.not_after), "{}", run.text);
    }
    // The old one has expired, and signing goes on.
    node.write(CA_CRT, reissued_ca(&node, -5).to_pem() + &new.to_pem());
    let run = node.run(&["renew", "--force", "apiserver"]);
    assert_eq!((run.code, fresh("apiserver")), (SUCCESS, new.not_after), "{}", run.text);
}

#[test]
fn of_cas_with_the_same_key_none_signs_when_none_is_valid() {
    for (case, days, says) in [
        ("both expired", [-5, -40], ["ca.crt expired", "nothing is signed with it"]),
        (
            "expired, and not yet valid",
            [-5, 365 + 30],
            ["ca.crt is not valid before", "nothing is signed with it"],
        ),
    ] {
        let node = Node::due();
        let file: String = days.map(|days| reissued_ca(&node, days).to_pem()).concat();
        node.write(CA_CRT, file);
        Expected { code: PARTIAL, left: SIGNED_BY_CA, reported: &says }.assert(case, &node);
    }
}

#[test]
fn external_ca_with_an_expired_twin_is_external() {
    for expired_first in [true, false] {
        let node = Node::due();
        let mut file = [reissued_ca(&node, -5).to_pem(), reissued_ca(&node, 340).to_pem()];
        if !expired_first {
            file.reverse();
        }
        node.write(CA_CRT, file.concat());
        node.remove(CA_KEY);
        let says = &["external: /etc/kubernetes/pki/ca.key is not on this node"];
        Expected { code: SUCCESS, left: SIGNED_BY_CA, reported: says }.assert("external", &node);
    }
}

/// Signing flags of kube-controller-manager may name a file with one certificate while ca.crt has
/// two: they never say which authority kubecertd signs with.
#[test]
fn signing_flags_elsewhere_leave_ca_at_ca_crt() {
    let node = Node::due();
    let (ca, _) = read_ca(&node, CA_CRT, CA_KEY);
    let other = Authority::new("kubernetes", None);
    node.write(&format!("{PKI}/signing.crt"), other.certificate.to_pem());
    node.write(&format!("{PKI}/signing.key"), &other.key_pem);
    let manifest = "etc/kubernetes/manifests/kube-controller-manager.yaml";
    for kind in ["cert-file=/etc/kubernetes/pki/ca.crt", "key-file=/etc/kubernetes/pki/ca.key"] {
        let flag = format!("--cluster-signing-{kind}");
        node.edit(manifest, &flag, &flag.replace("/ca.", "/signing."));
    }
    Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }
        .assert("other signing flags", &node);
    assert!(node.certificate("apiserver").is_signed_by(&ca));
}
