//! The bridge from an old root CA to a new one: a certificate for the new root's key and name that
//! the old root signed. Shown behind a leaf of the new root, it lets clients that know the old root
//! alone verify that leaf.

use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::Encode as _;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};

use super::super::issue::{Content, authority_key_identifier, exactly, library, with_value};
use super::super::template::extension;
use super::super::{Certificate, DistinguishedName, IssueError, PrivateKey, ReadError, Terms};
use crate::model::Timestamp;

/// Why there is no bridge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// A leaf in place of a CA certificate.
    #[error("the certificate of {0} is no CA certificate, or may not sign certificates")]
    NotAnAuthority(DistinguishedName),
    /// The key belongs to another CA.
    #[error("the private key does not belong to the old CA's certificate")]
    KeyDoesNotFit,
    /// Both have one key.
    #[error("the new CA has the key of the old one, so that no bridge is needed")]
    SameKey,
    /// The old CA may sign no other one.
    #[error(
        "the old CA {0} may not sign the certificate of another CA (path length 0), so that there \
         is no bridge: every client has to trust the new CA before it is used"
    )]
    PathLength(DistinguishedName),
    /// The old CA limits the purposes of the certificates below it.
    #[error(
        "the extendedKeyUsage of the old CA {0} allows {1} only, also below a bridge, so that \
         there is none: every client has to trust the new CA before it is used"
    )]
    Purposes(DistinguishedName, String),
    /// The old CA limits the names of the certificates below it.
    #[error(
        "the old CA {0} has name constraints, which apply to the name of the new CA and to its \
         certificates too, so that there is no bridge: every client has to trust the new CA before \
         it is used"
    )]
    NameConstraints(DistinguishedName),
    /// A bridge would be refused from the beginning.
    #[error("the CA {0} has expired, at {1}, so that clients would refuse a bridge")]
    Expired(DistinguishedName, Timestamp),
    /// OpenSSL could not tell the two apart.
    #[error(
        "the old and the new CA have the same name ({0}), and not both of them a subject key \
         identifier of their own, so that OpenSSL takes one for the other: give the new CA another \
         name"
    )]
    SameName(DistinguishedName),
    /// Something can't be written byte for byte as it is, or the library failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The result can't be read, which should not happen.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Has an old root CA sign the key and name of a new one, and returns the DER of the bridge.
///
/// Subject, public key and subject key identifier are those of the new root, and the issuer is the
/// old root's subject, byte for byte. The authority key identifier is the old root's subject key
/// identifier, and left out where that has none. The bridge expires at the end of `terms`, or with
/// the root that expires first.
///
/// The bridge is limited in what it may sign as the new root is, in path length, name constraints
/// and extended key usage, and no further: a path length of 0 would protect from nothing, since the
/// same key signs leaves of any name, and would refuse leaves of CAs below the new root to clients
/// that know the old one alone.
///
/// # Errors
/// When the old root can't or must not sign it, or OpenSSL would take one root for the other.
pub fn bridge(
    new_root: &Certificate,
    old_root: &Certificate,
    old_key: &PrivateKey,
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<u8>, BridgeError> {
    for root in [old_root, new_root] {
        if !root.is_ca() {
            return Err(BridgeError::NotAnAuthority(root.subject.clone()));
        }
        if root.not_after <= now {
            return Err(BridgeError::Expired(root.subject.clone(), root.not_after));
        }
    }
    if !old_key.fits(old_root) {
        return Err(BridgeError::KeyDoesNotFit);
    }
    if old_key.fits(new_root) {
        return Err(BridgeError::SameKey);
    }
    if old_root.path_length == Some(0) {
        return Err(BridgeError::PathLength(old_root.subject.clone()));
    }
    if let Some(purposes) = old_root.purposes_of_others() {
        return Err(BridgeError::Purposes(old_root.subject.clone(), purposes));
    }
    if old_root.has_name_constraints() {
        return Err(BridgeError::NameConstraints(old_root.subject.clone()));
    }
    if old_root.subject.is_equivalent_to(&new_root.subject)
        && !have_own_identifiers(old_root, new_root)
    {
        return Err(BridgeError::SameName(old_root.subject.clone()));
    }
    let content = Content {
        issuer: exactly(&old_root.subject, "the name of the old CA")?,
        subject: exactly(&new_root.subject, "the name of the new CA")?,
        extensions: extensions(new_root, old_root)?,
    };
    let not_after = terms.not_after.min(old_root.not_after).min(new_root.not_after);
    let terms = Terms { not_after, ..*terms };
    let der = content.signed(&terms, new_root.public_key_der(), old_key)?;
    check_result(&Certificate::from_der(&der)?, new_root, old_root)?;
    Ok(der)
}

fn have_own_identifiers(one: &Certificate, other: &Certificate) -> bool {
    match (&one.subject_key_identifier, &other.subject_key_identifier) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

fn extensions(
    new_root: &Certificate,
    old_root: &Certificate,
) -> Result<Vec<x509_cert::ext::Extension>, IssueError> {
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign).to_der().map_err(library)?;
    let path_len_constraint =
        new_root.path_length.map(u8::try_from).transpose().map_err(library)?;
    let constraints =
        BasicConstraints { ca: true, path_len_constraint }.to_der().map_err(library)?;
    let mut all = vec![
        extension(ID_CE_KEY_USAGE, true, usage)?,
        extension(ID_CE_BASIC_CONSTRAINTS, true, constraints)?,
    ];
    let copied = [ID_CE_EXT_KEY_USAGE, ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_KEY_IDENTIFIER];
    for one in &new_root.extensions {
        if copied.iter().any(|oid| oid.as_bytes() == one.oid.as_bytes()) {
            all.push(with_value(one, &one.value)?);
        }
    }
    if let Some(identifier) = &old_root.subject_key_identifier {
        let identifier = authority_key_identifier(identifier)?;
        all.push(extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, identifier)?);
    }
    Ok(all)
}

/// Checks by the other library what makes it a bridge.
fn check_result(
    bridge: &Certificate,
    new_root: &Certificate,
    old_root: &Certificate,
) -> Result<(), IssueError> {
    let differing = [
        (!bridge.is_of_same_ca(new_root), "the name and key of the new CA"),
        (bridge.issuer != old_root.subject, "the name of the old CA"),
        (
            bridge.subject_key_identifier != new_root.subject_key_identifier,
            "the key identifier of the new CA",
        ),
        (!bridge.verifies_by(old_root) || !bridge.is_ca(), "a CA certificate by the old CA"),
    ];
    match differing.iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(IssueError::NotReproducible((*what).to_owned())),
        None => Ok(()),
    }
}
