//! The services of the node: where each serves, and where its health is asked.

use std::time::Duration;

use super::manifests::{Manifest, Manifests};
use crate::formats::manifest::Pod;
use crate::model::{Service, ServiceKind};
use crate::settings::{Profile, ProfileService, ProfileServiceKind, Serves};

pub(super) fn all(profile: &Profile, manifests: &Manifests) -> Vec<Service> {
    profile.services.iter().map(|service| one(service, manifests)).collect()
}

fn one(usual: &ProfileService, manifests: &Manifests) -> Service {
    let elsewhere = |kind| (kind, serves(usual, None), usual.health.clone());
    let (kind, serves, health) = match usual.kind.clone() {
        ProfileServiceKind::Pod { pod, grace } => static_pod(usual, &pod, grace, manifests),
        ProfileServiceKind::Unit { unit, refresh } => elsewhere(ServiceKind::Unit { unit, refresh }),
        ProfileServiceKind::Process { pid_file, signal } => elsewhere(ServiceKind::Process { pid_file, signal }),
        ProfileServiceKind::Command { command, limit } => elsewhere(ServiceKind::Command { command, limit }),
    };
    Service { name: usual.name.clone(), kind, serves, health, essential: usual.essential, uses: usual.uses.clone() }
}

/// Its kind, where it serves, and where its health is asked.
type Found = (ServiceKind, Option<String>, Option<String>);

fn static_pod(usual: &ProfileService, pod: &str, grace: Duration, manifests: &Manifests) -> Found {
    let kind = |manifest: Option<&str>| ServiceKind::StaticPod { pod: pod.to_owned(), manifest: manifest.map(str::to_owned), grace };
    match manifests.of(pod) {
        Manifest::Read { file, pod: read } => (kind(Some(file)), serves(usual, Some(read)), read.health().or_else(|| usual.health.clone())),
        Manifest::Unreadable { file } => (kind(Some(file)), serves(usual, None), usual.health.clone()),
        Manifest::Absent => (kind(None), None, None),
    }
}

/// `host:port`, where it can be reached from this node.
fn serves(usual: &ProfileService, pod: Option<&Pod>) -> Option<String> {
    let flag = |name: &str| pod.and_then(|pod| pod.flag(name));
    match usual.serves.as_ref()? {
        Serves::Address(address) => Some(address.clone()),
        Serves::Urls(name) => first_https(flag(name)?),
        Serves::Flags { hosts, port, default_port } => {
            let port = flag(port).map_or(Some(*default_port), |text| text.parse().ok()).filter(|port| *port != 0)?;
            let host = hosts.iter().filter_map(|name| flag(name)).find(|host| !is_every_address(host));
            Some(format!("{}:{port}", bracketed(host.unwrap_or(LOOPBACK))))
        }
    }
}

const LOOPBACK: &str = "127.0.0.1";

fn first_https(urls: &str) -> Option<String> {
    let address = urls.split(',').find_map(|url| url.trim().strip_prefix("https://"))?;
    let (host, port) = address.trim_end_matches('/').rsplit_once(':')?;
    let host = if is_every_address(host.trim_start_matches('[').trim_end_matches(']')) { LOOPBACK } else { host };
    Some(format!("{host}:{port}"))
}

/// An address that a server listens on and nobody can connect to: it stands for every address, loopback included.
fn is_every_address(host: &str) -> bool {
    host.parse().is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
