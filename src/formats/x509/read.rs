//! Reads certificates as they are found on disk.
//!
//! Reading is lenient: a malformed extension does not hide a certificate's expiry. Re-issuing and
//! verifying are strict, and are in other modules.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::{
    self, AuthorityKeyIdentifier, GeneralName, KeyUsage, ParsedExtension,
};
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
};
use x509_parser::prelude::FromDer as _;

use super::check::{is_message_signed_with, is_signed_with};
use super::name::printable;
use super::sha1;
use super::{DistinguishedName, KeyAlgorithm, Serial};
use crate::formats::pem::{self, PemError};
use crate::model::{Digest, Timestamp};

/// A parsed certificate. It can only be made from its DER, and only the DER counts where bytes have
/// to be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 digest of the DER, which identifies a certificate.
    pub fingerprint: Digest,
    /// The subject.
    pub subject: DistinguishedName,
    /// The issuer.
    pub issuer: DistinguishedName,
    /// The serial number, unique within its issuer.
    pub serial: Serial,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// The kind of its key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether it is a CA certificate (basicConstraints).
    pub is_authority: bool,
    /// How many other CA certificates may be between it and a leaf, where it says that.
    pub path_length: Option<u32>,
    /// Whether its key usage, if present, allows signing certificates.
    pub may_sign: bool,
    /// The identifier of its key.
    pub subject_key_identifier: Option<Vec<u8>>,
    /// The identifier of its issuer's key.
    pub authority_key_identifier: Option<Vec<u8>>,
    /// The issuer of its issuer's certificate, where the extension that identifies its issuer's key
    /// has that too.
    pub authority_issuer: Option<DistinguishedName>,
    /// The serial number of its issuer's certificate, where the extension that identifies its
    /// issuer's key has that too.
    pub authority_serial: Option<Serial>,
    /// The DNS names in the subject alternative name, as they are written.
    pub dns_names: Vec<String>,
    /// The IP addresses in the subject alternative name.
    pub ip_addresses: Vec<IpAddr>,
    /// The other entries of the subject alternative name, as text.
    pub other_names: Vec<String>,
    /// The uses that are allowed for the key.
    pub key_usage: Option<KeyUsage>,
    /// The purposes that are allowed for the certificate.
    pub extended_key_usage: Option<ExtendedKeyUsage>,
    /// Every extension, in order, byte for byte.
    pub extensions: Vec<Extension>,
    /// Whether it has the unique identifiers of X.509 version 2, which are not used any more.
    pub(super) has_unique_identifiers: bool,
    der: Vec<u8>,
    spki: Vec<u8>,
}

/// The purposes that are allowed for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// As a TLS server.
    pub server_auth: bool,
    /// As a TLS client.
    pub client_auth: bool,
    /// Any purpose.
    pub any: bool,
    /// Other purposes, by name or number.
    pub others: Vec<String>,
}

/// An extension, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The object identifier.
    pub oid: Oid<'static>,
    /// Whether a verifier that does not know it must refuse the certificate.
    pub critical: bool,
    /// Its content.
    pub value: Vec<u8>,
}

/// Why no certificate can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The file is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The file is PEM without a certificate.
    #[error("the file holds no CERTIFICATE block, but {found}")]
    NoCertificate {
        /// The labels of its blocks.
        found: String,
    },
    /// The file is PKCS#7 in PEM (RFC 7468, 8).
    #[error("{}", pem::pkcs7("openssl pkcs7"))]
    Pkcs7,
    /// The file has the form in which OpenSSL keeps what it trusts a certificate for.
    #[error(
        "the file holds a TRUSTED CERTIFICATE block, a form that only OpenSSL reads (openssl x509 \
         -in FILE -out FILE.pem converts it)"
    )]
    Trusted,
    /// A certificate is malformed.
    #[error("certificate {number} of the file can't be read: {reason}")]
    Malformed {
        /// The position of the certificate in the file, from 1.
        number: usize,
        /// The parser's reason.
        reason: String,
    },
}

