//! The Role that lets every node read the object of a rotation and the UID of the cluster that it
//! has to be about, and nothing else.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::field::MANAGER;
use super::rotation::{NAME, NAMESPACE};
use super::{ClusterApi, ClusterError, ObjectError};

/// The group of all kubelets.
const NODES: &str = "system:nodes";

const RBAC: &str = "rbac.authorization.k8s.io";

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

impl ClusterApi {
    /// Lets all nodes read the object of a rotation, whether or not it exists, and its namespace,
    /// which identifies the cluster: creates the Role and the RoleBinding, or brings them up to
    /// date.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn publish_role(&self) -> Result<(), ObjectError> {
        let role = role();
        match self.rbac::<Role>().await? {
            Some(found) if found.rules == role.rules => {}
            found => self.put_rbac(role, found.map(|found| found.metadata)).await?,
        }
        let binding = binding();
        match self.rbac::<RoleBinding>().await? {
            Some(found)
                if found.subjects == binding.subjects && found.role_ref == binding.role_ref => {}
            // The role of a binding can't be changed.
            Some(found) if found.role_ref != binding.role_ref => {
                self.delete_rbac::<RoleBinding>().await?;
                self.put_rbac(binding, None).await?;
            }
            found => self.put_rbac(binding, found.map(|found| found.metadata)).await?,
        }
        Ok(())
    }

    /// Removes both, as far as they exist.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn remove_role(&self) -> Result<(), ObjectError> {
        self.delete_rbac::<RoleBinding>().await?;
        self.delete_rbac::<Role>().await
    }

    async fn rbac<K: Rbac>(&self) -> Result<Option<K>, ObjectError> {
        let found =
            self.call(async |client| Api::<K>::namespaced(client, NAMESPACE).get_opt(NAME).await);
        found.await.map_err(failed::<K>)
    }

    /// Creates an object, or replaces the one with this metadata.
    async fn put_rbac<K: Rbac>(
        &self,
        mut object: K,
        found: Option<ObjectMeta>,
    ) -> Result<(), ObjectError> {
        let exists = found.is_some();
        if let Some(found) = found {
            *object.meta_mut() = ObjectMeta { managed_fields: None, ..found };
        }
        let parameters =
            &PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = self.call(async |client| {
            let api = Api::<K>::namespaced(client, NAMESPACE);
            match exists {
                true => api.replace(NAME, parameters, &object).await,
                false => api.create(parameters, &object).await,
            }
        });
        match written.await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(CONFLICT) => Err(ObjectError::Changed(name::<K>())),
            Err(error) => Err(failed::<K>(error)),
        }
    }

    async fn delete_rbac<K: Rbac>(&self) -> Result<(), ObjectError> {
        let parameters = &DeleteParams::default();
        let deleted = self.call(async |client| {
            Api::<K>::namespaced(client, NAMESPACE).delete(NAME, parameters).await
        });
        match deleted.await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(NOT_FOUND) => Ok(()),
            Err(error) => Err(failed::<K>(error)),
        }
    }
}

/// A Role or a RoleBinding.
trait Rbac:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}

impl Rbac for Role {}
impl Rbac for RoleBinding {}

fn name<K: Rbac>() -> String {
    format!("{} {NAMESPACE}/{NAME}", K::kind(&()))
}

fn failed<K: Rbac>(error: ClusterError) -> ObjectError {
    ObjectError::of_call(name::<K>(), error)
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        ..ObjectMeta::default()
    }
}

fn role() -> Role {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |resource, name, verbs: &[&str]| PolicyRule {
        api_groups: Some(list(&[""])),
        resources: Some(list(&[resource])),
        resource_names: Some(list(&[name])),
        verbs: list(verbs),
        ..PolicyRule::default()
    };
    let object = rule("configmaps", NAME, &["get", "list", "watch"]);
    // A request for a namespace counts as one in it.
    let namespace = rule("namespaces", NAMESPACE, &["get"]);
    Role { metadata: metadata(), rules: Some(vec![object, namespace]) }
}

fn binding() -> RoleBinding {
    let text = str::to_owned;
    let subject = Subject {
        api_group: Some(text(RBAC)),
        kind: text("Group"),
        name: text(NODES),
        namespace: None,
    };
    let role_ref = RoleRef { api_group: text(RBAC), kind: text("Role"), name: text(NAME) };
    RoleBinding { metadata: metadata(), role_ref, subjects: Some(vec![subject]) }
}
