//! The certificate and key of a credential in a given state, as far as they are present.

use super::DemoError;
use super::node_plan::{AuthorityLife, Life};
use super::sign::{Authority, Key, Leaf};
use super::table::CredentialEntry;
use crate::formats::x509::KeyAlgorithm;
use crate::model::{Secret, Timestamp};

/// The parts of a credential on the node.
pub(super) struct Parts {
    /// The certificate as a PEM block.
    pub(super) certificate: Option<String>,
    /// The private key as a PEM block.
    pub(super) key: Option<Secret>,
    /// The beginning of the certificate's validity.
    pub(super) not_before: Timestamp,
}

impl Parts {
    pub(super) fn make(
        entry: &CredentialEntry,
        life: Life,
        authority: &Authority,
        algorithm: &KeyAlgorithm,
        now: Timestamp,
    ) -> Result<Self, DemoError> {
        let lifetime = life.lifetime(now);
        let not_before = lifetime.not_before;
        let key = Key::generate(algorithm)?;
        let leaf = Leaf { entry, lifetime };
        let certificate = match life {
            Life::SelfSigned => leaf.self_signed(&key)?,
            Life::ForeignIssuer => leaf.signed_by(&foreign(algorithm, now)?, &key.pair)?,
            _ => leaf.signed_by(authority, &key.pair)?,
        };
        let (certificate, key) = match life {
            Life::Absent => (None, None),
            Life::KeyMissing => (Some(certificate), None),
            Life::CertificateMissing => (None, Some(key.pem)),
            Life::Damaged => (Some(first_half(certificate)), Some(key.pem)),
            Life::Mismatched => (Some(certificate), Some(Key::generate(algorithm)?.pem)),
            _ => (Some(certificate), Some(key.pem)),
        };
        Ok(Self { certificate, key, not_before })
    }

    /// Whether the credential has no file at all.
    pub(super) fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.key.is_none()
    }

    /// Joins certificate and key in one file, as kubelet does.
    pub(super) fn joined(&self) -> Vec<u8> {
        let certificate = self.certificate.as_deref().unwrap_or_default().as_bytes();
        let key = self.key.as_ref().map(Secret::expose).unwrap_or_default();
        [certificate, key].concat()
    }
}

/// Creates a foreign authority. Nothing of it is on the node.
fn foreign(algorithm: &KeyAlgorithm, now: Timestamp) -> Result<Authority, DemoError> {
    Authority::make(
        "example-corporate-ca",
        Key::generate(algorithm)?,
        AuthorityLife::External.lifetime(now),
    )
}

fn first_half(mut text: String) -> String {
    text.truncate(text.len() / 2);
    text
}
