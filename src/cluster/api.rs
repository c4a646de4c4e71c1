//! Clients of the cluster's API, one for each of its servers.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::core::v1::Endpoints;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::time::timeout;

use super::ClusterError;
use crate::credentials::{Loaded, Server, load, pem_identity, server};
use crate::drivers::http::Trust;
use crate::model::{AbsolutePath, Credential, Secret};
use crate::sys::Root;

/// The time limits of a call: for the connection, and for each side of the exchange.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);

/// The time limit of a whole call to one server.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// The default port of an API server.
const DEFAULT_PORT: i32 = 6443;

/// The cluster's API, by way of all of its servers: where one does not answer, the next one is
/// asked.
pub struct ClusterApi {
    /// Each with its URL, in the order in which they are asked.
    servers: Vec<(String, Client)>,
    /// How many of them are those of other nodes.
    others: usize,
}

/// The certificate for logging in to the servers, and the CAs that the servers are verified by.
struct Login {
    authorities: Vec<Vec<u8>>,
    certificate: String,
    key: Secret,
}

impl ClusterApi {
    /// Finds the API servers with the kubeconfig of a credential. Those of other nodes come first:
    /// the one of this node uses this node's etcd. `own` is the URL of this node's API server.
    ///
    /// # Errors
    /// When the kubeconfig can't be used, or no server answers.
    pub async fn open(
        root: &Root,
        credential: &Credential,
        own: Option<&str>,
    ) -> Result<Self, ClusterError> {
        let file = credential.location.kubeconfig().ok_or(ClusterError::NoAdminConf)?;
        let (configured, login) = login(root, credential, file)?;
        let mut known = vec![configured];
        known.extend(own.map(str::to_owned).filter(|own| *own != known[..].concat()));
        let clients = known.iter().map(|url| Ok((url.clone(), login.client(url)?)));
        let known = Self { servers: clients.collect::<Result<_, _>>()?, others: 0 };
        let listed = known.listed().await?;
        let is_known = |url: &String| known.servers.iter().any(|(one, _)| one == url);
        let others = listed.into_iter().filter(|url| !is_known(url));
        let mut servers = others
            .map(|url| Ok((url.clone(), login.client(&url)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let others = servers.len();
        servers.extend(known.servers);
        Ok(Self { servers, others })
    }

    /// How many API servers other nodes have, by the list of the cluster.
    #[must_use]
    pub fn others(&self) -> usize {
        self.others
    }

    /// Makes a call to the first server that answers it.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFn(Client) -> kube::Result<T>,
    ) -> Result<T, ClusterError> {
        let mut reasons = Vec::new();
        for (url, client) in &self.servers {
            let error = match timeout(CALL_TIMEOUT, call(client.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => ClusterError::of_call(url, error),
                Err(_) => ClusterError::Away(format!(
                    "{url}: no answer within {} s",
                    CALL_TIMEOUT.as_secs()
                )),
            };
            if !error.is_of_server() {
                return Err(error);
            }
            reasons.push(match error {
                ClusterError::Away(reason) => reason,
                other => other.to_string(),
            });
        }
        Err(ClusterError::Away(reasons.join("; ")))
    }

    /// The URLs of the API servers, as they list themselves. Each keeps its address there while it
    /// runs (`--endpoint-reconciler-type=lease`, the default).
    async fn listed(&self) -> Result<Vec<String>, ClusterError> {
        let endpoints = self
            .call(async |client| {
                Api::<Endpoints>::namespaced(client, "default").get("kubernetes").await
            })
            .await?;
        let subsets = endpoints.subsets.unwrap_or_default();
        let urls = subsets.iter().flat_map(|subset| {
            let port = subset.ports.iter().flatten().next().map_or(DEFAULT_PORT, |port| port.port);
            let addresses = subset.addresses.iter().flatten();
            addresses.map(move |address| url_of(&address.ip, port))
        });
        Ok(urls.collect())
    }
}

fn url_of(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("https://[{ip}]:{port}") } else { format!("https://{ip}:{port}") }
}

/// Reads the server of a kubeconfig, and the certificate that it logs in with.
fn login(
    root: &Root,
    credential: &Credential,
    file: &AbsolutePath,
) -> Result<(String, Login), ClusterError> {
    let failed = ClusterError::Kubeconfig;
    let stored = match load(root, credential) {
        Loaded::Whole(stored) => stored,
        Loaded::Absent => return Err(ClusterError::NoAdminConf),
        _ => {
            return Err(failed(format!(
                "{file} can't be used: `kubecertd check` shows the reason"
            )));
        }
    };
    let Server { url, trust } = server(root, file).map_err(failed)?;
    let Trust::Authorities(authorities) = trust else {
        return Err(failed(format!("{file} has no CA certificate to verify its server by")));
    };
    let (certificate, key) = pem_identity(&stored).map_err(|e| failed(format!("{file}: {e}")))?;
    let authorities = authorities.iter().map(|one| one.der().to_vec()).collect();
    Ok((url, Login { authorities, certificate, key }))
}

impl Login {
    fn client(&self, url: &str) -> Result<Client, ClusterError> {
        let failed = |reason: String| ClusterError::Kubeconfig(format!("{url}: {reason}"));
        let uri = url.parse().map_err(|_| failed("it is no URL".to_owned()))?;
        let mut config = Config::new(uri);
        // Never the system's trust store, which is used where there is no list.
        config.root_cert = Some(self.authorities.clone());
        config.connect_timeout = Some(STEP_TIMEOUT);
        config.read_timeout = Some(STEP_TIMEOUT);
        config.write_timeout = Some(STEP_TIMEOUT);
        config.default_retry = false;
        let encoded = |text: &[u8]| BASE64_STANDARD.encode(text);
        config.auth_info = AuthInfo {
            client_certificate_data: Some(encoded(self.certificate.as_bytes())),
            client_key_data: Some(encoded(self.key.expose()).into()),
            ..AuthInfo::default()
        };
        Client::try_from(config).map_err(|e| failed(e.to_string()))
    }
}
