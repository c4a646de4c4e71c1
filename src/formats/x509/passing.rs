//! Passing certificates: made in memory, for a day, and never written.

use std::time::Duration;

use super::{
    Certificate, IssueError, KeyAlgorithm, KeyError, PrivateKey, ReadError, Terms, random_serial,
    reissue,
};
use crate::model::{Timestamp, days};

/// How long a passing certificate is valid: after a long absence the clocks of the nodes differ.
const PASSING: Duration = days(1);

/// Why there is no passing certificate.
#[derive(Debug, thiserror::Error)]
pub enum PassingError {
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The new certificate can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Issues a certificate again for a new key, for a day, and returns both.
///
/// # Errors
/// When the issuer can't sign it.
pub fn passing_certificate(
    old: &Certificate,
    issuer: &Certificate,
    issuer_key: &PrivateKey,
    now: Timestamp,
) -> Result<(Certificate, PrivateKey), PassingError> {
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
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, certificate, key, now};
    use super::super::verify_renewed;
    use super::*;

    #[test]
    fn passing_certificate_has_the_subject_and_lasts_a_day() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            let (old, issuer) =
                (certificate(tree, "etcd/peer.crt"), certificate(tree, "etcd/ca.crt"));
            let later = now().plus(days(800));
            assert!(!old.is_valid_at(later) && issuer.is_valid_at(later));
            let issuer_key = key(tree, "etcd/ca.key");
            let (new, new_key) = passing_certificate(&old, &issuer, &issuer_key, later).unwrap();
            verify_renewed(&new, &old, &issuer, later).unwrap();
            assert!(new_key.fits(&new) && !new_key.fits(&old), "the old key is not used");
            assert_eq!(new.not_after, later.plus(days(1)));
            for ahead in [days(0), Duration::from_secs(23 * 3_600)] {
                assert!(new.is_valid_at(later.plus(ahead)), "by a clock that differs");
                assert!(new.is_valid_at(later.minus(ahead)));
            }
            let last = issuer.not_after;
            let (new, _) = passing_certificate(&old, &issuer, &issuer_key, last).unwrap();
            assert_eq!(new.not_after, last, "never beyond its CA");
        }
    }
}
