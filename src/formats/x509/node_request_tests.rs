use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{CN, O};
use const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
use der::asn1::{Any, BitString, SetOfVec};
use spki::{DynSignatureAlgorithmIdentifier as _, SubjectPublicKeyInfoOwned};
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::RelativeDistinguishedName;
use x509_cert::request::Version;

use super::super::fixtures::{ECDSA_TREE, RSA_TREE, issuers, now, terms};
use super::super::{PrivateKey, kubelet_template, request};
use super::*;
use crate::formats::pem;

fn key() -> PrivateKey {
    PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
}

/// A request of which each part can be wrong.
struct Draft {
    subject: Name,
    extensions: Vec<Extension>,
    more: Vec<Attribute>,
    key: PrivateKey,
}

impl Draft {
    /// What kubelet would request on the node w1.
    fn new() -> Self {
        let subject = encoded(&kubelet_subject("w1"), Tag::PrintableString).unwrap();
        let mut extensions = extensions(&[Usage::Client], &[]).unwrap();
        extensions.truncate(3);
        Self { subject, extensions, more: Vec::new(), key: key() }
    }

    fn of(parts: &[(ObjectIdentifier, &str)], form: Tag) -> Self {
        let mut name = RdnSequence::default();
        for (oid, text) in parts {
            let value = Any::new(form, text.as_bytes()).unwrap();
            let mut part = RelativeDistinguishedName::default();
            part.insert(AttributeTypeAndValue { oid: *oid, value }).unwrap();
            name.push(part);
        }
        Self { subject: Name::from_der(&name.to_der().unwrap()).unwrap(), ..Self::new() }
    }

    fn with(mut self, extn_id: ObjectIdentifier, value: Vec<u8>) -> Self {
        self.extensions.retain(|extension| extension.extn_id != extn_id);
        let extn_value = OctetString::new(value).unwrap();
        self.extensions.push(Extension { extn_id, critical: true, extn_value });
        self
    }

    fn info(&self) -> CertReqInfo {
        let mut attributes = SetOfVec::new();
        if !self.extensions.is_empty() {
            let mut values = SetOfVec::new();
            values.insert(Any::encode_from(&self.extensions).unwrap()).unwrap();
            attributes.insert(Attribute { oid: ID_EXTENSION_REQ, values }).unwrap();
        }
        for attribute in &self.more {
            attributes.insert(attribute.clone()).unwrap();
        }
        let public_key = SubjectPublicKeyInfoOwned::from_der(self.key.public_key_der()).unwrap();
        CertReqInfo { version: Version::V1, subject: self.subject.clone(), public_key, attributes }
    }

    /// Signed with another key.
    fn signed_with(&self, key: &PrivateKey) -> Vec<u8> {
        let info = self.info();
        let signature = BitString::from_bytes(&key.sign(&info.to_der().unwrap()).unwrap()).unwrap();
        let algorithm = key.signature_algorithm_identifier().unwrap();
        CertReq { info, algorithm, signature }.to_der().unwrap()
    }

    fn pem(&self) -> String {
        pem::encode(LABELS[0], &self.signed_with(&self.key))
    }

    fn parse(&self) -> Result<NodeRequest, NodeRequestError> {
        NodeRequest::parse(self.pem().as_bytes(), "w1")
    }

    fn refusal(&self) -> String {
        self.parse().unwrap_err().to_string()
    }
}

const NODE: (ObjectIdentifier, &str) = (CN, "system:node:w1");
const GROUP: (ObjectIdentifier, &str) = (O, "system:nodes");

