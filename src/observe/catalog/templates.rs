//! Lost credentials: what the profile and the manifests say of those that may be made anew.

use std::collections::BTreeMap;

use super::manifests::{Manifest, Manifests};
use super::names;
use crate::formats::manifest::Pod;
use crate::model::{Credential, CredentialName, Need, Subject, Usage};
use crate::settings::{NameFlags, Profile, ProfileCredential, ProfileTemplate, Settings};

/// What a credential may be made from where it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTemplate {
    /// Its subject. `{node}` stands for the node's name.
    pub subject: Subject,
    /// The sides of TLS that it is for.
    pub usages: Vec<Usage>,
    /// Its names and addresses, `{node}` among them; or why they are not known.
    pub names: Result<Vec<String>, String>,
    /// The kubeconfigs that name the same server, where it is a kubeconfig.
    pub servers: Vec<CredentialName>,
}

/// The place of the node's name.
pub(in crate::observe) const NODE: &str = "{node}";

/// Returns them for the credentials of the profile whose files a manifest names, or which are asked
/// for.
pub(super) fn templates(
    settings: &Settings,
    profile: &Profile,
    manifests: &Manifests,
    credentials: &[Credential],
) -> BTreeMap<CredentialName, CatalogTemplate> {
    let need = |name: &CredentialName| {
        credentials.iter().find(|one| one.name == *name).map(|one| &one.need)
    };
    let is_named = |name: &CredentialName| matches!(need(name), Some(Need::Manifest(_)));
    let is_wanted = |usual: &ProfileCredential, template: &ProfileTemplate| {
        if template.on_request {
            // An entry of the operator's own takes the place of the profile's.
            *settings.renewal.make_admin_conf && need(&usual.name) == Some(&Need::Optional)
        } else {
            is_named(&usual.name)
                || (need(&usual.name) == Some(&Need::Optional)
                    && usual.beside.as_ref().is_some_and(is_named))
        }
    };
    let own = |name: &CredentialName| settings.credentials.iter().any(|own| own.name == *name);
    let version = manifests.kubernetes_version();
    let of = |usual: &ProfileCredential| {
        let template = usual.template.as_ref()?;
        let subject = template.subject(version)?.clone();
        let found = is_wanted(usual, template) && !own(&usual.name);
        found.then(|| {
            let (usages, servers) = (template.usages.clone(), template.servers.clone());
            let names = names(usual, template, manifests);
            (usual.name.clone(), CatalogTemplate { subject, usages, names, servers })
        })
    };
    profile.credentials.iter().filter_map(of).collect()
}

/// The names by the flags and those of the template, in kubeadm's order.
fn names(
    usual: &ProfileCredential,
    template: &ProfileTemplate,
    manifests: &Manifests,
) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    if let (Some(flags), Some(named)) = (&usual.flags, &usual.names)
        && let Manifest::Read { file, pod } = manifests.of(&flags.pod)
    {
        all.extend(by_flags(file, pod, named)?);
        all.extend(in_domain(pod, named, template));
    }
    // kubeadm has the addresses of the node before those of every node.
    all.retain(|name| !template.names.contains(name));
    all.extend(template.names.clone());
    Ok(all)
}

/// The addresses and hosts of the flags. Each kind of them has to be there: without it the
/// certificate would lack a name that kubeadm gives it.
fn by_flags(file: &str, pod: &Pod, named: &NameFlags) -> Result<Vec<String>, String> {
    let kinds = [
        (&named.first_of, NameFlags { first_of: named.first_of.clone(), ..NameFlags::default() }),
        (&named.addresses, NameFlags { addresses: named.addresses.clone(), ..Default::default() }),
        (&named.urls, NameFlags { urls: named.urls.clone(), ..NameFlags::default() }),
    ];
    let mut all = Vec::new();
    for (flags, kind) in kinds.into_iter().filter(|(flags, _)| !flags.is_empty()) {
        let found = names::found(pod, &kind);
        if found.is_empty() {
            return Err(format!("{file} does not say --{}", flags.join(" or --")));
        }
        all.extend(found);
    }
    Ok(all)
}

/// The names that every client in the cluster may use, with the cluster's domain behind them.
fn in_domain(pod: &Pod, named: &NameFlags, template: &ProfileTemplate) -> Vec<String> {
    let (always, in_domain_of) = (named.always.clone(), named.in_domain_of.clone());
    let mut found = names::found(pod, &NameFlags { always, in_domain_of, ..NameFlags::default() });
    if let (Some(domain), true) = (&template.domain, found.len() == named.always.len()) {
        found.extend(named.always.iter().map(|name| format!("{name}.{domain}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::observe::catalog::parse_manifests;

    use super::*;

    const API: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: kube-apiserver}\nspec:\n  \
        containers:\n  - name: kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v1.36.2\n\
        \x20   command: [kube-apiserver, --advertise-address=10.0.0.5, \
        --service-cluster-ip-range=10.96.0.0/12]\n";

    fn apiserver(manifest: &str) -> Result<Vec<String>, String> {
        let manifest = ("kube-apiserver.yaml".to_owned(), manifest.to_owned());
        let manifests = Manifests::read(
            &parse_manifests(vec![manifest]),
            &["kube-apiserver"],
            &|_| Err(String::new()),
            &mut Vec::new(),
        );
        let profile = Profile::kubeadm().unwrap();
        let usual = profile.credentials.iter().find(|one| one.name.as_str() == "apiserver");
        names(usual.unwrap(), usual.unwrap().template.as_ref().unwrap(), &manifests)
    }

    #[test]
    fn names_are_those_of_the_manifest_and_of_every_cluster() {
        let always =
            ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local", NODE, "kubernetes"];
        let expected = [["10.96.0.1", "10.0.0.5"].as_slice(), &always, &["kubernetes.default"]];
        assert_eq!(apiserver(API).unwrap(), expected.concat());
        let other = API.replace(
            "10.96.0.0/12]",
            "10.96.0.0/12, --service-account-issuer=https://kubernetes.default.svc.example.org]",
        );
        let names = apiserver(&other).unwrap();
        assert!(names.contains(&"kubernetes.default.svc.example.org".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with("cluster.local")), "{names:?}");
    }

    #[test]
    fn name_that_the_manifest_lacks_is_not_guessed() {
        let error = apiserver(&API.replace("--advertise-address=10.0.0.5, ", "")).unwrap_err();
        assert_eq!(error, "kube-apiserver.yaml does not say --advertise-address");
        let error = apiserver(&API.replace("10.0.0.5", "$(POD_IP)")).unwrap_err();
        assert_eq!(error, "kube-apiserver.yaml does not say --advertise-address");
    }
}
