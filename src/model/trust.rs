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

/// A file with CA certificates that a service reads only when it starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustFile {
    /// A PEM file.
    Pem(AbsolutePath),
    /// A kubeconfig, which has them in itself or names a file.
    Kubeconfig(AbsolutePath),
}

impl TrustFile {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &AbsolutePath {
        match self {
            Self::Pem(path) | Self::Kubeconfig(path) => path,
        }
    }
}

/// What is found of the CA certificates in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFileFacts {
    /// The file.
    pub file: AbsolutePath,
    /// The files that were read: with a kubeconfig also the one that it names.
    pub read: Vec<AbsolutePath>,
    /// The CA certificates, or why they are not known.
    pub certificates: Result<CaCertificates, String>,
}

/// Some CA certificates as one content: in which order they are, and what stands between them,
/// makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificates {
    /// SHA-256 of all of them.
    pub fingerprint: Digest,
    /// How many there are.
    pub count: usize,
    /// From when on the newest one is valid: before that this content did not exist.
    pub made: Timestamp,
    /// The last valid second of the one that expires last.
    pub not_after: Timestamp,
}
