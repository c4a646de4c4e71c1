//! What kubeadm keeps in the cluster: the encrypted keys for control-plane nodes that join, and its
//! ClusterConfiguration.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;

use crate::cluster::field::ConfigMapKey;
use crate::cluster::{ClusterApi, ObjectError};

const CONFIG: ConfigMapKey =
    ConfigMapKey { namespace: "kube-system", name: "kubeadm-config", key: "ClusterConfiguration" };

const NAMESPACE: &str = "kube-system";
const CERTS: &str = "kubeadm-certs";
const CERTS_OBJECT: &str = "Secret kube-system/kubeadm-certs";

const NOT_FOUND: u16 = 404;

/// Why the ClusterConfiguration was not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError<E> {
    /// The object can't be read or written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The text can't be edited.
    #[error("ConfigMap kube-system/kubeadm-config can't be edited: {0}")]
    Edit(E),
}

impl ClusterApi {
    /// Whether the Secret `kubeadm-certs` exists: it holds `ca.key`, encrypted, for two hours after
    /// `kubeadm init phase upload-certs`.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn has_kubeadm_certs(&self) -> Result<bool, ObjectError> {
        let found = self.call(async |client| {
            Api::<Secret>::namespaced(client, NAMESPACE).get_metadata_opt(CERTS).await
        });
        let found = found.await.map_err(|error| ObjectError::of_call(CERTS_OBJECT, error))?;
        Ok(found.is_some())
    }

    /// Deletes the Secret `kubeadm-certs`. Returns whether there was one.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn delete_kubeadm_certs(&self) -> Result<bool, ObjectError> {
        let parameters = DeleteParams::default();
        let deleted = self.call(async |client| {
            Api::<Secret>::namespaced(client, NAMESPACE).delete(CERTS, &parameters).await
        });
        match deleted.await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(NOT_FOUND) => Ok(false),
            Err(error) => Err(ObjectError::of_call(CERTS_OBJECT, error)),
        }
    }

    /// Reads the text of kubeadm's ClusterConfiguration; `None` where kubeadm keeps none.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn cluster_configuration(&self) -> Result<Option<String>, ObjectError> {
        let found = self.config_map(CONFIG).await?;
        found.map(|found| CONFIG.text_of(&found).map(str::to_owned)).transpose()
    }

    /// Edits the text of kubeadm's ClusterConfiguration; `edit` returns `None` where it is to stay
    /// as it is. Returns whether it was written.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] where kubeadm keeps none, and [`ObjectError::Changed`] where
    /// another client has written it in the meantime; else when it can't be read, edited or
    /// written.
    pub async fn edit_cluster_configuration<E>(
        &self,
        edit: impl FnOnce(&str) -> Result<Option<String>, E>,
    ) -> Result<bool, EditError<E>> {
        let text = self.cluster_configuration().await?;
        let old = text.ok_or_else(|| ObjectError::Missing(CONFIG.object()))?;
        let Some(new) = edit(&old).map_err(EditError::Edit)?.filter(|new| *new != old) else {
            return Ok(false);
        };
        self.replace_field(&CONFIG.field(), &old, &new).await?;
        Ok(true)
    }
}
