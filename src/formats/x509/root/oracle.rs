//! What the tests of roots share: openssl as the other verifier, names of all kinds, and keys.
#![allow(clippy::disallowed_methods, reason = "tests run other programs")]

use std::process::Command;
use std::sync::LazyLock;

use der::asn1::OctetString;
use der::{Decode as _, Encode as _};
use proptest::prelude::*;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::name::Name;

use super::super::fixtures::*;
use super::super::{Certificate, KeyAlgorithm, PrivateKey, Terms, certificates, reissue, template};
use crate::model::{Subject, Usage, days};

/// A key of each kind that kubeadm makes.
pub static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| {
    [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256]
        .map(|algorithm| PrivateKey::generate(&algorithm).unwrap())
});

pub fn p256() -> PrivateKey {
    PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
}

pub fn common_name(tag: u8, text: &str) -> Vec<u8> {
    name(&[&[(CN, tag, text.as_bytes())]])
}

pub fn parsed(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

/// An authority key identifier of these parts.
pub fn authority(key: Option<&[u8]>, serial: Option<&[u8]>) -> Extension {
    let key_identifier = key.map(|key| OctetString::new(key).unwrap());
    let parts = AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() };
    let mut value = parts.to_der().unwrap();
    if let Some(serial) = serial {
        let issuer = tlv(0xa1, &tlv(0xa4, &common_name(PRINTABLE, "kubernetes")));
        value = tlv(0x30, &[&value[2..], &issuer, &tlv(0x82, serial)].concat());
    }
    extension("2.5.29.35", false, &value)
}

/// A certificate for clients, signed by this CA.
pub fn leaf(issuer: &Certificate, key: &PrivateKey) -> Certificate {
    let subject = Subject { common_name: "client".to_owned(), organization: None };
    let template = template(&subject, &[Usage::Client], &[]).unwrap();
    let terms = Terms { not_after: now().plus(days(1)), ..terms() };
    parsed(&reissue(&template, issuer, key, &p256(), &terms).unwrap())
}

/// Whether openssl verifies a certificate by this root, with or without another one between them.
pub fn openssl_verifies(
    leaf: &Certificate,
    between: Option<&Certificate>,
    root: &Certificate,
    options: &[&str],
) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, certificate: &Certificate| {
        let path = dir.path().join(name);
        std::fs::write(&path, certificate.to_pem()).unwrap();
        path
    };
    let mut command = Command::new("openssl");
    command.args(["verify", "-no-CAfile", "-no-CApath", "-attime"]);
    command.arg(now().seconds().to_string()).args(options);
    command.arg("-trusted").arg(write("root", root));
    if let Some(between) = between {
        command.arg("-untrusted").arg(write("between", between));
    }
    let output = command.arg(write("leaf", leaf)).output().unwrap();
    output.status.success()
}

/// A root that openssl makes, with these options besides.
pub fn openssl_root(kind: &str, options: &[&str]) -> Issuer {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("openssl");
    command.current_dir(&dir).args(["req", "-x509", "-nodes", "-keyout", "key", "-out", "crt"]);
    command.args(["-subj", "/CN=kubernetes", "-days", "3650", "-newkey", kind]);
    if kind == "ec" {
        command.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
    }
    let output = command.args(options).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    Issuer {
        certificate: certificates(&read("crt")).unwrap().remove(0),
        key: PrivateKey::from_pem(&read("key")).unwrap(),
    }
}

/// The string types with texts that each may hold.
fn text() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        "[A-Za-z0-9 '()+,./:=?-]{1,12}".prop_map(|text| (PRINTABLE, text.into_bytes())),
        "\\PC{1,8}".prop_map(|text| (UTF8, text.into_bytes())),
        "[ -~]{1,12}".prop_map(|text| (IA5, text.into_bytes())),
        "[ -~]{1,12}".prop_map(|text| (TELETEX, text.into_bytes())),
        "[a-zA-Zäß東]{1,6}"
            .prop_map(|text| { (BMP, text.encode_utf16().flat_map(u16::to_be_bytes).collect()) }),
    ]
}

fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(CN), Just(O), Just(OU), Just(DC)];
    (kind, text())
        .prop_map(|(oid, (tag, text))| tlv(0x30, &[tlv(6, oid), tlv(tag, &text)].concat()))
}

/// Names of one to four RDNs, each with one or two parts, in DER's order.
pub fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let rdn = proptest::collection::vec(attribute(), 1..=2).prop_map(|mut parts| {
        parts.sort();
        parts.dedup();
        tlv(0x31, &parts.concat())
    });
    proptest::collection::vec(rdn, 1..=4).prop_map(|parts| long(0x30, &parts.concat()))
}

/// Names that have each kind of part at most once, each in its own RDN.
pub fn simple_name() -> impl Strategy<Value = Vec<u8>> {
    let kinds = proptest::sample::subsequence(vec![DC, O, OU, CN], 1..=4).prop_shuffle();
    let text = text()
        .prop_filter("rcgen refuses it", |(tag, text)| *tag != PRINTABLE || !text.contains(&b'?'));
    (kinds, proptest::collection::vec(text, 4)).prop_map(|(kinds, texts)| {
        let part = |(oid, (tag, text)): (&[u8], (u8, Vec<u8>))| {
            tlv(0x31, &tlv(0x30, &[tlv(6, oid), tlv(tag, &text)].concat()))
        };
        long(0x30, &kinds.into_iter().zip(texts).flat_map(part).collect::<Vec<_>>())
    })
}

/// Like [`tlv`], also for more than 255 bytes.
fn long(tag: u8, content: &[u8]) -> Vec<u8> {
    match u8::try_from(content.len()) {
        Ok(_) => tlv(tag, content),
        Err(_) => {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], length.as_slice(), content].concat()
        }
    }
}

/// Whether x509-cert reads a name at all.
pub fn is_name(der: &[u8]) -> bool {
    Name::from_der(der).is_ok()
}
