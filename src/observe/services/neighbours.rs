//! The other members of etcd and API servers of the cluster, and whether they are healthy.
//!
//! Only the cluster itself knows them: a manifest names those of the time when the node joined. So
//! etcd is queried for its members, and the API for its servers; then the health of each is
//! checked.

use std::time::Duration;

use serde::Deserialize;

use super::Node;
use super::together::run_concurrently;
use crate::credentials::{Loaded, Server, identity_of, load, server};
use crate::drivers::http::{Call, HttpResponse, Trust, call, get};
use crate::drivers::tls::ClientIdentity;
use crate::model::{Credential, Essential, Location, Neighbours, TrialAt};

/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The default port of an API server.
const DEFAULT_PORT: u16 = 6443;

/// Returns the other instances of an essential service of this node.
///
/// # Errors
/// A text that says why they are not known.
pub async fn neighbours(node: &Node, essential: Essential) -> Result<Neighbours, String> {
    match essential {
        Essential::EtcdMember => members(node).await,
        Essential::ApiServer => servers(node).await,
    }
}

/// The fields of etcd's answer in use, in the JSON form of its own protocol
/// (`etcdserverpb.MemberListResponse`).
#[derive(Deserialize)]
struct MemberList {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    #[serde(rename = "clientURLs", default)]
    client_urls: Vec<String>,
}

async fn members(node: &Node) -> Result<Neighbours, String> {
    let (own, identity) = etcd(node)?;
    let url = format!("https://{own}/v3/cluster/member/list");
    // It is on this machine, and gets nothing secret.
    let asked = Call { url: &url, json: Some("{}"), ..Call::default() };
    let answer = call(asked, &Trust::AnyCertificate, Some(&identity), REQUEST_TIMEOUT).await;
    let list: MemberList = parse_response(&url, answer.map_err(|e| format!("{url}: {e}"))?)?;
    // A member that has not started yet has no address, and is not healthy.
    let all = list.members.len();
    let others = list
        .members
        .into_iter()
        .filter(|member| !member.client_urls.iter().any(|url| is_at(url, &own)));
    let healthy = run_concurrently(others.map(|member| is_healthy(member, identity.clone()))).await;
    Ok(Neighbours::Members { all, healthy: count(&healthy) })
}

/// Returns the client address of this node's member, and an identity that it accepts.
fn etcd(node: &Node) -> Result<(String, ClientIdentity), String> {
    let uses = node
        .catalog
        .services
        .iter()
        .filter(|service| service.essential == Some(Essential::EtcdMember));
    let own = uses.flat_map(|service| &service.uses).find_map(|one| one.served_at.clone());
    let own = own.ok_or("etcd's manifest names no address for clients")?;
    // The identities of its clients, the API server's first.
    let its_own = format!("https://{own}/");
    let of_etcd = |credential: &&Credential| {
        let at = node.catalog.trials.get(&credential.name);
        matches!(at, Some(TrialAt::Url { url, .. }) if url.starts_with(&its_own))
    };
    let mut found = node.catalog.credentials.iter().filter(of_etcd).filter_map(|credential| {
        match load(&node.root, credential) {
            Loaded::Whole(stored) => identity_of(&stored).ok(),
            _ => None,
        }
    });
    Ok((own, found.next().ok_or("there is no whole certificate here that etcd would know")?))
}

/// Whether a URL is the one of this address.
fn is_at(url: &str, address: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| rest.trim_end_matches('/') == address)
}

fn count(answers: &[Option<bool>]) -> usize {
    answers.iter().filter(|answer| **answer == Some(true)).count()
}

async fn is_healthy(member: Member, identity: ClientIdentity) -> bool {
    for url in &member.client_urls {
        let url = format!("{}/health", url.trim_end_matches('/'));
        // An impostor learns nothing: it is only counted.
        if get(&url, &Trust::AnyCertificate, Some(&identity), REQUEST_TIMEOUT)
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return true;
        }
    }
    false
}

/// The fields of an `Endpoints` object in use.
#[derive(Deserialize)]
struct Endpoints {
    #[serde(default)]
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
struct Subset {
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Address {
    ip: String,
}

#[derive(Deserialize)]
struct Port {
    port: u16,
}

/// Returns the API servers. Each keeps its address in the endpoints of the service `kubernetes`
/// while it runs (with `--endpoint-reconciler-type=lease`, the default: one that exits uncleanly is
/// removed within 15 s).
async fn servers(node: &Node) -> Result<Neighbours, String> {
    let (endpoints, trust) = endpoints(node).await?;
    let own = node.catalog.api_server_address.as_deref();
    let own = own.ok_or(
        "the API server's manifest does not say by which address it is known (--advertise-address)",
    )?;
    let others = endpoints.subsets.iter().flat_map(|subset| {
        let port = subset.ports.first().map_or(DEFAULT_PORT, |port| port.port);
        subset
            .addresses
            .iter()
            .filter(|address| address.ip != own)
            .map(move |address| url_of(&address.ip, port))
    });
    let ready = run_concurrently(others.map(|url| is_ready(url, trust.clone()))).await;
    Ok(Neighbours::Servers { others: ready.len(), ready: count(&ready) })
}

fn url_of(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("https://[{ip}]:{port}") } else { format!("https://{ip}:{port}") }
}

async fn is_ready(url: String, trust: Trust) -> bool {
    let answer = get(&format!("{url}/readyz"), &trust, None, REQUEST_TIMEOUT).await;
    // Where anonymous requests are refused, the server runs, and more is not known.
    answer.is_ok_and(|answer| matches!(answer.status, 200 | 401 | 403))
}

/// Requests them with the first kubeconfig that the API server accepts.
async fn endpoints(node: &Node) -> Result<(Endpoints, Trust), String> {
    let mut reasons = Vec::new();
    for credential in &node.catalog.credentials {
        let Location::Kubeconfig(file) = &credential.location else { continue };
        let Loaded::Whole(stored) = load(&node.root, credential) else { continue };
        let asked = async {
            let Server { url, trust } = server(&node.root, file)?;
            let identity = identity_of(&stored)?;
            let url = format!("{url}/api/v1/namespaces/default/endpoints/kubernetes");
            let answer = get(&url, &trust, Some(&identity), REQUEST_TIMEOUT)
                .await
                .map_err(|e| format!("{url}: {e}"))?;
            Ok::<_, String>((parse_response(&url, answer)?, trust))
        };
        match asked.await {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("{}: {reason}", credential.name)),
        }
    }
    Err(if reasons.is_empty() {
        "there is no kubeconfig here to ask the API with".to_owned()
    } else {
        reasons.join("; ")
    })
}

fn parse_response<T: for<'d> Deserialize<'d>>(
    url: &str,
    answer: HttpResponse,
) -> Result<T, String> {
    if answer.status != 200 {
        return Err(format!("{url} answers with status {}", answer.status));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|e| format!("{url} answers something that can't be understood: {e}"))
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
