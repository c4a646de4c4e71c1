//! The names and addresses that certificates must be valid for, by the flags in the manifests.
//! Values that can't be parsed are ignored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::manifests::{Manifest, Manifests};
use crate::formats::manifest::Pod;
use crate::model::CredentialName;
use crate::settings::{NameFlags, Profile};

/// The names and addresses that a certificate must be valid for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the manifests.
    pub names: Vec<String>,
    /// The kubeconfigs whose server uses the certificate.
    pub servers: Vec<CredentialName>,
    /// The credential that identifies this node.
    pub node_of: Option<CredentialName>,
}

impl Wanted {
    /// Merges those of two credentials that were joined.
    pub(super) fn join(&mut self, other: Self) {
        self.names.extend(other.names);
        self.servers.extend(other.servers);
        self.node_of = self.node_of.take().or(other.node_of);
    }
}

/// Returns them for each credential of the profile whose pod has a manifest here.
pub(super) fn wanted(profile: &Profile, manifests: &Manifests) -> BTreeMap<CredentialName, Wanted> {
    let wanted = profile.credentials.iter().filter_map(|usual| {
        let (flags, names) = (usual.flags.as_ref()?, usual.names.as_ref()?);
        let Manifest::Read { pod, .. } = manifests.of(&flags.pod) else { return None };
        let (servers, node_of) = (names.servers.clone(), names.node_of.clone());
        Some((usual.name.clone(), Wanted { names: found(pod, names), servers, node_of }))
    });
    wanted.collect()
}

pub(super) fn found(pod: &Pod, names: &NameFlags) -> Vec<String> {
    let values = |flags: &[String]| {
        flags.iter().filter_map(|flag| pod.flag(flag)).map(str::to_owned).collect::<Vec<_>>()
    };
    let addresses =
        values(&names.addresses).into_iter().filter(|text| text.parse::<IpAddr>().is_ok());
    let urls = values(&names.urls)
        .into_iter()
        .flat_map(|urls| urls.split(',').filter_map(host).collect::<Vec<_>>());
    let first_of = values(&names.first_of)
        .into_iter()
        .filter_map(|networks| first_address(networks.split(',').next()?.trim()));
    let below = |host: &String| {
        names
            .always
            .iter()
            .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    };
    let in_domain_of =
        values(&names.in_domain_of).into_iter().filter_map(|url| host(&url)).filter(below);
    let mut all: Vec<String> = Vec::new();
    for name in
        addresses.chain(urls).chain(first_of).chain(names.always.clone()).chain(in_domain_of)
    {
        let stands_for_all = name.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
        if !stands_for_all && !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The host of an `https` URL; without TLS no certificate is wanted.
pub(in crate::observe) fn host(url: &str) -> Option<String> {
    let rest = url.trim().strip_prefix("https://")?;
    let place = rest.split('/').next()?;
    let host = match place.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => place.rsplit_once(':').map_or(place, |(host, _)| host),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain)).then(|| host.to_owned())
}

/// The address that the API server gives its own service: the first after the network's own.
fn first_address(network: &str) -> Option<String> {
    let (address, bits) = network.split_once('/')?;
    let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).checked_add(1)?.into()).to_string()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).checked_add(1)?.into()).to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_host_is_parsed_without_its_port() {
        for (url, expected) in [
            ("https://127.0.0.1:2379", Some("127.0.0.1")),
            (" https://[fd00::1]:2379/", Some("fd00::1")),
            ("https://etcd-0.example.com:2379", Some("etcd-0.example.com")),
            ("https://cp1", Some("cp1")),
            ("http://127.0.0.1:2379", None),
            ("unix:///run/etcd", None),
            ("https://$(NAME):2379", None),
            ("https://:2379", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn first_address_follows_the_network_address() {
        for (network, expected) in [
            ("10.96.0.0/12", Some("10.96.0.1")),
            ("10.97.3.4/12", Some("10.96.0.1")),
            ("fd00:10:96::/112", Some("fd00:10:96::1")),
            ("0.0.0.0/0", Some("0.0.0.1")),
            ("10.96.0.0/33", None),
            ("10.96.0.0", None),
            ("255.255.255.255/32", None),
        ] {
            assert_eq!(first_address(network).as_deref(), expected, "{network}");
        }
    }
}
