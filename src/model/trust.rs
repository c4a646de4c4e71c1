//! The CA certificates by which the kubeconfigs of a node verify the API server.

use super::{AbsolutePath, AuthorityName, Digest, Timestamp};

/// What is found of the CA certificates of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFacts {
    /// The kubeconfig.
    pub kubeconfig: AbsolutePath,
    /// Its server's URL.
    pub server: Option<String>,
    /// Where it has its CA certificates.
    pub source: TrustSource,
    /// The CA certificates; empty where it has none. Else why they can't be read.
    pub certificates: Result<Vec<TrustedCa>, String>,
    /// The CA that they are compared with.
    pub authority: AuthorityName,
    /// The issuer of the certificate that the API server of this node shows, where that is known.
    pub served_by: Option<String>,
    /// Whether its server is an API server of this cluster, as far as this node can tell: a load
    /// balancer may have a certificate of its own.
    pub is_own_server: bool,
}

/// Where a kubeconfig has its CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// In itself.
    Embedded,
    /// In another file.
    File(AbsolutePath),
    /// It has none, and trusts what the system trusts.
    None,
}

/// A CA certificate of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCa {
    /// Its subject, for people.
    pub subject: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// SHA-256 of it.
    pub fingerprint: Digest,
    /// Whether the authority's file holds this very certificate.
    pub is_listed: bool,
    /// Whether the certificate that the API server shows verifies by it; where that is not known,
    /// whether it has the name and key of one in the authority's file.
    pub verifies: bool,
}

impl TrustedCa {
    /// Whether a time is within its validity.
    #[must_use]
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before <= time && time <= self.not_after
    }
}
