//! The names and addresses that certificates must be valid for, by the manifests of this node, the
//! kubeconfigs that are used with it, and its own name.
//!
//! A name counts only where its use is certain, so that a node as kubeadm makes it lacks nothing.
//! Unreadable files are ignored here: they are reported where they are read for their own sake.

use std::collections::BTreeMap;

use super::Node;
use super::catalog::names::host;
use crate::formats::kubeconfig::{Cluster, Kubeconfig, PemSource};
use crate::formats::x509::certificates;
use crate::model::{CredentialFacts, CredentialName, Location};
use crate::store::LARGEST_FILE;

/// Returns them for each credential where they are known.
#[must_use]
pub fn wanted_names(
    node: &Node,
    credentials: &[&CredentialFacts],
) -> BTreeMap<CredentialName, Vec<String>> {
    let mut all = BTreeMap::new();
    for (credential, wanted) in &node.catalog.wanted_names {
        let mut names = wanted.names.clone();
        let servers =
            wanted.servers.iter().filter_map(|kubeconfig| server(node, kubeconfig, credential));
        let own = wanted.node_of.iter().filter_map(|kubelet| node_name(credentials, kubelet));
        for name in servers.chain(own) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        all.insert(credential.clone(), names);
    }
    all
}

/// Only where the kubeconfig trusts the issuer of the credential: otherwise another server, for
/// example a proxy, answers there with its own certificate.
fn server(node: &Node, kubeconfig: &CredentialName, credential: &CredentialName) -> Option<String> {
    let Location::Kubeconfig(file) =
        &node.catalog.credentials.iter().find(|one| one.name == *kubeconfig)?.location
    else {
        return None;
    };
    let text = node.root.read(file, LARGEST_FILE).ok()?;
    let Cluster { server, server_name, authority: PemSource::Embedded(trusted), .. } =
        Kubeconfig::parse(text.bytes.expose()).ok()?.cluster?
    else {
        return None;
    };
    let signer = node
        .catalog
        .authority_of(node.catalog.credentials.iter().find(|one| one.name == *credential)?)?;
    let signers = node.root.read(&signer.certificate, LARGEST_FILE).ok()?;
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
