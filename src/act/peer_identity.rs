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
use crate::model::{Authority, Credential, CredentialName, Signer, Timestamp, days};
use crate::sys::Root;

/// How long a passing certificate is valid: after a long absence the clocks of the nodes differ.
const PASSING: Duration = days(1);

/// Why there is no identity for etcd's other members.
#[derive(Debug, thiserror::Error)]
pub enum PeerIdentityError {
    /// There is no certificate with the subject of this node's member.
    #[error("{0} has no certificate here that can be read")]
    NoCertificate(CredentialName),
    /// Another CA signed the certificate.
    #[error("the certificate of {0} is not one of etcd's CA")]
    Foreign(CredentialName),
    /// The key of the CA is elsewhere.
    #[error("{0} has expired, and the key of its CA {1} is not on this node")]
    ExternalAuthority(CredentialName, String),
    /// The CA can't sign.
    #[error("{0} has expired, and its CA {1} can't sign")]
    Authority(CredentialName, String),
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
    let found = load(root, credential);
    let is_whole = matches!(found, Loaded::Whole(_));
    let stored = found.stored().ok_or_else(|| PeerIdentityError::NoCertificate(name()))?;
    let old = &stored.certificate;
    if is_whole && old.is_valid_at(now) {
        return identity_of(&stored).map_err(PeerIdentityError::Unusable);
    }
    if loaded.signer_of(old) != Signer::Authority {
        return Err(PeerIdentityError::Foreign(name()));
    }
    let (issuer, issuer_key) = loaded.signer(now).ok_or_else(|| {
        let authority = authority.name.to_string();
        if loaded.is_external() {
            PeerIdentityError::ExternalAuthority(name(), authority)
        } else {
            PeerIdentityError::Authority(name(), authority)
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
