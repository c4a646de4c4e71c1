//! The entries of a kubeconfig: users, their certificates, and clusters.

use super::error::SpliceError;
use crate::model::Secret;

/// What a kubeconfig says of its current user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The name of the current context.
    pub context: String,
    /// The user that the current context names.
    pub user: User,
    /// The names of the other users that have client certificates: nobody renews those, so someone
    /// should be told.
    pub others_with_certificates: Vec<String>,
    /// The cluster that the current context names; absent where it names none or one that is not
    /// there.
    pub cluster: Option<Cluster>,
    /// Why a renewed certificate could not be written in, which is known long before there is one.
    pub obstacle: Option<SpliceError>,
}

/// A user entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name in this file; the certificate has a name of its own.
    pub name: String,
    /// The client certificate it authenticates with, if it does.
    pub client: ClientCertificate,
}

/// Where the two halves of a client certificate are, each by itself: a kubeconfig may embed one and
/// refer to the other. Both are missing where the user authenticates with a token, a password or a
/// program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: Source,
    /// The private key.
    pub key: Source,
}

/// A cluster entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in this file.
    pub name: String,
    /// The URL of the API server.
    pub server: Option<String>,
    /// The name that the API server's certificate has to be for, where that is another than the
    /// URL's.
    pub server_name: Option<String>,
    /// What the API server's certificate is verified with.
    pub authority: Source,
}

/// Where something in PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the kubeconfig; these are the decoded bytes. Secret for certificates too: what stands in
    /// the place of a certificate may well have a key beside it.
    Embedded(Secret),
    /// In a file: the path as written, which client-go takes relative to the folder of the
    /// kubeconfig.
    File(String),
    /// Nowhere.
    Missing,
}
