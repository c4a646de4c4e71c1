//! The services of the node: their addresses, and the URLs of their health checks.

use std::time::Duration;

use super::manifests::{Manifest, Manifests};
use super::own::take;
use crate::formats::manifest::Pod;
use crate::model::{Service, ServiceKind, Use, Version};
use crate::settings::{OwnService, Profile, ProfileService, ProfileUse, ServedAt, Settings};

/// Returns those of the profile, in their order also where the operator has an entry of the same
/// name; then the operator's others.
pub(super) fn all(settings: &Settings, profile: &Profile, manifests: &Manifests) -> Vec<Service> {
    let mut own: Vec<&OwnService> = settings.services.iter().collect();
    let mut all = Vec::new();
    for usual in &profile.services {
        all.push(match take(&mut own, |entry| entry.service.name == usual.name) {
            Some(entry) => in_place_of(usual, own_service(entry, manifests), manifests),
            None => one(usual, manifests),
        });
    }
    all.extend(own.into_iter().map(|entry| own_service(entry, manifests)));
    all
}

/// Merges an operator's entry into the profile's. The protection of the cluster stays in any case.
fn in_place_of(usual: &ProfileService, own: Service, manifests: &Manifests) -> Service {
    let before = own.ages || ages(usual, manifests);
    let leader_lease = own.leader_lease.or_else(|| usual.leader_lease.clone());
    Service { essential: own.essential.or(usual.essential), leader_lease, ages: before, ..own }
}

/// Builds an operator's service. Its health URL overrides that of the manifest.
fn own_service(entry: &OwnService, manifests: &Manifests) -> Service {
    let service = one(&entry.service, manifests);
    let health = match &service.kind {
        ServiceKind::StaticPod { manifest: None, .. } => None,
        _ => entry.service.health.clone().or(service.health),
    };
    Service { configured: true, health, ..service }
}

fn one(usual: &ProfileService, manifests: &Manifests) -> Service {
    let (kind, uses, health) = match &usual.kind {
        ServiceKind::StaticPod { pod, grace, .. } => static_pod(usual, pod, *grace, manifests),
        elsewhere => (elsewhere.clone(), uses(usual, None), usual.health.clone()),
    };
    Service {
        name: usual.name.clone(),
        kind,
        health,
        essential: usual.essential,
        leader_lease: usual.leader_lease.clone(),
        ages: ages(usual, manifests),
        configured: false,
        uses,
        // They need the places of the credentials.
        trusts: Vec::new(),
        one_certificate: None,
    }
}

/// Whether certificates that it keeps in memory expire a year after its start. Without a version in
/// the tag of its image it is taken for an old one.
fn ages(usual: &ProfileService, manifests: &Manifests) -> bool {
    let Some(before) = usual.ages_before else { return false };
    let image = |pod: &str| match manifests.of(pod) {
        Manifest::Read { pod, .. } => pod.image().and_then(Version::of_image),
        Manifest::Unreadable { .. } | Manifest::Absent => None,
    };
    usual.kind.pod().and_then(image).is_none_or(|version| version < before)
}

/// The kind, the uses, and the health URL of a service.
type ServiceParts = (ServiceKind, Vec<Use>, Option<String>);

fn static_pod(
    usual: &ProfileService,
    pod: &str,
    grace: Duration,
    manifests: &Manifests,
) -> ServiceParts {
    let kind = |pod: &str, manifest: Option<&str>| ServiceKind::StaticPod {
        pod: pod.to_owned(),
        manifest: manifest.map(str::to_owned),
        grace,
    };
    match manifests.of(pod) {
        Manifest::Read { file, pod: read } => (
            kind(read.name(), Some(file)),
            uses(usual, Some(read)),
            read.health().or_else(|| usual.health.clone()),
        ),
        Manifest::Unreadable { file } => {
            (kind(pod, Some(file)), uses(usual, None), usual.health.clone())
        }
        Manifest::Absent => (kind(pod, None), served_nowhere(uses(usual, None)), None),
    }
}

fn uses(usual: &ProfileService, pod: Option<&Pod>) -> Vec<Use> {
    let with_address = |usual: &ProfileUse| Use {
        credential: usual.credential.clone(),
        takes: usual.takes,
        served_at: usual.served_at.as_ref().and_then(|place| address(place, pod)),
        to_port: usual.to_port,
        first_request: usual.first_request.clone(),
    };
    usual.uses.iter().map(with_address).collect()
}

fn served_nowhere(mut uses: Vec<Use>) -> Vec<Use> {
    uses.iter_mut().for_each(|one| one.served_at = None);
    uses
}

/// Returns `host:port`, where it can be reached from this node.
pub(super) fn address(place: &ServedAt, pod: Option<&Pod>) -> Option<String> {
    let flag = |name: &str| pod.and_then(|pod| pod.flag(name));
    match place {
        ServedAt::Address(address) => Some(address.clone()),
        ServedAt::Urls(name) => first_https(flag(name)?),
        ServedAt::Flags { hosts, port, default_port } => {
            let port = flag(port)
                .map_or(Some(*default_port), |text| text.parse().ok())
                .filter(|port| *port != 0)?;
            let host =
                hosts.iter().filter_map(|name| flag(name)).find(|host| !is_every_address(host));
            Some(format!("{}:{port}", bracketed(host.unwrap_or(LOOPBACK))))
        }
    }
}

const LOOPBACK: &str = "127.0.0.1";

fn first_https(urls: &str) -> Option<String> {
    let address = urls.split(',').find_map(|url| url.trim().strip_prefix("https://"))?;
    let (host, port) = address.trim_end_matches('/').rsplit_once(':')?;
    let host = if is_every_address(host.trim_start_matches('[').trim_end_matches(']')) {
        LOOPBACK
    } else {
        host
    };
    Some(format!("{host}:{port}"))
}

/// Whether a server listens on every address, loopback included, so that clients can't connect to
/// this one.
fn is_every_address(host: &str) -> bool {
    host.parse().is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
