//! Clients of the cluster's API, one for each of its servers.

use std::cell::Cell;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::core::v1::Endpoints;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::time::timeout;

use super::ClusterError;
use crate::credentials::{
    CurrentUser, Loaded, Server, UserLogin, current_user, load, pem_identity, server,
};
use crate::drivers::http::{Trust, https_url};
use crate::model::{AbsolutePath, Credential, CredentialName, Location, Need, Renewal, Secret};
use crate::sys::Root;

/// The time limits of a call: for the connection, and for each side of the exchange.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);

/// The time limit of a whole call to one server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The default port of an API server.
const DEFAULT_PORT: i32 = 6443;

/// The cluster's API, by way of all of its servers: where one does not answer, the next one is
/// asked.
pub struct ClusterApi {
    /// Each with its URL, in the order in which they are asked.
    servers: Vec<(String, Client)>,
    /// How many of them are those of other nodes.
    others: usize,
    /// How many of them did not answer one after the other: they are asked last from then on.
    silent: Cell<usize>,
}

/// How to log in to the servers, and what the servers are verified by.
struct Login {
    authorities: Vec<Vec<u8>>,
    /// The name that their certificates have to be for, where that is not the URL's host.
    server_name: Option<String>,
    identity: Identity,
}

/// The identity of a client.
enum Identity {
    Certificate { certificate: String, key: Secret },
    Token(Secret),
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
        let (configured, login) = login(root, credential, file, ClusterError::NoAdminConf)?;
        let known = Self::known(configured, &login, own)?;
        let listed = known.listed().await?;
        let is_known = |url: &String| known.servers.iter().any(|(one, _)| one == url);
        let others = listed.into_iter().filter(|url| !is_known(url));
        let mut servers = others
            .map(|url| Ok((url.clone(), login.client(&url)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let others = servers.len();
        servers.extend(known.servers);
        Ok(Self { servers, others, silent: Cell::new(0) })
    }

    /// The API server that a kubeconfig names, with what its current user logs in with: a client
    /// certificate, or a token in the file. After it the one at the URL `own` is asked. Nothing is
    /// waited for; but the clients can be made on a runtime only.
    ///
    /// # Errors
    /// When the kubeconfig can't be used, for example because its user logs in with a plug-in.
    pub async fn of_kubeconfig(
        root: &Root,
        file: &AbsolutePath,
        own: Option<&str>,
    ) -> Result<Self, ClusterError> {
        let failed = ClusterError::Kubeconfig;
        let CurrentUser { login: by, server_name } = current_user(root, file).map_err(failed)?;
        let (url, login) = match by {
            UserLogin::Token(token) => with_server(root, file, Identity::Token(token))?,
            UserLogin::Certificate => {
                let absent = failed(format!("{file} does not exist"));
                login(root, &user_of(file), file, absent)?
            }
        };
        Self::known(url, &Login { server_name, ..login }, own)
    }

    /// The servers that are known without a question.
    fn known(configured: String, login: &Login, own: Option<&str>) -> Result<Self, ClusterError> {
        let own = own.map(str::to_owned).filter(|own| *own != configured);
        let urls = [configured].into_iter().chain(own);
        let servers = urls.map(|url| {
            let client = login.client(&url)?;
            Ok((url, client))
        });
        let servers = servers.collect::<Result<_, _>>()?;
        Ok(Self { servers, others: 0, silent: Cell::new(0) })
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
        let in_order = self.servers.iter().cycle().skip(self.silent.get());
        for (url, client) in in_order.take(self.servers.len()) {
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
            self.silent.set((self.silent.get() + 1) % self.servers.len());
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
            addresses.map(move |address| https_url(&address.ip, port))
        });
        Ok(urls.collect())
    }
}

/// The credential of the current user of any kubeconfig.
fn user_of(file: &AbsolutePath) -> Credential {
    Credential {
        name: CredentialName::constant("kubeconfig"),
        kubeadm_name: None,
        location: Location::Kubeconfig(file.clone()),
        authority: None,
        renewal: Renewal::Elsewhere,
        need: Need::Optional,
    }
}

/// Reads the server of a kubeconfig, and the certificate that a credential logs in with; `absent`
/// is the error where there is none.
fn login(
    root: &Root,
    credential: &Credential,
    kubeconfig: &AbsolutePath,
    absent: ClusterError,
) -> Result<(String, Login), ClusterError> {
    let failed = ClusterError::Kubeconfig;
    let location = &credential.location;
    let stored = match load(root, credential) {
        Loaded::Whole(stored) => stored,
        Loaded::Absent => return Err(absent),
        _ => {
            return Err(failed(format!(
                "{location} can't be used: `kubecertd check` shows the reason"
            )));
        }
    };
    let (certificate, key) =
        pem_identity(&stored).map_err(|e| failed(format!("{location}: {e}")))?;
    with_server(root, kubeconfig, Identity::Certificate { certificate, key })
}

/// Reads the server of a kubeconfig, for this identity.
fn with_server(
    root: &Root,
    file: &AbsolutePath,
    identity: Identity,
) -> Result<(String, Login), ClusterError> {
    let failed = ClusterError::Kubeconfig;
    let Server { url, trust, .. } = server(root, file).map_err(failed)?;
    let Trust::Authorities(authorities) = trust else {
        return Err(failed(format!("{file} has no CA certificate to verify its server by")));
    };
    let authorities = authorities.iter().map(|one| one.der().to_vec()).collect();
    Ok((url, Login { authorities, server_name: None, identity }))
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
        config.tls_server_name = self.server_name.clone();
        config.auth_info = self.identity.auth_info();
        Client::try_from(config).map_err(|e| failed(e.to_string()))
    }
}

impl Identity {
    fn auth_info(&self) -> AuthInfo {
        let encoded = |text: &[u8]| BASE64_STANDARD.encode(text);
        match self {
            Self::Certificate { certificate, key } => AuthInfo {
                client_certificate_data: Some(encoded(certificate.as_bytes())),
                client_key_data: Some(encoded(key.expose()).into()),
                ..AuthInfo::default()
            },
            Self::Token(token) => AuthInfo {
                token: Some(String::from_utf8_lossy(token.expose()).into_owned().into()),
                ..AuthInfo::default()
            },
        }
    }
}
