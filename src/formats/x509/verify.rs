//! Verifies a renewed certificate before it may replace the old one.
//!
//! It shares only the reader with [`super::reissue`]: webpki validates the path, as a TLS client
//! would, and everything that had to stay is compared as bytes with the certificate that is to be
//! replaced.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::{Certificate, DistinguishedName};
use crate::model::Timestamp;

/// What is wrong with a renewed certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It names another issuer.
    #[error("the new certificate names {new} as its issuer, and the CA is {authority}")]
    Issuer {
        /// The name in it.
        new: DistinguishedName,
        /// The name of the authority.
        authority: DistinguishedName,
    },
    /// It is signed with SHA-1, which is accepted only from what is to be replaced.
    #[error(
        "the certificate of {0} is signed with SHA-1, which Kubernetes refuses from 1.24 on: have \
         it signed with SHA-256"
    )]
    Sha1(DistinguishedName),
    /// The authority is no CA certificate.
    #[error("the certificate of the CA is no CA certificate, or may not sign certificates")]
    NotAnAuthority,
    /// The authority is not valid yet.
    #[error("the CA is not valid before {0}")]
    AuthorityNotYetValid(Timestamp),
    /// It would expire after the authority.
    #[error("the new certificate expires at {new}, after its CA ({authority})")]
    OutlivesAuthority {
        /// Its expiry.
        new: Timestamp,
        /// The expiry of the authority.
        authority: Timestamp,
    },
    /// It is not valid yet, or it is expired.
    #[error("the new certificate is valid from {0} to {1}, and not now")]
    NotValidNow(Timestamp, Timestamp),
    /// The key is of a kind that leaves do not have.
    #[error("the new certificate has a key of the kind {0}")]
    KeyAlgorithm(String),
    /// The old key was used again.
    #[error("the new certificate has the key of the old one")]
    SameKey,
    /// The old serial number was used again.
    #[error("the new certificate has the serial number of the old one")]
    SameSerial,
    /// The subject differs.
    #[error("the new certificate is for {new}, the old one for {old}")]
    Subject {
        /// The name in the new one.
        new: DistinguishedName,
        /// The name in the old one.
        old: DistinguishedName,
    },
    /// The authority's key did not make the signature.
    #[error("the signature of the new certificate was not made with the key of the CA")]
    Signature,
    /// It is itself a CA certificate, which webpki does not accept as a leaf.
    #[error("the new certificate is a CA certificate, and can't be used as a server's or client's")]
    IsAuthority,
    /// It has a critical extension that verifiers must refuse because they do not know it.
    #[error(
        "the new certificate has a critical extension that verifiers don't know, so that they have \
         to refuse it"
    )]
    CriticalExtension,
    /// The authority may not sign for these names.
    #[error("the CA's name constraints don't allow the names in the new certificate")]
    NameConstraints,
    /// It lacks a purpose of the old one.
    #[error("the new certificate can't be used for the {0} side of TLS, and the old one could")]
    Usage(&'static str),
    /// It expires no later than the old one.
    #[error("the new certificate expires at {new}, and the old one not before {old}")]
    NoLonger {
        /// The expiry of the new one.
        new: Timestamp,
        /// The expiry of the old one.
        old: Timestamp,
    },
    /// Its names or usages differ from those of the old one.
    #[error("the new certificate does not have the {0} of the old one: {1}")]
    NotTheSame(&'static str, String),
    /// A verifier refuses it for another reason.
    #[error("the new certificate does not verify: {0}")]
    Path(String),
    /// It is not valid for a name that the old one was accepted for.
    #[error("the new certificate is not valid for {0}, and the old one is")]
    NameLost(String),
    /// An extension of the old one is missing.
    #[error("the new certificate lacks the extension {0}")]
    ExtensionMissing(String),
    /// It has an extension that the old one did not have.
    #[error("the new certificate has the extension {0}, and the old one does not")]
    ExtensionAdded(String),
    /// An extension has another value or another criticality.
    #[error("the extension {0} of the new certificate is not what it was")]
    ExtensionChanged(String),
    /// The extensions are the same in another order or number.
    #[error("the extensions of the new certificate are in another order, or some are repeated")]
    ExtensionsReordered,
    /// Its authority key identifier is not that of the authority's key.
    #[error("the authority key identifier of the new certificate is not that of the CA")]
    AuthorityKeyIdentifier,
    /// The subject key identifier is missing, added, or the old one.
    #[error(
        "the subject key identifier of the new certificate is missing, left from the old one, or \
         was not there before"
    )]
    SubjectKeyIdentifier,
}

