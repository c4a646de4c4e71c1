//! Lost credentials: what each is made from, by the last certificate that it is known to have had,
//! or by the profile, the manifests and the other credentials of the node.
//!
//! Only where root alone can write its files, and no backup has it. The name of the host is never
//! used.

use std::collections::BTreeMap;

use super::Catalog;
use super::catalog::CatalogTemplate;
use super::catalog::templates::NODE;
use super::evidence::node_name;
use super::servers::{certain_servers, trusts};
use crate::credentials::{LoadedAuthority, LoadedKey, ObservedFiles};
use crate::model::{
    AuthorityName, CredentialFacts, CredentialName, KeyChoice, Location, Material, San, Signer,
    Subject, Template, TemplateContent,
};
use crate::state::KnownCertificates;

/// Why no kubeconfig can be made.
pub(super) const NO_API_SERVER: &str =
    "the address of the API server is not known: no manifest here has --advertise-address";

/// What is known of the node besides the credentials.
pub(super) struct LostContext<'l> {
    pub(super) root: &'l ObservedFiles,
    pub(super) catalog: &'l Catalog,
    pub(super) authorities: &'l BTreeMap<AuthorityName, LoadedAuthority>,
    pub(super) known: &'l KnownCertificates,
}

impl LostContext<'_> {
    /// Adds the templates to the credentials that are lost.
    pub(super) fn add_templates(&self, credentials: &mut [CredentialFacts]) {
        let template = |facts: &CredentialFacts| {
            let described = self.catalog.templates.get(&facts.credential.name)?;
            is_lost(facts).then(|| self.template(facts, described, credentials))
        };
        let templates: Vec<_> = credentials.iter().map(template).collect();
        for (facts, template) in credentials.iter_mut().zip(templates) {
            facts.template = template;
        }
    }

    fn template(
        &self,
        facts: &CredentialFacts,
        described: &CatalogTemplate,
        all: &[CredentialFacts],
    ) -> Result<Template, String> {
        if let Some(writers) = &facts.other_writers {
            return Err(format!("{}, so others than root could use it", writers.through));
        }
        let content = match self.remembered(facts) {
            Some(content) => content,
            None => self.described(&facts.credential.name, described, all)?,
        };
        let server = match &facts.credential.location {
            Location::Kubeconfig(_) => Some(self.server(facts, described, all)?),
            Location::Pair { .. } | Location::Bundle(_) | Location::KubeconfigUser { .. } => None,
        };
        Ok(Template { content, key: self.key(facts, all), server })
    }

    /// The last certificate that was seen in place, where its authority signed it.
    fn remembered(&self, facts: &CredentialFacts) -> Option<TemplateContent> {
        let authority = self.authorities.get(facts.credential.authority.as_ref()?)?;
        let certificate = self.known.certificate(&facts.credential.name)?;
        (authority.signer_of(&certificate) == Signer::Authority)
            .then(|| TemplateContent::Remembered(certificate.der().to_vec()))
    }

    fn described(
        &self,
        name: &CredentialName,
        described: &CatalogTemplate,
        all: &[CredentialFacts],
    ) -> Result<TemplateContent, String> {
        let node = self.node(all);
        let CatalogTemplate { subject, usages, .. } = described;
        let common_name = match (subject.common_name.contains(NODE), &node) {
            (false, _) => subject.common_name.clone(),
            (true, Some(node)) => subject.common_name.replace(NODE, node),
            (true, None) => return Err("the name of this node is not known".to_owned()),
        };
        let subject = Subject { common_name, organization: subject.organization.clone() };
        let mut names = described.names.clone()?;
        names.extend(certain_servers(self.root, self.catalog, name)?);
        let names = names.iter().filter_map(|name| match name.as_str() {
            NODE => node.as_deref(),
            name => Some(name),
        });
        let parsed = |name: &str| name.parse::<San>().map_err(|e| e.to_string());
        let names = in_order(names.map(parsed).collect::<Result<_, _>>()?);
        Ok(TemplateContent::Described { subject, usages: usages.clone(), names })
    }

    /// The name of this node: kubelet's, or else that in another certificate of it, or in the
    /// manifest of etcd.
    fn node(&self, all: &[CredentialFacts]) -> Option<String> {
        let is_of_node = |facts: &&CredentialFacts| {
            let subjects = self.catalog.subjects.get(&facts.credential.name);
            subjects.is_some_and(|all| all.iter().any(|subject| subject.contains(NODE)))
        };
        let of_siblings = || {
            let siblings = all.iter().filter(is_of_node).filter_map(own_leaf);
            siblings.flat_map(|leaf| &leaf.parts.subject).find_map(|(kind, value)| {
                (*kind == "CN").then(|| value.clone()).filter(|name| is_node(name))
            })
        };
        let of_etcd = || self.catalog.etcd_name.clone().filter(|name| is_node(name));
        node_name(all.iter()).or_else(of_siblings).or_else(of_etcd)
    }

    /// The server of another kubeconfig of the same kind that trusts the same CA, or else the API
    /// server of this node, as kubeadm writes it.
    fn server(
        &self,
        facts: &CredentialFacts,
        described: &CatalogTemplate,
        all: &[CredentialFacts],
    ) -> Result<String, String> {
        let authority = facts.credential.authority.as_ref();
        let authority = authority.and_then(|name| self.authorities.get(name));
        let signers: Vec<_> = authority.iter().flat_map(|one| one.anchors()).cloned().collect();
        let sibling = |name: &CredentialName| {
            let facts = all.iter().find(|facts| facts.credential.name == *name)?;
            own_leaf(facts)?;
            let Location::Kubeconfig(file) = &facts.credential.location else { return None };
            let cluster = self.root.kubeconfig(file)?.cluster?;
            if !trusts(self.root, file, &cluster, &signers) {
                return None;
            }
            let plain = cluster.server_name.is_none_or(|name| name.is_empty());
            cluster.server.filter(|url| plain && is_url(url))
        };
        let mut siblings = described.servers.iter().filter_map(sibling);
        let own = || self.catalog.api_server_url.clone();
        siblings.next().or_else(own).ok_or_else(|| NO_API_SERVER.to_owned())
    }

    /// The kind of key of another credential of the same authority, or else of the authority
    /// itself; kubeadm's default where leaves have no such keys.
    fn key(&self, facts: &CredentialFacts, all: &[CredentialFacts]) -> KeyChoice {
        let of_same =
            |one: &&CredentialFacts| one.credential.authority == facts.credential.authority;
        let mut siblings = all.iter().filter(of_same).filter_map(own_leaf);
        let of_sibling = siblings.find_map(|leaf| leaf.key_algorithm.parse().ok());
        let of_authority = || {
            let authority = self.authorities.get(facts.credential.authority.as_ref()?)?;
            let LoadedAuthority::Present { key: LoadedKey::Usable(key), .. } = authority else {
                return None;
            };
            key.algorithm().to_string().parse().ok()
        };
        of_sibling.or_else(of_authority).unwrap_or(KeyChoice::Rsa2048)
    }
}

