//! Re-issues a certificate: a new certificate with exactly the subject of the old one.
//!
//! The subject and the extensions are copied byte for byte, because this program must not change
//! what it does not understand: a leaf of a custom authority may have names and extensions that
//! kubeadm does not know. Where the library can't write the same bytes again, nothing is issued.
//!
//! This module does not check whether the authority is valid now, whether it signed the old
//! certificate, and whether the result verifies. The caller checks the first two before, and
//! [`super::verify_renewed`] checks the last.

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;
use der::asn1::OctetString;
use der::{Decode as _, Encode as _};
use spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use super::check::Key;
use super::{Certificate, DistinguishedName, Extension, KeyAlgorithm, PrivateKey, Signature};
use crate::model::Timestamp;

/// The new fields of a renewed certificate, besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The serial number, from [`random_serial`].
    pub serial: [u8; 16],
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
}

/// Why a certificate was not re-issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The key belongs to another authority.
    #[error("the CA's private key does not belong to its certificate")]
    KeyDoesNotFit,
    /// A leaf in place of a CA certificate.
    #[error("the certificate of the CA is no CA certificate, or may not sign certificates")]
    NotAnAuthority,
    /// A kind of key that is not made here.
    #[error("a certificate for a key of the kind {0} is not issued")]
    KeyAlgorithm(String),
    /// Something can't be written byte for byte as it was.
    #[error(
        "{0} can't be reproduced byte for byte, so nothing was issued; re-create this certificate \
         by hand"
    )]
    NotReproducible(String),
    /// A time before 1970, or an end before the beginning.
    #[error("no certificate can be valid from {0} to {1}")]
    Lifetime(Timestamp, Timestamp),
    /// The library failed, which should not happen.
    #[error("the certificate could not be made: {0}")]
    Library(String),
}

/// Issues `old` again for a new key, and returns the DER of the new certificate.
///
/// The subject and every extension, with its criticality and position, are taken from `old`. The
/// key identifiers are new. That of the authority becomes the issuer's subject key identifier:
/// added at the end where `old` had none, as Go does, and left out where the issuer has none. That
/// of the subject becomes the digest of the new key (RFC 5280, 4.2.1.2, method 1), only where `old`
/// had one, and stays where the key does.
///
/// # Errors
/// When the issuer is no authority or the key is not its own, and when something of `old` can't be
/// written byte for byte as it was.
pub fn reissue(
    old: &Certificate,
    issuer: &Certificate,
    issuer_key: &PrivateKey,
    new_key: &PrivateKey,
    terms: &Terms,
) -> Result<Vec<u8>, IssueError> {
    reissue_for(old, issuer, issuer_key, new_key.public_key_der(), terms)
}

/// Does the same for a public key (a DER SubjectPublicKeyInfo) whose private half is elsewhere.
pub(super) fn reissue_for(
    old: &Certificate,
    issuer: &Certificate,
    issuer_key: &PrivateKey,
    public_key: &[u8],
    terms: &Terms,
) -> Result<Vec<u8>, IssueError> {
    if !issuer.is_authority || !issuer.may_sign {
        return Err(IssueError::NotAnAuthority);
    }
    if !issuer_key.fits(issuer) {
        return Err(IssueError::KeyDoesNotFit);
    }
    let algorithm = KeyAlgorithm::of_public_key(public_key);
    if !algorithm.can_be_made() {
        return Err(IssueError::KeyAlgorithm(algorithm.to_string()));
    }
    if old.has_unique_identifiers {
        return Err(IssueError::NotReproducible(
            "a unique identifier (X.509 version 2)".to_owned(),
        ));
    }
    let content = Content {
        issuer: exactly(&issuer.subject, "the name of the CA")?,
        subject: exactly(&old.subject, "the subject")?,
        extensions: extensions(old, issuer, public_key)?,
    };
    content.signed(terms, public_key, issuer_key)
}

/// Returns a serial number that no certificate had before: 127 random bits, and never zero.
///
/// # Errors
/// When the system gives no random bytes.
pub fn random_serial() -> Result<[u8; 16], IssueError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| IssueError::Library("no random bytes".to_owned()))?;
    let [first, .., last] = &mut serial;
    // The top bit is the sign. Zero has a probability of 2^-127, and excluding it costs one bit.
    *first &= 0x7f;
    *last |= u8::from(*first == 0);
    Ok(serial)
}

/// The content that x509-cert writes into the certificate, with nothing added by the library.
pub(super) struct Content {
    pub(super) issuer: Name,
    pub(super) subject: Name,
    pub(super) extensions: Vec<x509_cert::ext::Extension>,
}

