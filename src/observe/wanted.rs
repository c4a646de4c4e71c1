//! The names and addresses that certificates must be valid for, by the manifests of this node, the
//! kubeconfigs that are used with it, and its own name.
//!
//! A name counts only where its use is certain, so that a node as kubeadm makes it lacks nothing.
//! Unreadable files are ignored here: they are reported where they are read for their own sake.

use std::collections::BTreeMap;

use super::catalog::names::host;
use super::{Catalog, Node};
use crate::formats::kubeconfig::{Cluster, Kubeconfig, PemSource};
use crate::formats::x509::certificates;
use crate::model::{CredentialFacts, CredentialName, Location};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// Returns them for each credential where they are known.
#[must_use]
pub fn wanted_names(
    node: &Node,
    credentials: &[&CredentialFacts],
) -> BTreeMap<CredentialName, Vec<String>> {
    let mut all = BTreeMap::new();
    for (credential, wanted) in &node.catalog.wanted_names {
        let mut names = wanted.names.clone();
        let own = wanted.node_of.iter().filter_map(|kubelet| node_name(credentials, kubelet));
        for name in servers(&node.root, &node.catalog, credential).into_iter().chain(own) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        all.insert(credential.clone(), names);
    }
    all
}

/// Returns the servers in kubeconfigs that use a credential.
pub(super) fn servers(root: &Root, catalog: &Catalog, credential: &CredentialName) -> Vec<String> {
    let wanted = catalog.wanted_names.get(credential).into_iter();
    let kubeconfigs = wanted.flat_map(|wanted| &wanted.servers);
    kubeconfigs.filter_map(|kubeconfig| server(root, catalog, kubeconfig, credential)).collect()
}

/// Only where the kubeconfig trusts the issuer of the credential: otherwise another server, for
/// example a proxy, answers there with its own certificate.
fn server(
    root: &Root,
    catalog: &Catalog,
    kubeconfig: &CredentialName,
    credential: &CredentialName,
) -> Option<String> {
    let Location::Kubeconfig(file) =
        &catalog.credentials.iter().find(|one| one.name == *kubeconfig)?.location
    else {
        return None;
    };
    let text = root.read(file, LARGEST_FILE).ok()?;
    let Cluster { server, server_name, authority: PemSource::Embedded(trusted), .. } =
        Kubeconfig::parse(text.bytes.expose()).ok()?.cluster?
    else {
        return None;
    };
    let signer =
        catalog.authority_of(catalog.credentials.iter().find(|one| one.name == *credential)?)?;
    let signers = root.read(&signer.certificate, LARGEST_FILE).ok()?;
    let signers = certificates(signers.bytes.expose()).ok()?;
    let trusts = certificates(trusted.expose())
        .ok()?
        .iter()
        .any(|one| signers.iter().any(|signer| signer.fingerprint == one.fingerprint));
    let name = server_name.filter(|name| !name.is_empty()).or_else(|| host(&server?));
    name.filter(|_| trusts)
}

/// By the certificate of kubelet, never by the host name, which may differ.
fn node_name(credentials: &[&CredentialFacts], kubelet: &CredentialName) -> Option<String> {
    let facts = credentials.iter().find(|facts| facts.credential.name == *kubelet)?;
    facts.material.leaf()?;
    facts.kubelet.as_ref()?.node.clone().ok()
}