/// Whether its files are gone or hold no certificate, and no backup has it.
fn is_lost(facts: &CredentialFacts) -> bool {
    let is_gone = matches!(
        facts.material,
        Material::Absent | Material::Damaged(_) | Material::CertificateMissing(_)
    );
    is_gone && facts.backup.is_none()
}

/// The certificate of a credential that is whole, signed by its authority, and root's alone.
fn own_leaf(facts: &CredentialFacts) -> Option<&crate::model::Leaf> {
    match &facts.material {
        Material::Whole(leaf)
            if leaf.signer == Signer::Authority && facts.other_writers.is_none() =>
        {
            Some(leaf)
        }
        _ => None,
    }
}

/// Kubernetes has the names of nodes from DNS.
fn is_node(name: &str) -> bool {
    name.parse().is_ok_and(|name| matches!(name, San::Dns(name) if !name.starts_with('*')))
}

/// An URL that needs no quotes in YAML.
fn is_url(url: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
    url.starts_with("https://") && url.chars().all(plain)
}

/// DNS names by their letters and then the addresses, each once, as kubeadm has them.
fn in_order(names: Vec<San>) -> Vec<San> {
    let (mut dns, found): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| matches!(name, San::Dns(_)));
    dns.sort();
    dns.dedup();
    let mut addresses: Vec<San> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    [dns, addresses].concat()
}
