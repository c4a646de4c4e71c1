//! The servers that the kubeconfigs of the node name, where a certificate of this node is served.

use super::Catalog;
use super::catalog::names::host;
use crate::credentials::{ObservedFiles, referenced};
use crate::formats::kubeconfig::{Cluster, PemSource};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{AbsolutePath, CredentialName, Location};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// Returns the servers in kubeconfigs that use a credential.
pub(super) fn servers(
    root: &ObservedFiles,
    catalog: &Catalog,
    credential: &CredentialName,
) -> Vec<String> {
    kubeconfigs(catalog, credential)
        .filter_map(|kubeconfig| server(root, catalog, kubeconfig, credential)?)
        .collect()
}

/// The same by the kubeconfigs that root alone can write.
///
/// # Errors
/// When there should be one, and none of them says it.
pub(super) fn certain_servers(
    root: &ObservedFiles,
    catalog: &Catalog,
    credential: &CredentialName,
) -> Result<Vec<String>, String> {
    let named: Vec<_> = kubeconfigs(catalog, credential).collect();
    let is_certain = |kubeconfig: &CredentialName| {
        kubeconfig_file(catalog, kubeconfig)
            .is_some_and(|file| matches!(root.is_writable_by_others(file), Ok(false)))
    };
    let certain = named.iter().filter(|kubeconfig| is_certain(kubeconfig));
    let found: Vec<_> =
        certain.filter_map(|kubeconfig| server(root, catalog, kubeconfig, credential)).collect();
    if found.is_empty() && !named.is_empty() {
        let names: Vec<_> = named.iter().map(|name| name.as_str()).collect();
        return Err(format!(
            "{} does not say by which name clients reach the server: it is missing, can't be read, \
             or others than root can write it",
            names.join(" or ")
        ));
    }
    Ok(found.into_iter().flatten().collect())
}

/// The kubeconfigs whose server uses a credential.
fn kubeconfigs<'c>(
    catalog: &'c Catalog,
    credential: &CredentialName,
) -> impl Iterator<Item = &'c CredentialName> {
    catalog.wanted_names.get(credential).into_iter().flat_map(|wanted| &wanted.servers)
}

fn kubeconfig_file<'c>(
    catalog: &'c Catalog,
    kubeconfig: &CredentialName,
) -> Option<&'c AbsolutePath> {
    let all = &catalog.credentials;
    match &all.iter().find(|one| one.name == *kubeconfig)?.location {
        Location::Kubeconfig(file) => Some(file),
        Location::Pair { .. } | Location::Bundle(_) | Location::KubeconfigUser { .. } => None,
    }
}

/// The server of a kubeconfig, or `Some(None)` where it is another one; `None` where the kubeconfig
/// can't be read. It is another one where the kubeconfig does not trust the issuer of the
/// credential: then a proxy, for example, answers there with its own certificate.
fn server(
    root: &ObservedFiles,
    catalog: &Catalog,
    kubeconfig: &CredentialName,
    credential: &CredentialName,
) -> Option<Option<String>> {
    let file = kubeconfig_file(catalog, kubeconfig)?;
    let cluster = root.kubeconfig(file)?.cluster?;
    let credential = catalog.credentials.iter().find(|one| one.name == *credential)?;
    let signer = root.read(&catalog.authority_of(credential)?.certificate, LARGEST_FILE).ok()?;
    let signers = certificates(signer.bytes.expose()).ok()?;
    if !trusts(root, file, &cluster, &signers) {
        return Some(None);
    }
    let Cluster { server, server_name, .. } = cluster;
    Some(server_name.filter(|name| !name.is_empty()).or_else(|| host(&server?)))
}

/// Whether a kubeconfig trusts one of these CAs, also by a certificate with other dates.
pub(super) fn trusts(
    root: &Root,
    file: &AbsolutePath,
    cluster: &Cluster,
    signers: &[Certificate],
) -> bool {
    let trusted = match &cluster.authority {
        PemSource::Embedded(content) => certificates(content.expose()).ok(),
        PemSource::File(name) => referenced(root, file, name)
            .ok()
            .and_then(|file| root.read(&file, LARGEST_FILE).ok())
            .and_then(|content| certificates(content.bytes.expose()).ok()),
        PemSource::Missing => None,
    };
    let is_same = |one: &Certificate| signers.iter().any(|signer| signer.is_of_same_ca(one));
    trusted.unwrap_or_default().iter().any(is_same)
}
