//! The renewal of a root CA with its own key: a new end, and everything else as it was.

use der::Encode as _;

use super::super::issue::{Content, exactly, with_value};
use super::super::{Certificate, DistinguishedName, IssueError, PrivateKey, ReadError, Terms};
use crate::model::Timestamp;

/// Why a root CA was not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewRootError {
    /// A leaf in place of a CA certificate.
    #[error("the certificate of {0} is no CA certificate, or may not sign certificates")]
    NotAnAuthority(DistinguishedName),
    /// Another CA signed it.
    #[error(
        "the CA {subject} is no root: {issuer} signed its certificate; have that CA sign a new \
         one with the same subject, key and extensions"
    )]
    Intermediate {
        /// Its name.
        subject: DistinguishedName,
        /// The name of the CA above it.
        issuer: DistinguishedName,
    },
    /// The key belongs to another CA.
    #[error("the private key does not belong to the certificate of the CA")]
    KeyDoesNotFit,
    /// The new certificate would expire before the old one.
    #[error(
        "the renewed certificate of the CA would expire at {new}, before the present one, which \
         expires at {old}"
    )]
    Shorter {
        /// The end of the new one.
        new: Timestamp,
        /// The end of the present one.
        old: Timestamp,
    },
    /// It names its own serial number as its authority's.
    #[error(
        "the CA's certificate names its own serial number as that of its issuer (authority key \
         identifier), and a renewed one has another; replace the CA by one with a new key"
    )]
    NamesSerial,
    /// Something can't be written byte for byte as it was, or the library failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The result can't be read, which should not happen.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Signs the certificate of a root CA again with its own key, and returns the DER of the new one.
///
/// Subject, issuer, public key and every extension are copied byte for byte. Only serial number,
/// validity and signature are new. So every certificate that the CA has issued verifies by the new
/// one too, except a certificate that names the serial number of the old one as its authority's:
/// see [`lost_leaves`]. The signature is of the kind of [`PrivateKey::sign`], whatever the old one
/// is: one with SHA-1 becomes one with SHA-256.
///
/// # Errors
/// When it is no root CA, the key is not its own, the new certificate would expire before the old
/// one, or something of it can't be written byte for byte as it was.
pub fn renew_root(
    old: &Certificate,
    key: &PrivateKey,
    terms: &Terms,
) -> Result<Vec<u8>, RenewRootError> {
    if !old.is_ca() {
        return Err(RenewRootError::NotAnAuthority(old.subject.clone()));
    }
    if !old.is_root() {
        let (subject, issuer) = (old.subject.clone(), old.issuer.clone());
        return Err(RenewRootError::Intermediate { subject, issuer });
    }
    if !key.fits(old) {
        return Err(RenewRootError::KeyDoesNotFit);
    }
    if terms.not_after < old.not_after {
        return Err(RenewRootError::Shorter { new: terms.not_after, old: old.not_after });
    }
    if old.authority_serial.is_some() {
        return Err(RenewRootError::NamesSerial);
    }
    let extensions: Vec<_> = old
        .extensions
        .iter()
        .map(|extension| with_value(extension, &extension.value))
        .collect::<Result<_, _>>()?;
    let written = extensions.to_der().map_err(super::super::issue::library)?;
    let content = Content {
        issuer: exactly(&old.issuer, "the issuer")?,
        subject: exactly(&old.subject, "the subject")?,
        extensions,
    };
    let der = content.signed(terms, old.public_key_der(), key)?;
    check_copied(&Certificate::from_der(&der)?, old, &written)?;
    Ok(der)
}

/// Checks by the other library that everything was copied. `written` is the list of extensions as
/// it is in the new certificate: it has to be in the old one as it is.
fn check_copied(new: &Certificate, old: &Certificate, written: &[u8]) -> Result<(), IssueError> {
    let is_in_old = old.der().windows(written.len().max(1)).any(|part| part == written);
    let differing = [
        (new.subject != old.subject, "the subject"),
        (new.issuer != old.issuer, "the issuer"),
        (new.public_key_der() != old.public_key_der(), "the public key"),
        (new.extensions != old.extensions || !is_in_old, "the list of extensions"),
        (old.has_unique_identifiers, "a unique identifier (X.509 version 2)"),
        (!new.is_self_signed(), "the certificate's own signature"),
    ];
    match differing.iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(IssueError::NotReproducible((*what).to_owned())),
        None => Ok(()),
    }
}

/// Why a certificate that verified by the old certificate of its CA does not verify by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafLoss {
    /// Another key made the signature.
    #[error("the new CA has another key")]
    Key,
    /// The name of the CA is written in other bytes.
    #[error("the new CA's name is not the same bytes, as Go compares them")]
    Name,
    /// It names another key.
    #[error("the new CA's key identifier is not the one that it names, as OpenSSL compares them")]
    KeyIdentifier,
    /// It names another serial number.
    #[error(
        "it names the serial number of the old CA certificate as its issuer's, as OpenSSL compares \
         them"
    )]
    Serial,
}

/// Returns the certificates that verify by the old certificate of a CA and not by the new one, each
/// with the reason. Both is judged by the rules of Go and of OpenSSL: see
/// [`Certificate::verifies_by`]. Dates are not looked at.
pub fn lost_leaves<'l>(
    old: &Certificate,
    new: &Certificate,
    leaves: impl IntoIterator<Item = &'l Certificate>,
) -> Vec<(&'l Certificate, LeafLoss)> {
    let lost = leaves.into_iter().filter(|leaf| leaf.verifies_by(old) && !leaf.verifies_by(new));
    lost.map(|leaf| (leaf, loss(leaf, old, new))).collect()
}

fn loss(leaf: &Certificate, old: &Certificate, new: &Certificate) -> LeafLoss {
    if old.public_key_der() != new.public_key_der() {
        LeafLoss::Key
    } else if leaf.issuer != new.subject {
        LeafLoss::Name
    } else if leaf.names_another_key_than(new) {
        LeafLoss::KeyIdentifier
    } else {
        LeafLoss::Serial
    }
}
