//! The identity with which this node asks the other members of etcd.
//!
//! etcd accepts only clients of its CA at the addresses for its peers. After a long absence this
//! node's certificates have expired, so a passing one takes their place: it is made in memory
//! alone, for a day, and never written.

use std::time::Duration;

use crate::credentials::{Loaded, LoadedAuthority, identity, identity_of, load};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::{
    Certificate, IssueError, KeyAlgorithm, KeyError, PrivateKey, ReadError, Terms, random_serial,
    reissue,
};
use crate::model::{Authority, AuthorityName, Credential, CredentialName, Signer, Timestamp, days};
use crate::sys::Root;

/// How long a passing certificate is valid: after a long absence the clocks of the nodes differ.
const PASSING: Duration = days(1);

/// Why there is no identity for etcd's other members.
#[derive(Debug, thiserror::Error)]
pub enum PeerIdentityError {
    /// There is no certificate with the subject of this node's member: why.
    #[error("{0} can't be used: {1}")]
    NoCertificate(CredentialName, String),
    /// Another CA signed the certificate.
    #[error("the certificate of {0} is not one of etcd's CA")]
    Foreign(CredentialName),
    /// The credential can't be used, and the key of the CA is elsewhere.
    #[error(
        "{name} can't be used: {reason}; and the key of its CA {authority} is not on this node"
    )]
    ExternalAuthority {
        /// The credential.
        name: CredentialName,
        /// Why it can't be used.
        reason: String,
        /// Its CA.
        authority: AuthorityName,
    },
    /// The credential can't be used, and the CA can't sign.
    #[error("{name} can't be used: {reason}; and its CA {authority} can't sign")]
    Authority {
        /// The credential.
        name: CredentialName,
        /// Why it can't be used.
        reason: String,
        /// Its CA.
        authority: AuthorityName,
    },
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The new certificate can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// TLS can't use it.
    #[error("{0}")]
    Unusable(String),
}

/// Returns the identity of a credential that is a client of etcd's peers: its own where that is
/// valid now, or else a passing one with the same subject and extensions. Writes nothing.
///
/// # Errors
/// When neither can be had.
pub fn peer_identity(
    root: &Root,
    credential: &Credential,
    authority: &Authority,
    loaded: &LoadedAuthority,
    now: Timestamp,
) -> Result<ClientIdentity, PeerIdentityError> {
    let name = || credential.name.clone();
    let (stored, trouble) = match load(root, credential) {
        Loaded::Whole(stored) if stored.certificate.is_valid_at(now) => {
            return identity_of(&stored).map_err(PeerIdentityError::Unusable);
        }
        Loaded::Whole(stored) if stored.certificate.not_after < now => {
            (stored, "it has expired".to_owned())
        }
        Loaded::Whole(stored) => (stored, "it is not valid yet".to_owned()),
        Loaded::KeyMissing(stored, reason) | Loaded::Mismatched(stored, reason) => (stored, reason),
        Loaded::Absent => {
            let reason = "it has no certificate on this node".to_owned();
            return Err(PeerIdentityError::NoCertificate(name(), reason));
        }
        Loaded::Unreadable(reason)
        | Loaded::NoCertificate(reason)
        | Loaded::Damaged(reason)
        | Loaded::CertificateMissing(reason) => {
            return Err(PeerIdentityError::NoCertificate(name(), reason));
        }
    };
    let old = &stored.certificate;
    if loaded.signer_of(old) != Signer::Authority {
        return Err(PeerIdentityError::Foreign(name()));
    }
    let (issuer, issuer_key) = loaded.signer(now).ok_or_else(|| {
        let (name, authority) = (name(), authority.name.clone());
        if loaded.is_external() {
            PeerIdentityError::ExternalAuthority { name, reason: trouble, authority }
        } else {
            PeerIdentityError::Authority { name, reason: trouble, authority }
        }
    })?;
    let (certificate, key) = passing(old, issuer, issuer_key, now)?;
    identity(&certificate, &[], &key).map_err(PeerIdentityError::Unusable)
}

/// Issues a certificate again for a new key, for a day.
fn passing(
    old: &Certificate,
    issuer: &Certificate,
    issuer_key: &PrivateKey,
    now: Timestamp,
) -> Result<(Certificate, PrivateKey), PeerIdentityError> {
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256)?;
    // By a clock that is behind, too: it begins with its CA.
    let terms = Terms {
        serial: random_serial()?,
        not_before: issuer.not_before,
        not_after: now.plus(PASSING).min(issuer.not_after),
    };
    let certificate = Certificate::from_der(&reissue(old, issuer, issuer_key, &key, &terms)?)?;
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::x509::fixtures::{ECDSA_TREE, RSA_TREE, certificate, key, now};
    use crate::formats::x509::verify_renewed;

    #[test]
    fn passing_certificate_has_the_subject_and_lasts_a_day() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            let (old, issuer) =
                (certificate(tree, "etcd/peer.crt"), certificate(tree, "etcd/ca.crt"));
            let later = now().plus(days(800));
            assert!(!old.is_valid_at(later) && issuer.is_valid_at(later));
            let issuer_key = key(tree, "etcd/ca.key");
            let (new, new_key) = passing(&old, &issuer, &issuer_key, later).unwrap();
            verify_renewed(&new, &old, &issuer, later).unwrap();
            assert!(new_key.fits(&new) && !new_key.fits(&old), "the old key is not used");
            assert_eq!(new.not_after, later.plus(days(1)));
            for ahead in [days(0), Duration::from_secs(23 * 3_600)] {
                assert!(new.is_valid_at(later.plus(ahead)), "by a clock that differs");
                assert!(new.is_valid_at(later.minus(ahead)));
            }
            let last = issuer.not_after;
            let (new, _) = passing(&old, &issuer, &issuer_key, last).unwrap();
            assert_eq!(new.not_after, last, "never beyond its CA");
        }
    }
}