/// The program's own request, and those of kubelet and of openssl.
#[test]
fn request_of_the_node_gives_the_certificate_of_its_kubelet() {
    let own = request(&kubelet_template("w1").unwrap(), &key()).unwrap();
    let signs = KeyUsage(KeyUsages::DigitalSignature.into()).to_der().unwrap();
    let nothing = Draft { extensions: Vec::new(), ..Draft::new() };
    let kubelets = Draft::new().with(ID_CE_KEY_USAGE, signs);
    let openssl = [
        Draft::of(&[GROUP, NODE], Tag::Utf8String),
        Draft::of(&[NODE, GROUP], Tag::Utf8String),
        Draft::of(&[NODE, GROUP], Tag::PrintableString),
    ];
    let all = [own, nothing.pem(), kubelets.pem()].into_iter();
    for (at, pem) in all.chain(openssl.iter().map(Draft::pem)).enumerate() {
        let request = NodeRequest::parse(pem.as_bytes(), "w1").unwrap();
        for tree in [RSA_TREE, ECDSA_TREE] {
            let issuer = issuers(tree).remove(0);
            let issued = request.issue(&issuer.certificate, &issuer.key, &terms(), now()).unwrap();
            assert_eq!(
                issued.subject.parts(),
                [("O", "system:nodes".to_owned()), ("CN", "system:node:w1".to_owned())]
            );
            assert_eq!(issued.public_key_der(), request.public_key);
            let usage = issued.extended_key_usage.clone().unwrap();
            assert!(usage.client_auth && !usage.server_auth && issued.names().is_empty(), "{at}");
            let encipherment = issued.key_usage.as_ref().unwrap().key_encipherment();
            assert_eq!(encipherment, at != 2, "as requested");
        }
    }
}

#[test]
fn request_of_each_kind_of_key_is_signed() {
    use KeyAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa2048, Rsa3072};
    let issuer = issuers(ECDSA_TREE).remove(0);
    for algorithm in [EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa2048, Rsa3072] {
        let draft = Draft { key: PrivateKey::generate(&algorithm).unwrap(), ..Draft::new() };
        let request = draft.parse().unwrap();
        let issued = request.issue(&issuer.certificate, &issuer.key, &terms(), now()).unwrap();
        assert_eq!(issued.key_algorithm, algorithm);
    }
}

#[test]
fn request_for_any_other_subject_is_refused() {
    let words = "and a certificate is signed only for exactly CN=system:node:w1 and O=system:nodes";
    for parts in [
        &[GROUP, (CN, "system:node:w2")][..],
        &[GROUP, (CN, "kubernetes-admin")],
        &[(O, "system:masters"), NODE],
        &[GROUP, (O, "system:masters"), NODE],
        &[(O, "system:masters"), GROUP, NODE],
        &[GROUP, NODE, (CN, "kubernetes-admin")],
        &[GROUP, NODE, NODE],
        &[NODE],
        &[GROUP],
        &[],
        &[GROUP, (CN, "system:node:w1\u{0}")],
        &[GROUP, (CN, "System:node:w1")],
        &[GROUP, NODE, (ObjectIdentifier::new_unwrap("2.5.4.11"), "x")],
    ] {
        let refusal = Draft::of(parts, Tag::Utf8String).refusal();
        assert!(refusal.contains(words), "{parts:?}: {refusal}");
        assert!(!refusal.chars().any(char::is_control), "{refusal:?}");
    }
    // Another program may read the same bytes as another text.
    let refusal = Draft::of(&[GROUP, NODE], Tag::TeletexString).refusal();
    assert!(refusal.contains(words), "{refusal}");
    // Both parts in one set.
    let mut part = RelativeDistinguishedName::default();
    for (oid, text) in [GROUP, NODE] {
        let value = Any::new(Tag::PrintableString, text.as_bytes()).unwrap();
        part.insert(AttributeTypeAndValue { oid, value }).unwrap();
    }
    let mut name = RdnSequence::default();
    name.push(part);
    let subject = Name::from_der(&name.to_der().unwrap()).unwrap();
    assert!(Draft { subject, ..Draft::new() }.refusal().contains(words));
}

