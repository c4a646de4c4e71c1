//! The ConfigMap `kube-system/extension-apiserver-authentication`: the CA certificates by which
//! aggregated API servers verify clients.
//!
//! Every API server adds those of its own `ca.crt`, and removes none but expired ones. So only the
//! root that is trusted no more is taken out, and that only once all API servers trust the others
//! alone: one that trusts it adds it again.

use super::bundle::{RootChange, reduce_roots};
use super::report::{Decided, Mode, TrustState};
use crate::cluster::field::ConfigMapKey;
use crate::cluster::{ClusterApi, ObjectError};

const CLIENT_CA: ConfigMapKey = ConfigMapKey {
    namespace: "kube-system",
    name: "extension-apiserver-authentication",
    key: "client-ca-file",
};

impl ClusterApi {
    /// Reads the CA certificates by which aggregated API servers verify clients; `None` where the
    /// object does not exist.
    ///
    /// # Errors
    /// When it has neither of the two roots, or can't be read.
    pub async fn observe_client_ca(
        &self,
        change: &RootChange,
    ) -> Result<Option<TrustState>, ObjectError> {
        self.client_ca(change, Mode::Observe).await
    }

    /// Takes a root out that is not wanted, where the wanted ones are there; `None` where the
    /// object does not exist. Nothing is added.
    ///
    /// # Errors
    /// When it has neither of the two roots, or can't be read or written.
    pub async fn update_client_ca(
        &self,
        change: &RootChange,
    ) -> Result<Option<TrustState>, ObjectError> {
        self.client_ca(change, Mode::Update).await
    }

    async fn client_ca(
        &self,
        change: &RootChange,
        mode: Mode,
    ) -> Result<Option<TrustState>, ObjectError> {
        let Some(found) = self.config_map(CLIENT_CA).await? else { return Ok(None) };
        let text = CLIENT_CA.text_of(&found)?;
        let decided = decide(text, change)
            .map_err(|reason| ObjectError::malformed(CLIENT_CA.object(), reason))?;
        self.settle_trust(&CLIENT_CA.field(), text, decided, change, mode).await.map(Some)
    }
}

fn decide(text: &str, change: &RootChange) -> Result<Decided, String> {
    let decision = reduce_roots(text.as_bytes(), change).map_err(|e| e.to_string())?;
    let decision = decision.ok_or("it has neither the old nor the new CA certificate")?;
    Decided::of(decision, |content| String::from_utf8(content).map_err(|e| e.to_string()))
}
