//! The identity of a client that asks servers whether they accept the clients of a root CA.

use std::time::Duration;

use super::{
    Certificate, IssueError, KeyAlgorithm, KeyError, PrivateKey, ReadError, Terms, VerifyError,
    random_serial, reissue, template, verify_renewed,
};
use crate::model::{Subject, Timestamp, Usage};

/// The user that it is for. It has no group, and so no rights but those of every user.
pub const PROBE_USER: &str = "kubecertd-probe";

/// How long it is valid before and after it is made: servers whose clock differs by less accept it.
const VALIDITY: Duration = Duration::from_secs(300);

/// A client certificate that is valid for some minutes, and its key.
#[derive(Debug)]
pub struct ProbeIdentity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
}

/// Why no identity was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeIdentityError {
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The root can't sign, or is not valid now.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The result can't be read, which should not happen.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The certificate was made, and does not verify.
    #[error("the certificate for the probe was not accepted: {0}")]
    Refused(#[from] VerifyError),
}

/// Makes a client certificate of the user `kubecertd-probe` that this root signs, for a new ECDSA
/// key. It is valid from five minutes ago for ten minutes, as far as the root is.
///
/// # Errors
/// When the key is not the root's, or the root must not sign or is not valid now.
pub fn probe_identity(
    root: &Certificate,
    root_key: &PrivateKey,
    now: Timestamp,
) -> Result<ProbeIdentity, ProbeIdentityError> {
    let subject = Subject { common_name: PROBE_USER.to_owned(), organization: None };
    let template = template(&subject, &[Usage::Client], &[])?;
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256)?;
    let terms = Terms {
        serial: random_serial()?,
        not_before: now.minus(VALIDITY).max(root.not_before),
        not_after: now.plus(VALIDITY).min(root.not_after),
    };
    let der = reissue(&template, root, root_key, &key, &terms)?;
    let certificate = Certificate::from_der(&der)?;
    verify_renewed(&certificate, &template, root, now)?;
    Ok(ProbeIdentity { certificate, key })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, certificate, issuers, key, now};
    use super::*;
    use crate::model::days;

    #[test]
    fn probe_identity_is_a_client_without_group_for_minutes() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            for root in issuers(tree) {
                let ProbeIdentity { certificate, key } =
                    probe_identity(&root.certificate, &root.key, now()).unwrap();
                assert_eq!(certificate.subject.parts(), [("CN", PROBE_USER.to_owned())]);
                let usage = certificate.extended_key_usage.clone().unwrap();
                assert!(usage.client_auth && !usage.server_auth);
                assert!(!certificate.is_ca() && certificate.names().is_empty());
                assert!(certificate.verifies_by(&root.certificate) && key.fits(&certificate));
                assert_eq!(certificate.key_algorithm, KeyAlgorithm::EcdsaP256);
                assert_eq!(certificate.not_before, now().minus(VALIDITY));
                assert_eq!(certificate.not_after, now().plus(VALIDITY));
            }
        }
    }

    #[test]
    fn probe_identity_is_valid_no_longer_than_its_root() {
        let (root, key) = (certificate(ECDSA_TREE, "ca.crt"), key(ECDSA_TREE, "ca.key"));
        let made = |now| probe_identity(&root, &key, now).map(|made| made.certificate);
        assert_eq!(made(root.not_before).unwrap().not_before, root.not_before);
        assert_eq!(made(root.not_after).unwrap().not_after, root.not_after);
        let expired = made(root.not_after.plus(days(1))).unwrap_err();
        assert!(matches!(expired, ProbeIdentityError::Issue(IssueError::Lifetime(..))));
    }

    #[test]
    fn probe_identity_by_another_key_or_a_leaf_is_refused() {
        let (root, own) = (certificate(ECDSA_TREE, "ca.crt"), key(ECDSA_TREE, "ca.key"));
        let other = key(ECDSA_TREE, "front-proxy-ca.key");
        let refused =
            |root: &Certificate, key: &PrivateKey| probe_identity(root, key, now()).unwrap_err();
        assert_eq!(refused(&root, &other), ProbeIdentityError::Issue(IssueError::KeyDoesNotFit));
        let leaf = certificate(ECDSA_TREE, "apiserver.crt");
        assert_eq!(refused(&leaf, &own), ProbeIdentityError::Issue(IssueError::NotAnAuthority));
    }
}
