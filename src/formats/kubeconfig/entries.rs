//! The entries of a kubeconfig: users, their certificates, and clusters.

use super::error::KubeconfigError;
use crate::model::Secret;

/// The content of a kubeconfig, as far as its current user is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The name of the current context.
    pub context: String,
    /// The user that the current context names.
    pub user: User,
    /// The names of the other users that have client certificates. They are not renewed, so the
    /// operator has to be informed.
    pub others_with_certificates: Vec<String>,
    /// The cluster that the current context names; `None` where it names none or a missing one.
    pub cluster: Option<Cluster>,
}

/// A user entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the entry in this file. The certificate's subject has a name of its own.
    pub name: String,
    /// The client certificate that the user authenticates with, if any.
    pub client: ClientCertificate,
}

/// Where the two halves of a client certificate are, each by itself: a kubeconfig may embed one and
/// refer to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: PemSource,
    /// The private key.
    pub key: PemSource,
    /// The field of a missing half that is there in other letters of upper or lower case.
    pub letter_case: Option<KubeconfigError>,
    /// The field by which the user authenticates without a certificate, such as `token`.
    pub instead: Option<&'static str>,
}

/// A cluster entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in this file.
    pub name: String,
    /// The URL of the API server.
    pub server: Option<String>,
    /// The name that the API server's certificate must be valid for, where it differs from the
    /// URL's host.
    pub server_name: Option<String>,
    /// Whether its clients connect to it through a proxy.
    pub proxied: bool,
    /// The CA certificates that verify the API server's certificate.
    pub authority: PemSource,
}

/// Where a certificate or key in PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// In the kubeconfig; these are the decoded bytes. Secret for certificates too: a key may stand
    /// beside the certificate in the same value.
    Embedded(Secret),
    /// In a file: the path as written, which client-go takes relative to the directory of the
    /// kubeconfig.
    File(String),
    /// Absent.
    Missing,
}
