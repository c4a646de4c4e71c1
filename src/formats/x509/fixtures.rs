//! Fixtures for the tests of this module: the trees that kubeadm wrote, and certificates that
//! kubeadm never writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::{Decode as _, Encode as _};
use x509_cert::ext::Extension;
use x509_cert::name::Name;

use super::issue::Content;
use super::{Certificate, KeyAlgorithm, PrivateKey, Terms, certificates, random_serial};
use crate::model::{Timestamp, days};

pub const RSA_TREE: &str = "kubeadm-1.20-rsa2048";
pub const ECDSA_TREE: &str = "kubeadm-1.36-ecdsa-p256";

/// A time at which every certificate of the trees is valid: 2026-12-01.
pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_796_083_200)
}

/// Terms of a renewal at [`now`], with a serial that is 16 bytes long as a number too.
pub fn terms() -> Terms {
    let mut serial = random_serial().unwrap();
    serial[0] |= 0x40;
    Terms {
        serial,
        not_before: now().minus(Duration::from_secs(300)),
        not_after: now().plus(days(365)),
    }
}

/// A CA certificate with its key.
pub struct Issuer {
    pub certificate: Certificate,
    pub key: PrivateKey,
}

/// A leaf with its key, and its renewal by `kubeadm certs renew`.
pub struct Leaf {
    pub name: String,
    pub certificate: Certificate,
    pub key: PrivateKey,
    pub renewed: Certificate,
}

pub fn read(tree: &str, file: &str) -> Vec<u8> {
    std::fs::read(root(tree).join(file)).unwrap()
}

pub fn certificate(tree: &str, file: &str) -> Certificate {
    certificates(&read(tree, &format!("etc/kubernetes/pki/{file}"))).unwrap().remove(0)
}

pub fn key(tree: &str, file: &str) -> PrivateKey {
    PrivateKey::from_pem(&read(tree, &format!("etc/kubernetes/pki/{file}"))).unwrap()
}

pub fn issuers(tree: &str) -> Vec<Issuer> {
    ["ca", "front-proxy-ca", "etcd/ca"]
        .iter()
        .map(|name| Issuer {
            certificate: certificate(tree, &format!("{name}.crt")),
            key: key(tree, &format!("{name}.key")),
        })
        .collect()
}

/// Returns every leaf of a tree: the pairs, and the certificates embedded in the kubeconfigs.
pub fn leaves(tree: &str) -> Vec<Leaf> {
    let pairs =
        ["apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client"];
    let etcd = ["etcd/server", "etcd/peer", "etcd/healthcheck-client"];
    let pairs = pairs.iter().chain(&etcd).map(|name| {
        let file = |kind| format!("etc/kubernetes/pki/{name}.{kind}");
        leaf(name, &|base| read(tree, &format!("{base}{}", file("crt"))), &read(tree, &file("key")))
    });
    let kubeconfigs = ["admin", "controller-manager", "scheduler", "kubelet", "super-admin"]
        .into_iter()
        .filter_map(|name| {
            let file = format!("etc/kubernetes/{name}.conf");
            root(tree).join(&file).exists().then(|| {
                let embedded = |base: &str| {
                    embedded(&root(tree).join(format!("{base}{file}")), "client-certificate-data: ")
                };
                leaf(name, &embedded, &self::embedded(&root(tree).join(&file), "client-key-data: "))
            })
        });
    pairs.chain(kubeconfigs).collect()
}

fn leaf(name: &str, certificate: &dyn Fn(&str) -> Vec<u8>, key: &[u8]) -> Leaf {
    Leaf {
        name: name.to_owned(),
        certificate: certificates(&certificate("")).unwrap().remove(0),
        key: PrivateKey::from_pem(key).unwrap(),
        renewed: certificates(&certificate("renewed-by-kubeadm/")).unwrap().remove(0),
    }
}

fn embedded(kubeconfig: &Path, label: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let data = text.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap();
    BASE64_STANDARD.decode(data).unwrap()
}

fn root(tree: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(tree)
}

/// A certificate under construction, to make certificates that no tool would make.
#[derive(Clone)]
pub struct Draft {
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub extensions: Vec<Extension>,
    pub terms: Terms,
}

