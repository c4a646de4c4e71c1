//! The ConfigMap `kube-system/extension-apiserver-authentication`: the CA certificates by which
//! aggregated API servers verify clients, and those by which they verify the API servers.
//!
//! Every API server adds those of its own `ca.crt` and `front-proxy-ca.crt`, and removes none but
//! expired ones. So only the CA that is trusted no more is taken out. An API server that still
//! trusts it adds it again, so this is done until all API servers are known to trust the others
//! alone.

use super::bundle::{RootChange, reduce_roots};
use super::report::{Decided, Mode, TrustState};
use crate::cluster::field::ConfigMapKey;
use crate::cluster::{ClusterApi, ObjectError};
use crate::model::ReplacedCa;

/// Its key with the certificates of a CA.
fn key_of(ca: ReplacedCa) -> ConfigMapKey {
    let key = match ca {
        ReplacedCa::Root => "client-ca-file",
        ReplacedCa::FrontProxy => "requestheader-client-ca-file",
    };
    ConfigMapKey { namespace: "kube-system", name: "extension-apiserver-authentication", key }
}

impl ClusterApi {
    /// Reads the certificates of a CA there; `None` where the object does not exist.
    ///
    /// # Errors
    /// When it has neither of the two, or can't be read.
    pub async fn observe_client_ca(
        &self,
        ca: ReplacedCa,
        change: &RootChange,
    ) -> Result<Option<TrustState>, ObjectError> {
        self.client_ca(ca, change, Mode::Observe).await
    }

    /// Takes a certificate out that is not wanted, where the wanted ones are there; `None` where
    /// the object does not exist. Nothing is added.
    ///
    /// # Errors
    /// When it has neither of the two, or can't be read or written.
    pub async fn update_client_ca(
        &self,
        ca: ReplacedCa,
        change: &RootChange,
    ) -> Result<Option<TrustState>, ObjectError> {
        self.client_ca(ca, change, Mode::Update).await
    }

    async fn client_ca(
        &self,
        ca: ReplacedCa,
        change: &RootChange,
        mode: Mode,
    ) -> Result<Option<TrustState>, ObjectError> {
        let key = key_of(ca);
        let Some(found) = self.config_map(key).await? else { return Ok(None) };
        let is_there = found.data.as_ref().is_some_and(|data| data.contains_key(key.key));
        // An API server without aggregation publishes no CA of the front proxy.
        if ca == ReplacedCa::FrontProxy && !is_there {
            return Ok(None);
        }
        let text = key.text_of(&found)?;
        let decided =
            decide(text, change).map_err(|reason| ObjectError::malformed(key.object(), reason))?;
        self.settle_trust(&key.field(), text, decided, change, mode).await.map(Some)
    }
}

fn decide(text: &str, change: &RootChange) -> Result<Decided, String> {
    let decision = reduce_roots(text.as_bytes(), change).map_err(|e| e.to_string())?;
    let decision = decision.ok_or("it has neither the old nor the new CA certificate")?;
    Decided::of(decision, |content| String::from_utf8(content).map_err(|e| e.to_string()))
}
