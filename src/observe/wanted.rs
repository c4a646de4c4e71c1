//! For which names and addresses certificates are wanted, by all that this node says: its
//! manifests, the kubeconfigs that are used with it, and its own name.
//!
//! A name counts only where it is sure that somebody uses it, so that a node as kubeadm makes it
//! lacks nothing. What can't be read says nothing here: it is told where it is looked at for its
//! own sake.

use std::collections::BTreeMap;

use super::Node;
use super::catalog::names::host;
use crate::formats::kubeconfig::{Cluster, Kubeconfig, Source};
use crate::formats::x509::certificates;
use crate::model::{CredentialFacts, CredentialName, Location};
use crate::store::LARGEST_FILE;

/// For each credential of which something says that.
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

/// Only where the kubeconfig trusts who signs the credential: else somebody else, a proxy say,
/// answers there with a certificate of his own.
fn server(node: &Node, kubeconfig: &CredentialName, credential: &CredentialName) -> Option<String> {
    let Location::Kubeconfig(file) =
        &node.catalog.credentials.iter().find(|one| one.name == *kubeconfig)?.location
    else {
        return None;
    };
    let text = node.root.read(file, LARGEST_FILE).ok()?;
    let Cluster { server, server_name, authority: Source::Embedded(trusted), .. } =
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

/// By the certificate that kubelet has, never by the name of the host, which may be another one.
fn node_name(credentials: &[&CredentialFacts], kubelet: &CredentialName) -> Option<String> {
    let facts = credentials.iter().find(|facts| facts.credential.name == *kubelet)?;
    facts.material.leaf()?;
    facts.kubelet.as_ref()?.node.clone().ok()
}
