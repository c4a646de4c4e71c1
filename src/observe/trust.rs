//! The CA certificates by which the kubeconfigs of the node verify the API server, compared with
//! the certificate that it shows.

use super::Catalog;
use crate::credentials::{Cluster, Form, ObservedFiles, cluster};
use crate::formats::x509::{Certificate, anchors_of, certificates};
use crate::model::{AbsolutePath, Authority, Credential, Timestamp, TrustFacts, TrustedCa};
use crate::sys::{Root, on_all_cores};

/// The names by which a program on the node can ask for its API server.
const LOCAL_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Reads the CA certificates of all kubeconfigs of the catalog that name a cluster, and compares
/// them with the root CA of the cluster, whose file holds the certificates `listed`. A kubeconfig
/// at which the parser fails is left out: its credential says so.
#[must_use]
pub fn kubeconfig_trust(
    root: &ObservedFiles,
    catalog: &Catalog,
    listed: &[Certificate],
    now: Timestamp,
) -> Vec<TrustFacts> {
    let Some(authority) = catalog.root_authority() else { return Vec::new() };
    let server = ApiServer::of(root, catalog, authority);
    let compared = Compared { authority, listed, server, now };
    let files = catalog.kubeconfig_files();
    let facts = on_all_cores(&files, |(_, file)| Some(compared.facts(file, cluster(root, file)?)));
    facts.into_iter().flatten().flatten().collect()
}

/// What the CA certificates of a kubeconfig are compared with.
struct Compared<'c> {
    authority: &'c Authority,
    /// The CA certificates in the authority's file.
    listed: &'c [Certificate],
    server: Option<ApiServer>,
    now: Timestamp,
}

impl Compared<'_> {
    fn facts(&self, kubeconfig: &AbsolutePath, found: Cluster) -> TrustFacts {
        let is_own_server = self.is_own(&found);
        TrustFacts {
            kubeconfig: kubeconfig.clone(),
            server: found.server,
            source: found.source,
            certificates: found.certificates.map(|found| self.trusted(&found)),
            authority: self.authority.name.clone(),
            served_by: self.server.as_ref().map(|server| server.leaf.issuer.to_string()),
            is_own_server,
        }
    }

    fn trusted(&self, found: &[Certificate]) -> Vec<TrustedCa> {
        let verifying = self.server.as_ref().map(|server| server.anchors(found, self.now));
        let trusted = |one: &Certificate| TrustedCa {
            subject: one.subject.to_string(),
            serial: one.serial.to_string(),
            not_before: one.not_before,
            not_after: one.not_after,
            fingerprint: one.fingerprint,
            is_listed: self.listed.iter().any(|listed| listed.fingerprint == one.fingerprint),
            verifies: match &verifying {
                Some(verifying) => {
                    verifying.iter().any(|other| other.fingerprint == one.fingerprint)
                }
                None => self
                    .listed
                    .iter()
                    .any(|listed| listed.subject == one.subject && has_key_of(listed, one)),
            },
        };
        found.iter().map(trusted).collect()
    }

    /// Whether a server is an API server of this cluster: the one of this node by its address, one
    /// for which the kubeconfig trusts a CA of the authority's file, or one whose name the API
    /// server's certificate has, where the CA has the name of its issuer.
    fn is_own(&self, found: &Cluster) -> bool {
        let trusted = found.certificates.as_deref().unwrap_or_default();
        let lists_key = |one: &Certificate| self.listed.iter().any(|own| has_key_of(own, one));
        let at = found.server.as_deref().and_then(host_and_port);
        let by_server = |server: &ApiServer| {
            let Some((host, port)) = at else { return false };
            let has_name = server.leaf.names().iter().any(|name| name == bare(host));
            let named = |one: &Certificate| one.subject == server.leaf.issuer;
            server.listens_at(host, port) || (has_name && trusted.iter().any(named))
        };
        trusted.iter().any(lists_key) || self.server.as_ref().is_some_and(by_server)
    }
}

fn has_key_of(one: &Certificate, other: &Certificate) -> bool {
    one.public_key_der() == other.public_key_der()
}

/// The API server of this node, and the certificate that it shows.
struct ApiServer {
    leaf: Certificate,
    /// The certificates that it shows with it.
    intermediates: Vec<Certificate>,
    /// Where it listens.
    hosts: Vec<String>,
    port: String,
}

impl ApiServer {
    /// The first credential of the root CA that a service serves with.
    fn of(root: &Root, catalog: &Catalog, authority: &Authority) -> Option<Self> {
        let uses = || catalog.services.iter().flat_map(|service| &service.uses);
        let served_at = |credential: &Credential| {
            let own = uses().filter(|one| one.credential == credential.name);
            own.filter_map(|one| one.served_at.clone()).next()
        };
        let signed = |one: &&Credential| one.authority.as_ref() == Some(&authority.name);
        let mut served = catalog.credentials.iter().filter(signed);
        let (credential, at) = served.find_map(|one| Some((one, served_at(one)?)))?;
        // Its key is checked where the credential itself is judged.
        let form = Form::read(root, &credential.location).ok()?;
        let file = form.sources().next()?.content.as_ref()?;
        let mut shown = certificates(file.expose()).ok()?;
        let leaf = (!shown.is_empty()).then(|| shown.remove(0))?;
        let (host, port) = at.rsplit_once(':')?;
        let local = LOCAL_HOSTS.map(str::to_owned).into_iter();
        let hosts = local.chain([host.to_owned()]).chain(catalog.api_server_address.clone());
        Some(Self { leaf, intermediates: shown, hosts: hosts.collect(), port: port.to_owned() })
    }

    fn anchors<'a>(&self, trusted: &'a [Certificate], now: Timestamp) -> Vec<&'a Certificate> {
        anchors_of(&self.leaf, &self.intermediates, trusted, now)
    }

    fn listens_at(&self, host: &str, port: &str) -> bool {
        port == self.port && self.hosts.iter().any(|own| bare(own) == bare(host))
    }
}

/// The host and the port of a server's URL.
fn host_and_port(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host, port)),
        _ => Some((authority, "443")),
    }
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_of_urls() {
        for (url, expected) in [
            ("https://192.0.2.10:6443", Some(("192.0.2.10", "6443"))),
            ("https://api.example.com", Some(("api.example.com", "443"))),
            ("https://[2001:db8::1]:6443/k8s", Some(("[2001:db8::1]", "6443"))),
            ("https://[2001:db8::1]", Some(("[2001:db8::1]", "443"))),
            ("http://127.0.0.1:8080", None),
        ] {
            assert_eq!(host_and_port(url), expected, "{url}");
        }
        assert_eq!(bare("[::1]"), "::1");
    }
}
