//! The ConfigMap `kube-public/cluster-info`, by which nodes that join verify the API server.
//!
//! It holds a kubeconfig, and a signature of that by each bootstrap token. kube-controller-manager
//! signs it again within seconds when it changes. The signatures are not verified here: that takes
//! the tokens.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::Deserialize;

use super::bundle::{RootChange, replace_roots};
use super::report::{Decided, Mode, TrustState};
use crate::cluster::error::shown;
use crate::cluster::exchange::Listing;
use crate::cluster::field::ConfigMapKey;
use crate::cluster::{ClusterApi, ObjectError};
use crate::formats::kubeconfig::{discovery_authority, splice_discovery_authority};

const CLUSTER_INFO: ConfigMapKey =
    ConfigMapKey { namespace: "kube-public", name: "cluster-info", key: "kubeconfig" };

/// What the key of a signature begins with; the ID of the token follows.
const SIGNATURE: &str = "jws-kubeconfig-";

/// What the name of a token's Secret begins with; the ID follows.
const TOKEN: &str = "bootstrap-token-";

/// `true` in base64.
const TRUE: &str = "dHJ1ZQ==";

/// What was found in `cluster-info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its CA certificates.
    pub trust: Result<TrustState, ObjectError>,
    /// The bootstrap tokens that are to sign it, as it was before a change; or why they are not
    /// known.
    pub tokens: Result<Vec<TokenSignature>, ObjectError>,
}

/// Whether `cluster-info` holds the signature of a bootstrap token, which is not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSignature {
    /// The token's ID, which is no secret.
    pub id: String,
    /// Whether there is one.
    pub is_signed: bool,
}

/// A bootstrap token: only what is no secret of it.
#[derive(Deserialize)]
struct Token {
    metadata: ObjectMeta,
    data: Option<TokenData>,
}

#[derive(Deserialize)]
struct TokenData {
    #[serde(rename = "usage-bootstrap-signing")]
    signs: Option<String>,
}

impl ClusterApi {
    /// Reads `cluster-info`; `None` where it does not exist.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn observe_cluster_info(
        &self,
        change: &RootChange,
    ) -> Result<Option<ClusterInfo>, ObjectError> {
        self.cluster_info(change, Mode::Observe).await
    }

    /// Gives `cluster-info` the wanted CA certificates; `None` where it does not exist.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn update_cluster_info(
        &self,
        change: &RootChange,
    ) -> Result<Option<ClusterInfo>, ObjectError> {
        self.cluster_info(change, Mode::Update).await
    }

    async fn cluster_info(
        &self,
        change: &RootChange,
        mode: Mode,
    ) -> Result<Option<ClusterInfo>, ObjectError> {
        let Some(found) = self.config_map(CLUSTER_INFO).await? else { return Ok(None) };
        let tokens = self.signing_tokens().await.map(|ids| signatures(&found, ids));
        let trust = self.cluster_info_trust(&found, change, mode).await;
        Ok(Some(ClusterInfo { trust, tokens }))
    }

    async fn cluster_info_trust(
        &self,
        found: &ConfigMap,
        change: &RootChange,
        mode: Mode,
    ) -> Result<TrustState, ObjectError> {
        let text = CLUSTER_INFO.text_of(found)?;
        let decided = decide(text, change)
            .map_err(|reason| ObjectError::malformed(CLUSTER_INFO.object(), reason))?;
        self.settle_trust(&CLUSTER_INFO.field(), text, decided, change, mode).await
    }

    /// The IDs of the bootstrap tokens that sign `cluster-info`.
    async fn signing_tokens(&self) -> Result<Vec<String>, ObjectError> {
        let listing = Listing {
            kind: "Secrets of bootstrap tokens",
            path: Secret::url_path(&(), Some("kube-system")),
            fields: Some("type=bootstrap.kubernetes.io/token"),
        };
        let mut ids = Vec::new();
        let take = |token: Token| {
            let signs = token.data.and_then(|data| data.signs);
            let id = token.metadata.name.as_deref().and_then(|name| name.strip_prefix(TOKEN));
            ids.extend(id.filter(|_| signs.as_deref() == Some(TRUE)).map(str::to_owned));
        };
        self.for_each(&listing, take).await?;
        Ok(ids)
    }
}

fn signatures(found: &ConfigMap, ids: Vec<String>) -> Vec<TokenSignature> {
    let is_signed = |id: &str| {
        let key = format!("{SIGNATURE}{id}");
        found.data.as_ref().and_then(|data| data.get(&key)).is_some_and(|text| !text.is_empty())
    };
    ids.into_iter().map(|id| TokenSignature { is_signed: is_signed(&id), id: shown(&id) }).collect()
}

/// What becomes of the kubeconfig: only the value of its certificate-authority-data may change.
fn decide(text: &str, change: &RootChange) -> Result<Decided, String> {
    let bundle = discovery_authority(text.as_bytes()).map_err(|e| e.to_string())?;
    let decision = replace_roots(&bundle, change).map_err(|e| e.to_string())?;
    let decision = decision.ok_or("it has neither the old nor the new CA certificate")?;
    Decided::of(decision, |content| {
        let text =
            splice_discovery_authority(text.as_bytes(), &content).map_err(|e| e.to_string())?;
        String::from_utf8(text.expose().to_vec()).map_err(|e| e.to_string())
    })
}