/// Verifies that `new` may replace `old` at the time `now`, with `issuer` as the only trust anchor.
///
/// The path is validated for each side of TLS that the old certificate names. For one that names
/// neither, any usage is accepted, as webpki knows no other, and the comparison of the extensions
/// covers it. Each DNS name and IP address that webpki accepted the old one for has to be accepted
/// for the new one; names that it can't judge (wildcards, odd characters) are compared with the
/// rest of the extension.
///
/// # Errors
/// The first problem. webpki refuses some legal certificates, such as a CA certificate used as a
/// leaf: this is an error too, because the components' own verifiers refuse most of them.
pub fn verify_renewed(
    new: &Certificate,
    old: &Certificate,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<(), VerifyError> {
    check_issuer(new, issuer, now)?;
    check_lifetime(new, issuer)?;
    check_new_key_and_serial(new, old)?;
    if new.subject != old.subject {
        return Err(VerifyError::Subject { new: new.subject.clone(), old: old.subject.clone() });
    }
    validate_path(new, &[], old, issuer, now)?;
    check_names_kept(new, old)?;
    check_extensions_kept(new, old)?;
    check_key_identifiers(new, old, issuer)
}

/// Does the same for a certificate that an external CA signed, itself or by the intermediates of
/// `chain`, each of which is signed by the next one, and the last one by `anchor`. The CA may write
/// other extensions by its own rules. The usages and names have to be those of the old one, and it
/// has to expire later.
///
/// # Errors
/// As [`verify_renewed`].
pub fn verify_answer(
    new: &Certificate,
    chain: &[Certificate],
    old: &Certificate,
    anchor: &Certificate,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let issuers = chain.iter().chain([anchor]);
    for (signed, issuer) in [new].into_iter().chain(chain).zip(issuers) {
        check_issuer(signed, issuer, now)?;
        check_lifetime(new, issuer)?;
    }
    check_new_key_and_serial(new, old)?;
    if new.subject != old.subject {
        return Err(VerifyError::Subject { new: new.subject.clone(), old: old.subject.clone() });
    }
    if new.not_after <= old.not_after {
        return Err(VerifyError::NoLonger { new: new.not_after, old: old.not_after });
    }
    validate_path(new, chain, old, anchor, now)?;
    check_names_kept(new, old)?;
    check_usages_kept(new, old)
}

/// Whether two certificates are for the same subject, names and usages. Keys, dates, serial numbers
/// and issuers may differ.
#[must_use]
pub fn is_for_the_same(one: &Certificate, other: &Certificate) -> bool {
    one.subject == other.subject && check_extensions_kept(one, other).is_ok()
}

fn check_issuer(
    new: &Certificate,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<(), VerifyError> {
    if new.issuer != issuer.subject {
        return Err(VerifyError::Issuer {
            new: new.issuer.clone(),
            authority: issuer.subject.clone(),
        });
    }
    if new.has_sha1_signature() {
        return Err(VerifyError::Sha1(new.subject.clone()));
    }
    // webpki does not check a trust anchor: neither its validity nor whether it is an authority.
    if !issuer.is_authority || !issuer.may_sign {
        return Err(VerifyError::NotAnAuthority);
    }
    if now < issuer.not_before {
        return Err(VerifyError::AuthorityNotYetValid(issuer.not_before));
    }
    Ok(())
}

fn check_lifetime(new: &Certificate, issuer: &Certificate) -> Result<(), VerifyError> {
    if new.not_after > issuer.not_after {
        return Err(VerifyError::OutlivesAuthority {
            new: new.not_after,
            authority: issuer.not_after,
        });
    }
    Ok(())
}

fn check_new_key_and_serial(new: &Certificate, old: &Certificate) -> Result<(), VerifyError> {
    if !new.key_algorithm.can_be_made() {
        return Err(VerifyError::KeyAlgorithm(new.key_algorithm.to_string()));
    }
    if new.public_key_der() == old.public_key_der() {
        return Err(VerifyError::SameKey);
    }
    if new.serial == old.serial {
        return Err(VerifyError::SameSerial);
    }
    Ok(())
}

fn validate_path(
    new: &Certificate,
    chain: &[Certificate],
    old: &Certificate,
    anchor: &Certificate,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let path = Path::new(new, chain, anchor, now)?;
    let usage = old.extended_key_usage.clone().unwrap_or_default();
    match (usage.server_auth, usage.client_auth) {
        (false, false) => path.validate(AnyUsage, "other")?,
        (server, client) => {
            if server {
                path.validate(KeyUsage::server_auth(), "server")?;
            }
            if client {
                path.validate(KeyUsage::client_auth(), "client")?;
            }
        }
    }
    Ok(())
}

/// The path from the new certificate to the anchor.
struct Path<'a> {
    new: &'a Certificate,
    leaf: CertificateDer<'a>,
    intermediates: Vec<CertificateDer<'a>>,
    anchor: TrustAnchor<'static>,
    now: UnixTime,
}

impl<'a> Path<'a> {
    fn new(
        new: &'a Certificate,
        chain: &'a [Certificate],
        issuer: &Certificate,
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        let not_now = |_| VerifyError::NotValidNow(new.not_before, new.not_after);
        let seconds = u64::try_from(now.seconds()).map_err(not_now)?;
        let anchor = CertificateDer::from(issuer.der());
        let anchor = webpki::anchor_from_trusted_cert(&anchor)
            .map_err(|error| VerifyError::Path(format!("the CA: {error:?}")))?;
        Ok(Self {
            new,
            leaf: CertificateDer::from(new.der()),
            intermediates: chain.iter().map(|one| CertificateDer::from(one.der())).collect(),
            anchor: anchor.to_owned(),
            now: UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        })
    }

    fn validate(
        &self,
        usage: impl ExtendedKeyUsageValidator,
        side: &'static str,
    ) -> Result<(), VerifyError> {
        let explain = |error| self.explain(&error, side);
        let leaf = EndEntityCert::try_from(&self.leaf).map_err(explain)?;
        let anchors = std::slice::from_ref(&self.anchor);
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            &self.intermediates,
            self.now,
            usage,
            None,
            None,
        )
        .map(|_| ())
        .map_err(explain)
    }

    fn explain(&self, error: &webpki::Error, side: &'static str) -> VerifyError {
        use webpki::Error;
        match error {
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
                VerifyError::NotValidNow(self.new.not_before, self.new.not_after)
            }
            Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | Error::UnsupportedSignatureAlgorithmContext(_) => VerifyError::Signature,
            Error::CaUsedAsEndEntity => VerifyError::IsAuthority,
            Error::UnsupportedCriticalExtension => VerifyError::CriticalExtension,
            Error::NameConstraintViolation => VerifyError::NameConstraints,
            Error::RequiredEkuNotFoundContext(_) => VerifyError::Usage(side),
            other => VerifyError::Path(format!("{other:?}")),
        }
    }
}

