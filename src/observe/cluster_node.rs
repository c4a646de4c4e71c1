//! Asks the API of the cluster whether it has a Node of a name.

use std::time::Duration;

use serde::Deserialize;

use super::Node;
use crate::credentials::{
    Loaded, LoadedAuthority, Server, Stored, identity_of, load, load_authority, server,
};
use crate::drivers::http::{HttpResponse, get};
use crate::model::{
    AbsolutePath, Authority, Credential, CredentialName, Location, Signer, Timestamp,
};

/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Why it is not known that the cluster has the Node.
#[derive(Debug, thiserror::Error)]
pub enum NodeNotFound {
    /// The cluster says that it has none.
    #[error(
        "the cluster has no Node {name}, says {url}: kubectl get nodes lists them; a machine that \
         is none joins with kubeadm join"
    )]
    Absent {
        /// The name.
        name: String,
        /// The request that was answered.
        url: String,
    },
    /// Certificates of this node have expired, so that the API can't be asked.
    #[error(
        "whether the cluster has a Node {name} is not known: {reason}; {} expired: run kubecertd \
         renew on this node first, and sign when kubectl get nodes works", list(.expired)
    )]
    Expired {
        /// The name.
        name: String,
        /// Why the API can't be asked.
        reason: String,
        /// What has expired.
        expired: Vec<CredentialName>,
    },
    /// The API can't be asked.
    #[error(
        "whether the cluster has a Node {name} is not known: {reason}; sign when kubectl get nodes \
         works on this node, since kubelet needs the API anyway"
    )]
    NotAsked {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Checks that the cluster of this node has a Node of this name. The API is asked with each
/// kubeconfig of the node, as its user, until one may see the Node: admin.conf may, and kubelet's
/// may not in every version.
///
/// # Errors
/// When it has none, or that is not known.
pub async fn check_cluster_node(
    node: &Node,
    authority: &Authority,
    name: &str,
    now: Timestamp,
) -> Result<(), NodeNotFound> {
    let mut reasons = Vec::new();
    for (credential, kubeconfig, stored) in users(node, authority) {
        match ask(node, kubeconfig, &stored, name).await {
            Ok(Answer::Exists) => return Ok(()),
            Ok(Answer::Absent(url)) => {
                return Err(NodeNotFound::Absent { name: name.to_owned(), url });
            }
            Err(reason) => reasons.push(format!("{}: {reason}", credential.name)),
        }
    }
    let (name, expired) = (name.to_owned(), expired(node, now));
    let reason = if reasons.is_empty() {
        format!(
            "there is no kubeconfig here to ask the API with that the CA {} signed",
            authority.name
        )
    } else {
        reasons.join("; ")
    };
    Err(if expired.is_empty() {
        NodeNotFound::NotAsked { name, reason }
    } else {
        NodeNotFound::Expired { name, reason, expired }
    })
}

/// The kubeconfigs of this node with certificates of the CA: another cluster's answer counts for
/// nothing.
fn users<'n>(
    node: &'n Node,
    authority: &Authority,
) -> Vec<(&'n Credential, &'n AbsolutePath, Box<Stored>)> {
    let loaded: LoadedAuthority = load_authority(&node.root, authority);
    let own =
        node.catalog.credentials.iter().filter(|one| {
            one.copy_of().is_none() && one.authority.as_ref() == Some(&authority.name)
        });
    let user = |credential: &'n Credential| {
        let kubeconfig = match &credential.location {
            Location::Kubeconfig(file) => file,
            _ => node.catalog.kubeconfigs.get(&credential.name)?,
        };
        let Loaded::Whole(stored) = load(&node.root, credential) else { return None };
        let is_own = loaded.signer_of(&stored.certificate) == Signer::Authority;
        is_own.then_some((credential, kubeconfig, stored))
    };
    own.filter_map(user).collect()
}

/// The API's answer, and the request.
enum Answer {
    Exists,
    Absent(String),
}

/// The fields of a Kubernetes `Status` object in use.
#[derive(Deserialize)]
struct Status {
    reason: String,
    details: Details,
}

#[derive(Deserialize)]
struct Details {
    name: String,
    kind: String,
}

async fn ask(
    node: &Node,
    kubeconfig: &AbsolutePath,
    stored: &Stored,
    name: &str,
) -> Result<Answer, String> {
    let Server { url, trust, .. } = server(&node.root, kubeconfig)?;
    let identity = identity_of(stored)?;
    let url = format!("{url}/api/v1/nodes/{name}");
    let answer = get(&url, &trust, Some(&identity), REQUEST_TIMEOUT).await;
    let answer = answer.map_err(|e| format!("{url}: {e}"))?;
    match answer.status {
        200 if is_node(&answer, name) => Ok(Answer::Exists),
        200 => Err(format!("{url} answers with something else than that Node")),
        404 if is_absent(&answer, name) => Ok(Answer::Absent(url)),
        status => Err(format!("{url} answers with status {status}")),
    }
}

/// Whether it is the Node. The images on a node make its object longer than what is read of it;
/// kind and name come first.
fn is_node(answer: &HttpResponse, name: &str) -> bool {
    let text: String = String::from_utf8_lossy(&answer.body).split_whitespace().collect();
    text.contains("\"kind\":\"Node\"") && text.contains(&format!("\"name\":\"{name}\""))
}

/// Whether the API itself says so: a load balancer may have a page for what it can't find.
fn is_absent(answer: &HttpResponse, name: &str) -> bool {
    let status = serde_json::from_slice::<Status>(&answer.body);
    status.is_ok_and(|Status { reason, details }| {
        reason == "NotFound" && details.kind == "nodes" && details.name == name
    })
}

/// The credentials of this node that have expired.
fn expired(node: &Node, now: Timestamp) -> Vec<CredentialName> {
    let has_expired = |one: &&Credential| {
        let stored = load(&node.root, one).stored();
        one.copy_of().is_none() && stored.is_some_and(|stored| stored.certificate.not_after < now)
    };
    node.catalog.credentials.iter().filter(has_expired).map(|one| one.name.clone()).collect()
}

fn list(names: &[CredentialName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &str) -> HttpResponse {
        HttpResponse { status: 0, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_node_itself_counts() {
        let node = r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"w1","uid":"#;
        assert!(is_node(&response(node), "w1"), "a truncated one too");
        assert!(is_node(&response("{\n \"kind\": \"Node\",\n \"name\": \"w1\"}"), "w1"));
        for other in ["", "<html>w1</html>", r#"{"kind":"Node","metadata":{"name":"w10"}}"#] {
            assert!(!is_node(&response(other), "w1"), "{other}");
        }
    }

    #[test]
    fn only_the_api_itself_says_that_there_is_none() {
        let status = r#"{"kind":"Status","status":"Failure","reason":"NotFound",
            "details":{"name":"w1","kind":"nodes"},"code":404}"#;
        assert!(is_absent(&response(status), "w1"));
        for other in ["404 page not found", "{}", &status.replace("w1", "w2")] {
            assert!(!is_absent(&response(other), "w1"), "{other}");
        }
    }
}