#[test]
fn request_for_more_than_a_client_is_refused() {
    let names = vec![GeneralName::DnsName("w1".to_owned().try_into().unwrap())];
    let names = SubjectAltName(names).to_der().unwrap();
    let refusal = Draft::new().with(ID_CE_SUBJECT_ALT_NAME, names).refusal();
    assert!(refusal.contains("asks for subject alternative names"), "{refusal}");
    let server = ExtendedKeyUsage(vec![ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH]).to_der().unwrap();
    let signs = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::DigitalSignature).to_der().unwrap();
    let ca = BasicConstraints { ca: true, path_len_constraint: None }.to_der().unwrap();
    let other = ObjectIdentifier::new_unwrap("1.2.3.4");
    for (oid, value, words) in [
        (ID_CE_EXT_KEY_USAGE, server, "another extended key usage than clientAuth"),
        (ID_CE_EXT_KEY_USAGE, vec![0x30, 0], "another extended key usage than clientAuth"),
        (ID_CE_KEY_USAGE, signs, "another key usage"),
        (ID_CE_KEY_USAGE, vec![1, 2, 3], "another key usage"),
        (ID_CE_BASIC_CONSTRAINTS, ca, "the certificate of a CA"),
        (other, vec![5, 0], "the extension 1.2.3.4"),
    ] {
        let refusal = Draft::new().with(oid, value).refusal();
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
    let mut twice = Draft::new();
    twice.extensions.push(twice.extensions[1].clone());
    assert!(twice.refusal().contains("extended key usage"), "{}", twice.refusal());
    let password = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");
    let mut values = SetOfVec::new();
    values.insert(Any::new(Tag::Utf8String, b"secret".as_slice()).unwrap()).unwrap();
    let more = vec![Attribute { oid: password, values }];
    let refusal = Draft { more, ..Draft::new() }.refusal();
    assert!(refusal.contains("the attribute 1.2.840.113549.1.9.7"), "{refusal}");
}

#[test]
fn request_that_its_key_did_not_sign_is_refused() {
    let draft = Draft::new();
    let refused = |der: &[u8]| {
        let file = pem::encode(LABELS[0], der);
        NodeRequest::parse(file.as_bytes(), "w1").unwrap_err()
    };
    assert_eq!(refused(&draft.signed_with(&key())), NodeRequestError::Signature);
    // Changed after it was signed: the node's name.
    let mut der = draft.signed_with(&draft.key);
    let at = der.windows(2).position(|bytes| bytes == b"w1").unwrap();
    der[at + 1] = b'2';
    let file = pem::encode(LABELS[0], &der);
    let found = NodeRequest::parse(file.as_bytes(), "w2").unwrap_err();
    assert_eq!(found, NodeRequestError::Signature);
}

#[test]
fn anything_else_is_refused_without_a_panic() {
    let draft = Draft::new();
    let (der, text) = (draft.signed_with(&draft.key), draft.pem());
    let key = String::from_utf8(draft.key.to_pem().unwrap().expose().to_vec()).unwrap();
    let two = format!("{text}{text}");
    let with_key = format!("{text}{key}");
    for file in ["", "x", "-----BEGIN CERTIFICATE REQUEST-----", &key, &two, &with_key] {
        let refusal = NodeRequest::parse(file.as_bytes(), "w1").unwrap_err().to_string();
        assert!(!refusal.contains(key.lines().nth(1).unwrap()), "{refusal}");
    }
    for length in 0..der.len() {
        let file = pem::encode(LABELS[0], &der[..length]);
        assert!(NodeRequest::parse(file.as_bytes(), "w1").is_err(), "{length}");
    }
    // Of a changed byte the signature tells.
    for at in 0..der.len() {
        let mut der = der.clone();
        der[at] ^= 0x21;
        let file = pem::encode(LABELS[0], &der);
        assert!(NodeRequest::parse(file.as_bytes(), "w1").is_err(), "{at}");
    }
    let trailing = [der.as_slice(), &[0]].concat();
    assert!(NodeRequest::parse(pem::encode(LABELS[0], &trailing).as_bytes(), "w1").is_err());
    let binary = NodeRequest::parse(&der, "w1").unwrap_err().to_string();
    assert!(binary.contains("PEM is needed"), "{binary}");
}

#[test]
fn short_rsa_key_is_refused() {
    // openssl req -new -newkey rsa:1024 -subj /O=system:nodes/CN=system:node:w1
    let pem = include_bytes!("../../../tests/fixtures/requests/rsa-1024.csr");
    let refusal = NodeRequest::parse(pem, "w1").unwrap_err();
    assert_eq!(refusal, NodeRequestError::Key("RSA-1024".to_owned()));
}
