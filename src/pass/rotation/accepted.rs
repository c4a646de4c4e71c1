//! Which root's clients the API server and the kubelet of this node accept: each is asked with a
//! certificate that the root signs for the question, valid for some minutes and for no group.

use std::time::Duration;

use super::kept::Rotation;
use crate::drivers::http::{Acceptance, Call, Trust, accepts};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::probe_identity;
use crate::model::{RootCa, Timestamp, TrialAt, TrustedRoots};
use crate::observe::{AcceptedClients, Node};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A path of the API server that needs authorization.
const API_PATH: &str = "/api";

/// One of kubelet's.
const KUBELET_PATH: &str = "/healthz";

/// Asks both. Without the keys of both roots nothing is known.
pub(super) async fn ask(node: &Node, rotation: &Rotation, now: Timestamp) -> AcceptedClients {
    let Some(clients) = Clients::of(rotation, now) else { return AcceptedClients::default() };
    let api_server = match &node.catalog.api_server_url {
        Some(url) => {
            let trust =
                Trust::Authorities(vec![rotation.intent.old.clone(), rotation.intent.new.clone()]);
            clients.accepted_at(&format!("{url}{API_PATH}"), &trust).await
        }
        None => None,
    };
    // kubelet signs its own certificate, as a rule, and nothing secret is sent.
    let kubelet = match kubelet_url(node) {
        Some(url) => clients.accepted_at(&url, &Trust::AnyCertificate).await,
        None => None,
    };
    AcceptedClients { api_server, kubelet }
}

/// kubelet's address is where the API server's client certificate is tried.
fn kubelet_url(node: &Node) -> Option<String> {
    let mut of_kubelet = node.catalog.trials.iter().filter_map(|(name, trial)| match trial {
        TrialAt::Url { url, user: None } if name.as_str() == "apiserver-kubelet-client" => {
            Some(url)
        }
        TrialAt::Url { .. } | TrialAt::Kubeconfig(_) => None,
    });
    let url: hyper::Uri = of_kubelet.next()?.parse().ok()?;
    Some(format!("https://{}{KUBELET_PATH}", url.authority()?))
}

/// A client of each root.
struct Clients {
    old: ClientIdentity,
    new: ClientIdentity,
}

impl Clients {
    fn of(rotation: &Rotation, now: Timestamp) -> Option<Self> {
        let client = |root| {
            let key = rotation.keys.of(root).ok()?;
            let made = probe_identity(rotation.intent.root(root), key, now).ok()?;
            ClientIdentity::new(&[made.certificate], &made.key).ok()
        };
        Some(Self { old: client(RootCa::Old)?, new: client(RootCa::New)? })
    }

    /// `None` where one of them got no clear answer.
    async fn accepted_at(&self, url: &str, trust: &Trust) -> Option<TrustedRoots> {
        let mut accepted = [false; 2];
        for (accepted, identity) in accepted.iter_mut().zip([&self.old, &self.new]) {
            let call = Call { url, ..Call::default() };
            *accepted = match accepts(call, trust, identity, LIMIT).await {
                Acceptance::Accepted => true,
                Acceptance::Refused(_) => false,
                Acceptance::NoAnswer(reason) => {
                    tracing::debug!(url, reason, "which clients are accepted is not known");
                    return None;
                }
            };
        }
        let [old, new] = accepted;
        TrustedRoots::of(old, new)
    }
}
