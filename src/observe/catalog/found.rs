//! Findings on the node from which the catalog is made.

use std::collections::BTreeMap;

use crate::model::AbsolutePath;

/// What the caller found on the node.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The files of the manifests folder: name and text. None, when there is no such folder.
    pub manifests: &'a [(String, String)],
    /// For each kubeconfig of
    /// [`Profile::kubeconfig_references`](crate::settings::Profile::kubeconfig_references): where
    /// its user's certificate is. None for one that has none, or is not there.
    pub references: &'a BTreeMap<AbsolutePath, Reference>,
    /// Whether there is a file at a path.
    pub exists: &'a dyn Fn(&AbsolutePath) -> bool,
    /// The files that a path with `*` for whole names means.
    pub matching: &'a dyn Fn(&AbsolutePath) -> Vec<AbsolutePath>,
}

/// Where a kubeconfig has the client certificate of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In files; often one file for both.
    Files {
        /// The certificate's.
        certificate: AbsolutePath,
        /// The key's.
        key: AbsolutePath,
    },
    /// In itself.
    Embedded,
}