impl Draft {
    pub fn like(certificate: &Certificate) -> Self {
        let extensions = certificate
            .extensions
            .iter()
            .map(|from| extension(&from.oid.to_id_string(), from.critical, &from.value));
        Self {
            issuer: certificate.issuer.der().to_vec(),
            subject: certificate.subject.der().to_vec(),
            extensions: extensions.collect(),
            terms: Terms {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
                ..terms()
            },
        }
    }

    /// Returns a leaf for both sides of TLS.
    pub fn leaf(subject: Vec<u8>, issuer: &Certificate, more: &[Extension]) -> Self {
        let usages = [
            extension("2.5.29.15", true, &[3, 2, 5, 0xa0]),
            extension("2.5.29.37", false, &BOTH_USAGES),
        ];
        let extensions = usages.iter().chain(more).cloned().collect();
        Self { issuer: issuer.subject.der().to_vec(), subject, extensions, terms: terms() }
    }

    /// Returns a self-signed authority, valid for ten years.
    pub fn authority(subject: Vec<u8>, more: &[Extension]) -> Self {
        let usages = [
            extension("2.5.29.15", true, &[3, 2, 2, 0xa4]),
            extension("2.5.29.19", true, &[0x30, 3, 1, 1, 0xff]),
        ];
        let extensions = usages.iter().chain(more).cloned().collect();
        let terms = Terms {
            not_before: now().minus(days(30)),
            not_after: now().plus(days(3650)),
            ..terms()
        };
        Self { issuer: subject.clone(), subject, extensions, terms }
    }

    pub fn signed(self, key: &PrivateKey, issuer_key: &PrivateKey) -> Certificate {
        self.signed_for(key.public_key_der(), issuer_key)
    }

    pub fn signed_for(self, public_key: &[u8], issuer_key: &PrivateKey) -> Certificate {
        let content = Content {
            issuer: Name::from_der(&self.issuer).unwrap(),
            subject: Name::from_der(&self.subject).unwrap(),
            extensions: self.extensions,
        };
        Certificate::from_der(&content.signed(&self.terms, public_key, issuer_key).unwrap())
            .unwrap()
    }

    pub fn self_signed(self) -> Issuer {
        let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
        Issuer { certificate: self.signed(&key, &key), key }
    }
}

/// serverAuth and clientAuth.
const BOTH_USAGES: [u8; 22] = [
    0x30, 20, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2, //
];

pub fn extension(oid: &str, critical: bool, value: &[u8]) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new(oid).unwrap(),
        critical,
        extn_value: OctetString::new(value).unwrap(),
    }
}

/// A subject key identifier.
pub fn identifier(bytes: &[u8]) -> Extension {
    extension("2.5.29.14", false, &OctetString::new(bytes).unwrap().to_der().unwrap())
}

pub const UTF8: u8 = 0x0c;
pub const PRINTABLE: u8 = 0x13;
pub const TELETEX: u8 = 0x14;
pub const IA5: u8 = 0x16;
pub const UNIVERSAL: u8 = 0x1c;
pub const BMP: u8 = 0x1e;

pub const CN: &[u8] = &[0x55, 4, 3];
pub const O: &[u8] = &[0x55, 4, 10];
pub const OU: &[u8] = &[0x55, 4, 11];
pub const DC: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];

/// An attribute of a name: its OID, the tag of its string, the string.
pub type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

/// Encodes a name of RDNs, each of one or more attributes, in the given order.
pub fn name(parts: &[&[Attribute<'_>]]) -> Vec<u8> {
    let attribute =
        |(oid, tag, value): &Attribute<'_>| tlv(0x30, &[tlv(6, oid), tlv(*tag, value)].concat());
    let rdn = |attributes: &&[Attribute<'_>]| {
        tlv(0x31, &attributes.iter().map(attribute).collect::<Vec<_>>().concat())
    };
    tlv(0x30, &parts.iter().map(rdn).collect::<Vec<_>>().concat())
}

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(content.len()).unwrap() {
        short @ 0..0x80 => vec![short],
        long => vec![0x81, long],
    };
    [&[tag], length.as_slice(), content].concat()
}

/// Returns the DER of a certificate with some bytes replaced by as many others. The signature no
/// longer verifies.
pub fn patched(certificate: &Certificate, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = certificate.der().windows(from.len()).position(|window| window == from).unwrap();
    [&certificate.der()[..at], to, &certificate.der()[at + from.len()..]].concat()
}