/// Returns the certificates of a PEM file in their order, at least one. Blocks of other kinds are
/// skipped.
///
/// # Errors
/// When the file is not PEM, holds no certificate, or one of them can't be read.
pub fn certificates(file: &[u8]) -> Result<Vec<Certificate>, ReadError> {
    let blocks = pem::blocks(file)?;
    let certificates: Vec<Certificate> = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .zip(1..)
        .map(|(block, number)| {
            Certificate::parse(block.der.expose())
                .map_err(|reason| ReadError::Malformed { number, reason })
        })
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
        return Err(if labels.contains(&"TRUSTED CERTIFICATE") {
            ReadError::Trusted
        } else if labels.contains(&"PKCS7") {
            ReadError::Pkcs7
        } else {
            ReadError::NoCertificate { found: labels.join(", ") }
        });
    }
    Ok(certificates)
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// When the bytes are no certificate, or something follows it.
    pub fn from_der(der: &[u8]) -> Result<Self, ReadError> {
        Self::parse(der).map_err(|reason| ReadError::Malformed { number: 1, reason })
    }

    /// The DER encoding of the certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its public key: a DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.spki
    }

    /// The certificate as a PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// Whether it names itself as its issuer, and its own key made the signature.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(self)
    }

    /// Whether it names that certificate's subject as its issuer, byte for byte, and that
    /// certificate's key made the signature. A signature of an outdated kind (SHA-1, RSA below 2048
    /// bits) does not count.
    #[must_use]
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject && is_signed_with(&self.der, &issuer.spki)
    }

    /// Like [`Self::is_signed_by`], and a signature with SHA-1 counts too. It says who signed a
    /// certificate that is to be replaced; a new one is never judged by it.
    #[must_use]
    pub fn was_signed_by(&self, issuer: &Self) -> bool {
        self.is_signed_by(issuer)
            || (self.issuer == issuer.subject && sha1::is_signed_with(&self.der, &issuer.spki))
    }

    /// Whether its key signed a message, in the form in which it signs certificates.
    #[must_use]
    pub fn verifies_message(&self, message: &[u8], signature: &[u8]) -> bool {
        is_message_signed_with(message, signature, &self.spki)
    }

    /// Whether it is signed with SHA-1, which TLS libraries refuse: Go from version 1.18 on, and so
    /// Kubernetes from 1.24 on. In a trust anchor no signature is checked.
    #[must_use]
    pub fn has_sha1_signature(&self) -> bool {
        sha1::is_signature_of(&self.der)
    }

    /// Whether it may sign other certificates.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.is_authority && self.may_sign
    }

    /// Whether it names itself as its issuer, by its name and by the identifier of its key. Its own
    /// signature proves nothing, and may be of a kind that can't be checked.
    #[must_use]
    pub fn is_root(&self) -> bool {
        let identifiers = (&self.authority_key_identifier, &self.subject_key_identifier);
        let is_of_other_key = matches!(identifiers, (Some(issuer), Some(own)) if issuer != own);
        self.issuer == self.subject && !is_of_other_key
    }

    /// Whether it is a certificate of the same CA: with the same name and the same key.
    #[must_use]
    pub fn is_of_same_ca(&self, other: &Self) -> bool {
        self.subject == other.subject && self.spki == other.spki
    }

    /// The names and addresses it is valid for, for display.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let addresses = self.ip_addresses.iter().map(ToString::to_string);
        self.dns_names
            .iter()
            .cloned()
            .chain(addresses)
            .chain(self.other_names.iter().cloned())
            .collect()
    }

    /// Whether the time is within its validity.
    #[must_use]
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before <= time && time <= self.not_after
    }

    fn parse(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| printable(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(format!("{} more bytes follow it", rest.len()));
        }
        Ok(Self::from_parsed(der, &parsed))
    }

    fn from_parsed(der: &[u8], parsed: &X509Certificate<'_>) -> Self {
        let names = AlternativeNames::of(parsed);
        let key_usage = parsed.key_usage();
        Self {
            fingerprint: Digest::of(der),
            subject: DistinguishedName::new(parsed.subject()),
            issuer: DistinguishedName::new(parsed.issuer()),
            serial: Serial::new(parsed.raw_serial()),
            not_before: Timestamp::from_seconds(parsed.validity().not_before.timestamp()),
            not_after: Timestamp::from_seconds(parsed.validity().not_after.timestamp()),
            key_algorithm: KeyAlgorithm::of_public_key(parsed.public_key().raw),
            is_authority: parsed.is_ca(),
            path_length: parsed
                .basic_constraints()
                .ok()
                .flatten()
                .and_then(|constraints| constraints.value.path_len_constraint),
            may_sign: key_usage
                .as_ref()
                .is_ok_and(|usage| usage.as_ref().is_none_or(|usage| usage.value.key_cert_sign())),
            subject_key_identifier: subject_key_identifier(parsed),
            authority_key_identifier: authority_key_identifier(parsed)
                .and_then(|authority| Some(authority.key_identifier.as_ref()?.0.to_vec())),
            authority_issuer: authority_key_identifier(parsed).and_then(authority_issuer),
            authority_serial: authority_key_identifier(parsed)
                .and_then(|authority| authority.authority_cert_serial.map(Serial::new)),
            dns_names: names.dns,
            ip_addresses: names.ip,
            other_names: names.others,
            key_usage: key_usage.ok().flatten().map(|usage| *usage.value),
            extended_key_usage: extended_key_usage(parsed),
            extensions: parsed.extensions().iter().map(Extension::new).collect(),
            has_unique_identifiers: parsed.issuer_uid.is_some() || parsed.subject_uid.is_some(),
            der: der.to_vec(),
            spki: parsed.public_key().raw.to_vec(),
        }
    }
}

