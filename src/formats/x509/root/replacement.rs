//! A root CA with a new key, made by `rcgen`.

use std::time::Duration;

use der::Decode as _;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, IsCa, KeyIdMethod, KeyUsagePurpose,
    PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::super::check::Key;
use super::super::issue::{library, subject_key_identifier};
use super::super::{
    Certificate, DistinguishedName, IssueError, KeyAlgorithm, KeyError, PrivateKey, ReadError,
    random_serial,
};
use crate::model::Timestamp;

/// When a new root CA is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootLifetime {
    /// The time at which it is made.
    pub now: Timestamp,
    /// How much earlier its validity begins, for nodes and clients whose clock is behind.
    pub tolerated_skew: Duration,
    /// How long it is valid from now on.
    pub validity: Duration,
}

/// A new root CA.
#[derive(Debug)]
pub struct NewRoot {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
}

/// Why no new root CA was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewRootError {
    /// The name can't be written byte for byte.
    #[error(
        "a new root CA can't have the name {0} byte for byte: it has several parts of one kind, \
         several in one RDN, or a text of a rare type; state another subject for it"
    )]
    Subject(DistinguishedName),
    /// The key can't be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The library failed, or the lifetime is impossible.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The result can't be read, which should not happen.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Makes a root CA: a new key of this kind, and its self-signed certificate.
///
/// The subject is that of the CA that it replaces, or one of [`DistinguishedName::from_parts`], and
/// is written byte for byte. The certificate has what Kubernetes and every verifier need, and no
/// more:
///
/// - basicConstraints (critical): a CA, without a limit of the path length.
/// - keyUsage (critical): keyCertSign and digitalSignature, as kubeadm's, and cRLSign. kubeadm's
///   has keyEncipherment too, which a CA does not use, and which RFC 5480 forbids for ECDSA.
/// - a subject key identifier, by RFC 5280, 4.2.1.2, method 1. Where old and new root have one
///   subject, OpenSSL tells them apart by that alone.
/// - no authority key identifier: RFC 5280 lets a root do without, OpenSSL's strict mode too, and
///   kubeadm's has none.
/// - no subject alternative name. kubeadm's root has `DNS:kubernetes` since 1.20, which no verifier
///   looks at: a root is no server.
///
/// The key does not leave aws-lc: `rcgen` has this one sign.
///
/// # Errors
/// When the name can't be written byte for byte, the key can't be made, or the lifetime is
/// impossible.
pub fn new_root(
    subject: &DistinguishedName,
    algorithm: &KeyAlgorithm,
    lifetime: &RootLifetime,
) -> Result<NewRoot, NewRootError> {
    let unwritable = || NewRootError::Subject(subject.clone());
    let mut params = params(lifetime)?;
    params.distinguished_name = distinguished_name(subject).ok_or_else(unwritable)?;
    let key = PrivateKey::generate(algorithm)?;
    let identifier = subject_key_identifier(key.public_key_der())?;
    let identifier = der::asn1::OctetString::from_der(&identifier).map_err(library)?;
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.as_bytes().to_vec());
    let signed = params.self_signed(&Signer::new(&key)?).map_err(library)?;
    let certificate = Certificate::from_der(signed.der())?;
    if certificate.subject != *subject {
        return Err(unwritable());
    }
    let is_right = certificate.is_self_signed() && certificate.is_ca() && key.fits(&certificate);
    if !is_right || certificate.subject_key_identifier.is_none() {
        return Err(library("it is not the certificate of a CA for its key").into());
    }
    Ok(NewRoot { certificate, key })
}

fn params(lifetime: &RootLifetime) -> Result<CertificateParams, IssueError> {
    let begin = lifetime.now.minus(lifetime.tolerated_skew);
    let end = lifetime.now.plus(lifetime.validity);
    let impossible = || IssueError::Lifetime(begin, end);
    let epoch = date_time_ymd(1970, 1, 1);
    let time = |at: Timestamp| {
        let since_1970 = Duration::from_secs(u64::try_from(at.seconds()).ok()?);
        epoch.checked_add(since_1970.try_into().ok()?)
    };
    if begin >= end {
        return Err(impossible());
    }
    let mut params = CertificateParams::default();
    params.not_before = time(begin).ok_or_else(impossible)?;
    params.not_after = time(end).ok_or_else(impossible)?;
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    Ok(params)
}

/// Converts a name for `rcgen`, which keeps one part of each kind: the caller compares the result.
fn distinguished_name(name: &DistinguishedName) -> Option<rcgen::DistinguishedName> {
    let (_, name) = X509Name::from_der(name.der()).ok()?;
    let mut converted = rcgen::DistinguishedName::new();
    for part in name.iter_attributes() {
        let kind: Vec<u64> = part.attr_type().iter()?.collect();
        // rcgen panics at others.
        if !matches!(kind.as_slice(), [0..=2, 0..40, _, ..]) {
            return None;
        }
        converted.push(DnType::from_oid(&kind), value(part)?);
    }
    Some(converted)
}

fn value(part: &AttributeTypeAndValue<'_>) -> Option<DnValue> {
    let bytes = part.attr_value().data;
    let text = || std::str::from_utf8(bytes).ok();
    Some(match part.attr_value().tag() {
        // rcgen panics at a question mark, which the type has.
        Tag::PrintableString if bytes.contains(&b'?') => return None,
        Tag::PrintableString => DnValue::PrintableString(PrintableString::try_from(text()?).ok()?),
        Tag::Utf8String => DnValue::Utf8String(text()?.to_owned()),
        Tag::Ia5String => DnValue::Ia5String(Ia5String::try_from(text()?).ok()?),
        Tag::T61String => DnValue::TeletexString(TeletexString::try_from(text()?).ok()?),
        Tag::BmpString => DnValue::BmpString(BmpString::from_utf16be(bytes.to_vec()).ok()?),
        Tag::UniversalString => {
            DnValue::UniversalString(UniversalString::from_utf32be(bytes.to_vec()).ok()?)
        }
        _ => return None,
    })
}

/// A key that `rcgen` has sign, without seeing it.
struct Signer<'k> {
    key: &'k PrivateKey,
    bits: &'k [u8],
    algorithm: &'static SignatureAlgorithm,
}

impl<'k> Signer<'k> {
    fn new(key: &'k PrivateKey) -> Result<Self, IssueError> {
        let unreadable = || IssueError::Library("unreadable public key".to_owned());
        let bits = Key::parse(key.public_key_der()).ok_or_else(unreadable)?.bits;
        let algorithm = match key.algorithm() {
            KeyAlgorithm::Rsa2048
            | KeyAlgorithm::Rsa3072
            | KeyAlgorithm::Rsa4096
            | KeyAlgorithm::Rsa8192 => &rcgen::PKCS_RSA_SHA256,
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::Other(other) => return Err(IssueError::KeyAlgorithm(other.clone())),
        };
        Ok(Self { key, bits, algorithm })
    }
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
