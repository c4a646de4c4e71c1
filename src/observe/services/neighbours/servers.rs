//! The cluster's API servers, as the API lists them.

use serde::Deserialize;

use super::answer::{REQUEST_TIMEOUT, count, parse_response};
use crate::credentials::{Loaded, Server, identity_of, load, server};
use crate::drivers::http::{Trust, get, https_url};
use crate::drivers::tls::ClientIdentity;
use crate::model::{Credential, Location, Neighbours, Service};
use crate::observe::Node;
use crate::observe::services::together::run_concurrently;

/// The default port of an API server.
const DEFAULT_PORT: u16 = 6443;

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
pub(super) async fn servers(node: &Node) -> Result<Neighbours, String> {
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
            .map(move |address| https_url(&address.ip, port))
    });
    let ready = run_concurrently(others.map(|url| is_ready(url, trust.clone()))).await;
    Ok(Neighbours::Servers { others: ready.len(), ready: count(&ready) })
}

pub(super) async fn is_ready(url: String, trust: Trust) -> bool {
    let answer = get(&format!("{url}/readyz"), &trust, None, REQUEST_TIMEOUT).await;
    // Where anonymous requests are refused, the server runs, and more is not known.
    answer.is_ok_and(|answer| matches!(answer.status, 200 | 401 | 403))
}

/// Asks the API server that a service elects its leader through for that Lease, as the service
/// itself. A Lease is read from etcd.
///
/// # Errors
/// A text that says why there is no answer. Any answer but an error of the server is one, also one
/// that is not understood here: the service may have its own way to the server.
pub(super) async fn leader_lease(node: &Node, service: &Service) -> Result<(), String> {
    let Some(lease) = &service.leader_lease else { return Ok(()) };
    for one in &service.uses {
        let credential = node.catalog.credentials.iter().find(|own| own.name == one.credential);
        let Some(credential) = credential else { continue };
        let Some(Ok((Server { url, trust, proxied: false }, identity))) = client(node, credential)
        else {
            continue;
        };
        let asked =
            format!("{url}/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{lease}");
        return match get(&asked, &trust, Some(&identity), REQUEST_TIMEOUT).await {
            Ok(answer) if answer.status >= 500 || answer.status == 429 => {
                Err(format!("{url} answers with status {}", answer.status))
            }
            Err(error) if error.is_no_answer() => Err(format!("{url}: {error}")),
            Ok(_) | Err(_) => Ok(()),
        };
    }
    Ok(())
}

/// The server of a whole kubeconfig, and the identity in it.
fn client(
    node: &Node,
    credential: &Credential,
) -> Option<Result<(Server, ClientIdentity), String>> {
    let Location::Kubeconfig(file) = &credential.location else { return None };
    let Loaded::Whole(stored) = load(&node.root, credential) else { return None };
    Some(server(&node.root, file).and_then(|server| Ok((server, identity_of(&stored)?))))
}

/// Requests them with the first kubeconfig that the API server accepts.
async fn endpoints(node: &Node) -> Result<(Endpoints, Trust), String> {
    let mut reasons = Vec::new();
    for credential in &node.catalog.credentials {
        let Some(found) = client(node, credential) else { continue };
        let asked = async {
            let (Server { url, trust, .. }, identity) = found?;
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