impl Extension {
    fn new(extension: &extensions::X509Extension<'_>) -> Self {
        Self {
            oid: extension.oid.to_owned(),
            critical: extension.critical,
            value: extension.value.to_vec(),
        }
    }

    /// Whether the extension identifies the issuer's or the subject's key, which differ in a
    /// renewed certificate.
    pub(super) fn identifies_a_key(&self) -> bool {
        self.is_authority_key_identifier() || self.is_subject_key_identifier()
    }

    pub(super) fn is_subject_alternative_name(&self) -> bool {
        self.oid == OID_X509_EXT_SUBJECT_ALT_NAME
    }

    pub(super) fn is_authority_key_identifier(&self) -> bool {
        self.oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER
    }

    pub(super) fn is_subject_key_identifier(&self) -> bool {
        self.oid == OID_X509_EXT_SUBJECT_KEY_IDENTIFIER
    }
}

fn subject_key_identifier(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

fn authority_key_identifier<'c, 'a>(
    parsed: &'c X509Certificate<'a>,
) -> Option<&'c AuthorityKeyIdentifier<'a>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => Some(identifier),
        _ => None,
    })
}

/// The first name of a directory, as OpenSSL takes it.
fn authority_issuer(authority: &AuthorityKeyIdentifier<'_>) -> Option<DistinguishedName> {
    authority.authority_cert_issuer.as_ref()?.iter().find_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(DistinguishedName::new(name)),
        _ => None,
    })
}

fn extended_key_usage(parsed: &X509Certificate<'_>) -> Option<ExtendedKeyUsage> {
    let usage = parsed.extended_key_usage().ok()??.value;
    let named = [
        (usage.code_signing, "code signing"),
        (usage.email_protection, "e-mail protection"),
        (usage.time_stamping, "time stamping"),
        (usage.ocsp_signing, "OCSP signing"),
    ];
    let named = named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    Some(ExtendedKeyUsage {
        server_auth: usage.server_auth,
        client_auth: usage.client_auth,
        any: usage.any,
        others: named.chain(usage.other.iter().map(Oid::to_id_string)).collect(),
    })
}

/// The entries of the subject alternative name.
#[derive(Default)]
struct AlternativeNames {
    dns: Vec<String>,
    ip: Vec<IpAddr>,
    others: Vec<String>,
}

impl AlternativeNames {
    fn of(parsed: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        if let Ok(Some(extension)) = parsed.subject_alternative_name() {
            extension.value.general_names.iter().for_each(|name| names.add(name));
        }
        names
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push(printable(name)),
            GeneralName::IPAddress(bytes) => match ip_address(bytes) {
                Some(address) => self.ip.push(address),
                None => self.others.push(name.to_string()),
            },
            other => self.others.push(printable(&other.to_string())),
        }
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

#[cfg(test)]
mod tests;
