//! The identity with which this node asks the other members of etcd.
//!
//! etcd accepts only clients of its CA at the addresses for its peers. After a long absence this
//! node's certificates have expired, so a passing one takes their place: it is made in memory
//! alone, for a day, and never written.

use crate::credentials::{Loaded, LoadedAuthority, identity, identity_of, load};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::{PassingError, passing_certificate};
use crate::model::{Authority, AuthorityName, Credential, CredentialName, Signer, Timestamp};
use crate::sys::Root;

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
    /// No passing certificate could be made.
    #[error(transparent)]
    Passing(#[from] PassingError),
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
    let (certificate, key) = passing_certificate(old, issuer, issuer_key, now)?;
    identity(&certificate, &[], &key).map_err(PeerIdentityError::Unusable)
}