/// The usage of a certificate that is for neither side of TLS.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn check_names_kept(new: &Certificate, old: &Certificate) -> Result<(), VerifyError> {
    let (new_der, old_der) = (CertificateDer::from(new.der()), CertificateDer::from(old.der()));
    let new_leaf = EndEntityCert::try_from(&new_der)
        .map_err(|error| VerifyError::Path(format!("{error:?}")))?;
    // webpki did not accept an unreadable old one for any name.
    let Ok(old_leaf) = EndEntityCert::try_from(&old_der) else { return Ok(()) };
    let dns = old.dns_names.iter().cloned();
    let names = dns.chain(old.ip_addresses.iter().map(ToString::to_string));
    for name in names {
        let Ok(judged) = ServerName::try_from(name.as_str()) else { continue };
        let accepted = old_leaf.verify_is_valid_for_subject_name(&judged).is_ok();
        if accepted && new_leaf.verify_is_valid_for_subject_name(&judged).is_err() {
            return Err(VerifyError::NameLost(name));
        }
    }
    Ok(())
}

/// Compares usages by their meaning, not their bytes: an authority encodes them in its own way.
fn check_usages_kept(new: &Certificate, old: &Certificate) -> Result<(), VerifyError> {
    let differ = |what, old: String| Err(VerifyError::NotTheSame(what, old));
    let lost: Vec<String> =
        old.names().into_iter().filter(|name| !new.names().contains(name)).collect();
    if !lost.is_empty() {
        return differ("names", lost.join(", "));
    }
    if new.key_usage != old.key_usage {
        return differ(
            "key usage",
            old.key_usage.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        );
    }
    match (&new.extended_key_usage, &old.extended_key_usage) {
        (new, old) if new == old => Ok(()),
        (_, old) => {
            differ("extended key usage", old.as_ref().map_or_else(|| "none".to_owned(), usage))
        }
    }
}

fn usage(usage: &super::ExtendedKeyUsage) -> String {
    let sides = [(usage.server_auth, "server"), (usage.client_auth, "client")];
    sides.iter().filter(|(is, _)| *is).map(|(_, side)| *side).collect::<Vec<_>>().join(" and ")
}

fn check_extensions_kept(new: &Certificate, old: &Certificate) -> Result<(), VerifyError> {
    let kept = |certificate: &Certificate| -> Vec<_> {
        certificate
            .extensions
            .iter()
            .filter(|extension| !extension.identifies_a_key())
            .cloned()
            .collect()
    };
    let (new, old) = (kept(new), kept(old));
    for extension in &old {
        match new.iter().find(|candidate| candidate.oid == extension.oid) {
            None => return Err(VerifyError::ExtensionMissing(extension.oid.to_id_string())),
            Some(_) if !new.contains(extension) => {
                return Err(VerifyError::ExtensionChanged(extension.oid.to_id_string()));
            }
            Some(_) => {}
        }
    }
    match new.iter().find(|extension| !old.contains(extension)) {
        Some(added) => Err(VerifyError::ExtensionAdded(added.oid.to_id_string())),
        None if new != old => Err(VerifyError::ExtensionsReordered),
        None => Ok(()),
    }
}

fn check_key_identifiers(
    new: &Certificate,
    old: &Certificate,
    issuer: &Certificate,
) -> Result<(), VerifyError> {
    if new.authority_key_identifier != issuer.subject_key_identifier {
        return Err(VerifyError::AuthorityKeyIdentifier);
    }
    match (&new.subject_key_identifier, &old.subject_key_identifier) {
        (None, None) => Ok(()),
        (Some(new), Some(old)) if new != old => Ok(()),
        _ => Err(VerifyError::SubjectKeyIdentifier),
    }
}

#[cfg(test)]
mod tests;