impl Content {
    pub(super) fn signed(
        self,
        terms: &Terms,
        public_key: &[u8],
        issuer_key: &PrivateKey,
    ) -> Result<Vec<u8>, IssueError> {
        let lifetime = || IssueError::Lifetime(terms.not_before, terms.not_after);
        if terms.not_before > terms.not_after {
            return Err(lifetime());
        }
        let time = |at| time(at).ok_or_else(lifetime);
        let validity = Validity::new(time(terms.not_before)?, time(terms.not_after)?);
        let serial = SerialNumber::new(&terms.serial).map_err(library)?;
        let public_key = SubjectPublicKeyInfoOwned::from_der(public_key).map_err(library)?;
        let builder =
            CertificateBuilder::new(self, serial, validity, public_key).map_err(library)?;
        let certificate = builder.build::<_, Signature>(issuer_key).map_err(library)?;
        certificate.to_der().map_err(library)
    }
}

impl BuilderProfile for Content {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _certificate: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<x509_cert::ext::Extension>> {
        Ok(self.extensions.clone())
    }
}

/// Converts a name to x509-cert's type, when that is encoded as the same bytes.
pub(super) fn exactly(name: &DistinguishedName, what: &str) -> Result<Name, IssueError> {
    let same = |read: &Name| read.to_der().is_ok_and(|written| written == name.der());
    Name::from_der(name.der())
        .ok()
        .filter(same)
        .ok_or_else(|| IssueError::NotReproducible(format!("{what} ({name})")))
}

/// Returns the old extensions with the new key identifiers.
fn extensions(
    old: &Certificate,
    issuer: &Certificate,
    public_key: &[u8],
) -> Result<Vec<x509_cert::ext::Extension>, IssueError> {
    let authority =
        issuer.subject_key_identifier.as_deref().map(authority_key_identifier).transpose()?;
    let keeps_key = public_key == old.public_key_der();
    let mut extensions = Vec::with_capacity(old.extensions.len() + 1);
    for extension in &old.extensions {
        if extension.is_subject_key_identifier() && !keeps_key {
            extensions.push(with_value(extension, &subject_key_identifier(public_key)?)?);
        } else if !extension.is_authority_key_identifier() {
            extensions.push(with_value(extension, &extension.value)?);
        } else if let Some(identifier) = &authority {
            extensions.push(with_value(extension, identifier)?);
        }
    }
    if let Some(identifier) =
        authority.filter(|_| !old.extensions.iter().any(Extension::is_authority_key_identifier))
    {
        let extn_value = OctetString::new(identifier).map_err(library)?;
        extensions.push(x509_cert::ext::Extension {
            extn_id: ID_CE_AUTHORITY_KEY_IDENTIFIER,
            critical: false,
            extn_value,
        });
    }
    Ok(extensions)
}

pub(super) fn with_value(
    extension: &Extension,
    value: &[u8],
) -> Result<x509_cert::ext::Extension, IssueError> {
    let extn_id = ObjectIdentifier::from_bytes(extension.oid.as_bytes())
        .map_err(|_| IssueError::NotReproducible(format!("the extension {}", extension.oid)))?;
    Ok(x509_cert::ext::Extension {
        extn_id,
        critical: extension.critical,
        extn_value: OctetString::new(value).map_err(library)?,
    })
}

pub(super) fn authority_key_identifier(issuer: &[u8]) -> Result<Vec<u8>, IssueError> {
    let key_identifier = Some(OctetString::new(issuer).map_err(library)?);
    AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() }
        .to_der()
        .map_err(library)
}

/// SHA-1 is what RFC 5280 names. It identifies the key and protects nothing.
pub(super) fn subject_key_identifier(public_key: &[u8]) -> Result<Vec<u8>, IssueError> {
    let bits = Key::parse(public_key)
        .ok_or_else(|| IssueError::Library("unreadable public key".to_owned()))?
        .bits;
    let identifier =
        OctetString::new(digest(&SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref()).map_err(library)?;
    SubjectKeyIdentifier(identifier).to_der().map_err(library)
}

/// Encodes as UTCTime until 2049, and as GeneralizedTime after that.
fn time(at: Timestamp) -> Option<Time> {
    let since_1970 = Duration::from_secs(u64::try_from(at.seconds()).ok()?);
    Some(Time::from(der::DateTime::from_unix_duration(since_1970).ok()?))
}

pub(super) fn library(error: impl std::fmt::Display) -> IssueError {
    IssueError::Library(error.to_string())
}

#[cfg(test)]
mod tests;
