//! Findings on the node from which the catalog is made.

use std::collections::BTreeMap;

use super::kubelet::KubeletSettings;
use crate::formats::manifest::{ManifestError, Pod};
use crate::model::{AbsolutePath, Location};

/// A file of the manifests directory: its name, and the pod that it is for.
pub type ManifestFile = (String, Result<Pod, ManifestError>);

/// Reads a configuration file that a manifest names; the error is why it can't be used.
pub type ConfigurationReader<'a> = &'a dyn Fn(&AbsolutePath) -> Result<String, String>;

/// Reads the users of a kubeconfig that have client certificates.
pub type KubeconfigReader<'a> = &'a (dyn Fn(&AbsolutePath) -> KubeconfigUsers + Sync);

/// The facts that the caller found on the node.
#[derive(Clone, Copy)]
pub struct CatalogInput<'a> {
    /// The files of the manifests directory. Empty when there is no such directory.
    pub manifests: &'a [ManifestFile],
    /// For each kubeconfig of [`Profile::kubeconfig_references`]: where its user's certificate is.
    /// Absent for one that has none, or does not exist.
    pub references: &'a BTreeMap<AbsolutePath, Reference>,
    /// kubelet's configuration, as far as it is about certificates; `None` where it is not known.
    pub kubelet: Option<&'a KubeletSettings>,
    /// Reads the configuration files that pods name.
    pub configuration: ConfigurationReader<'a>,
    /// The users of the kubeconfig at a path that have client certificates.
    pub users: KubeconfigReader<'a>,
    /// Whether a file exists at a path.
    pub exists: &'a dyn Fn(&AbsolutePath) -> bool,
    /// Whether two files hold a certificate of the same CA. Where the first one can't be read, that
    /// is not known.
    pub shares_ca: &'a dyn Fn(&AbsolutePath, &AbsolutePath) -> Option<bool>,
    /// Whether two paths lead to the same file, by links that only root can have made.
    pub same_file: &'a dyn Fn(&AbsolutePath, &AbsolutePath) -> bool,
    /// The files that match a path with `*` for whole names.
    pub matching: &'a dyn Fn(&AbsolutePath) -> Vec<AbsolutePath>,
}

impl CatalogInput<'_> {
    /// Whether two locations are the same files.
    pub(super) fn is_same(&self, one: &Location, other: &Location) -> bool {
        match (one, other) {
            (
                Location::Pair { certificate, key },
                Location::Pair { certificate: other_certificate, key: other_key },
            ) => {
                let same = |one, other| one == other || (self.same_file)(one, other);
                same(certificate, other_certificate) && same(key, other_key)
            }
            _ => one == other,
        }
    }
}

/// The users of a kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeconfigUsers {
    /// The user of current-context, if that names one.
    pub current: Option<String>,
    /// The other users that have client certificates.
    pub others: Vec<String>,
}

/// Where the client certificate of a kubeconfig's user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In files; often one file for both.
    Files {
        /// The certificate's file.
        certificate: AbsolutePath,
        /// The key's file.
        key: AbsolutePath,
    },
    /// In the kubeconfig itself.
    Embedded,
}
