//! The names and addresses that certificates must be valid for, by the manifests of this node, the
//! kubeconfigs that are used with it, and its own name.
//!
//! A name counts only where its use is certain, so that a node as kubeadm makes it lacks nothing.
//! Unreadable files are ignored here: they are reported where they are read for their own sake.

use std::collections::BTreeMap;

use super::Catalog;
use super::servers::servers;
use crate::credentials::ObservedFiles;
use crate::model::{CredentialFacts, CredentialName};

/// Returns them for each credential where they are known.
#[must_use]
pub fn wanted_names(
    root: &ObservedFiles,
    catalog: &Catalog,
    credentials: &[&CredentialFacts],
) -> BTreeMap<CredentialName, Vec<String>> {
    let mut all = BTreeMap::new();
    for (credential, wanted) in &catalog.wanted_names {
        let mut names = wanted.names.clone();
        let own = wanted.node_of.iter().filter_map(|kubelet| node_name(credentials, kubelet));
        for name in servers(root, catalog, credential).into_iter().chain(own) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        all.insert(credential.clone(), names);
    }
    all
}

/// By the certificate of kubelet, never by the host name, which may differ.
fn node_name(credentials: &[&CredentialFacts], kubelet: &CredentialName) -> Option<String> {
    let facts = credentials.iter().find(|facts| facts.credential.name == *kubelet)?;
    facts.material.leaf()?;
    facts.kubelet.as_ref()?.node.clone().ok()
}
