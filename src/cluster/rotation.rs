//! The object of a rotation of the root CA: the ConfigMap `kube-system/kubecertd-root-ca`, which
//! holds the signed intent.
//!
//! Any user that may edit ConfigMaps can have written it: what is read here is not verified, only
//! limited in size.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client};

use super::field::MANAGER;
use super::{ClusterApi, ClusterError, ObjectError};
use crate::formats::rotation_intent::SignedIntent;

pub(super) const NAMESPACE: &str = "kube-system";

/// The name of the ConfigMap, and of the Role that lets the nodes read it.
pub(super) const NAME: &str = "kubecertd-root-ca";

/// The object, as it is shown.
const OBJECT: &str = "ConfigMap kube-system/kubecertd-root-ca";

const DOCUMENT_KEY: &str = "intent.json";
const SIGNATURES_KEY: &str = "signatures";

/// The most bytes of the document: four certificates and the names of a few hundred nodes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// The most signatures: each root makes one.
const MAX_SIGNATURES: usize = 4;

/// The most bytes of a signature: one of RSA with 16384 bits, in base64.
const MAX_SIGNATURE: usize = 2736;

/// The HTTP statuses for an object that exists already or has changed, and for one that is absent.
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// The intent as it was read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationObject {
    /// The signed intent, which is not verified.
    pub signed: SignedIntent,
    /// Changes with each write of the object.
    pub version: String,
}

impl ClusterApi {
    /// Reads the object; `None` where there is none.
    ///
    /// # Errors
    /// [`ObjectError::Malformed`] when it holds no signed intent; else when no server answers, or
    /// it refuses.
    pub async fn rotation(&self) -> Result<Option<RotationObject>, ObjectError> {
        let found = self.call(async |client| config_maps(client).get_opt(NAME).await);
        found.await.map_err(of_call)?.as_ref().map(read).transpose()
    }

    /// Creates the object.
    ///
    /// # Errors
    /// [`ObjectError::Exists`] when there is one with another content; else when no server answers,
    /// or it refuses.
    pub async fn create_rotation(
        &self,
        signed: &SignedIntent,
    ) -> Result<RotationObject, ObjectError> {
        self.write_rotation(signed, None).await
    }

    /// Replaces the object, where it still has this version.
    ///
    /// # Errors
    /// [`ObjectError::Changed`] when it has another one and another content, and
    /// [`ObjectError::Missing`] when it was deleted; else when no server answers, or it refuses.
    pub async fn replace_rotation(
        &self,
        signed: &SignedIntent,
        version: &str,
    ) -> Result<RotationObject, ObjectError> {
        self.write_rotation(signed, Some(version)).await
    }

    /// Deletes the object, where it still has this version. One that is absent is no error.
    ///
    /// # Errors
    /// [`ObjectError::Changed`] when it has another one; else when no server answers, or it
    /// refuses.
    pub async fn delete_rotation(&self, version: &str) -> Result<(), ObjectError> {
        let preconditions = Preconditions { resource_version: Some(version.to_owned()), uid: None };
        let parameters =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = self.call(async |client| config_maps(client).delete(NAME, &parameters).await);
        match deleted.await {
            Ok(_) => Ok(()),
            Err(error) => match error.code() {
                Some(NOT_FOUND) => Ok(()),
                Some(CONFLICT) => Err(ObjectError::Changed(OBJECT.to_owned())),
                _ => Err(of_call(error)),
            },
        }
    }

    /// The UID of the namespace `kube-system`, which tells one cluster from another.
    ///
    /// # Errors
    /// When it has none, no server answers, or it refuses.
    pub async fn cluster_uid(&self) -> Result<String, ObjectError> {
        let object = || format!("Namespace {NAMESPACE}");
        let found =
            self.call(async |client| Api::<Namespace>::all(client).get_metadata(NAMESPACE).await);
        let found = found.await.map_err(|error| ObjectError::of_call(object(), error))?;
        let uid = found.metadata.uid.filter(|uid| !uid.is_empty());
        uid.ok_or_else(|| ObjectError::malformed(object(), "it has no UID"))
    }

    async fn write_rotation(
        &self,
        signed: &SignedIntent,
        version: Option<&str>,
    ) -> Result<RotationObject, ObjectError> {
        let object = &config_map(signed, version);
        let parameters =
            &PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = self.call(async |client| match version {
            Some(_) => config_maps(client).replace(NAME, parameters, object).await,
            None => config_maps(client).create(parameters, object).await,
        });
        let error = match written.await {
            Ok(written) => return read(&written),
            Err(error) => error,
        };
        match error.code() {
            Some(CONFLICT) => {}
            Some(NOT_FOUND) => return Err(ObjectError::Missing(OBJECT.to_owned())),
            _ => return Err(of_call(error)),
        }
        // A server may have written it whose answer was lost.
        match self.rotation().await {
            Ok(Some(found)) if found.signed == *signed => Ok(found),
            _ if version.is_some() => Err(ObjectError::Changed(OBJECT.to_owned())),
            _ => Err(ObjectError::Exists(OBJECT.to_owned())),
        }
    }
}

fn config_maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, NAMESPACE)
}

fn of_call(error: ClusterError) -> ObjectError {
    ObjectError::of_call(OBJECT, error)
}

fn config_map(signed: &SignedIntent, version: Option<&str>) -> ConfigMap {
    let data = BTreeMap::from([
        (DOCUMENT_KEY.to_owned(), signed.document.clone()),
        (SIGNATURES_KEY.to_owned(), signed.signatures.join("\n")),
    ]);
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        resource_version: version.map(str::to_owned),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

fn read(found: &ConfigMap) -> Result<RotationObject, ObjectError> {
    let malformed = |reason: String| ObjectError::malformed(OBJECT, reason);
    let text = |key: &str| {
        let text = found.data.as_ref().and_then(|data| data.get(key));
        text.ok_or_else(|| malformed(format!("it has no key {key}")))
    };
    let (document, signatures) = (text(DOCUMENT_KEY)?, text(SIGNATURES_KEY)?);
    if document.len() > MAX_DOCUMENT {
        let reason = format!(
            "{DOCUMENT_KEY} has {} bytes, and an intent has at most {MAX_DOCUMENT}",
            document.len()
        );
        return Err(malformed(reason));
    }
    let lines = signatures.lines().map(str::trim).filter(|line| !line.is_empty());
    let signatures: Vec<_> = lines.take(MAX_SIGNATURES + 1).map(str::to_owned).collect();
    let is_signature = |line: &String| {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        line.len() <= MAX_SIGNATURE && line.bytes().all(is_base64)
    };
    match signatures.len() {
        0 => return Err(malformed(format!("{SIGNATURES_KEY} holds none"))),
        1..=MAX_SIGNATURES if signatures.iter().all(is_signature) => {}
        1..=MAX_SIGNATURES => {
            return Err(malformed(format!("{SIGNATURES_KEY} holds something else")));
        }
        _ => return Err(malformed(format!("{SIGNATURES_KEY} holds more than {MAX_SIGNATURES}"))),
    }
    let version = found.metadata.resource_version.clone();
    let version = version.ok_or_else(|| malformed("it has no resourceVersion".to_owned()))?;
    let signed = SignedIntent { document: document.clone(), signatures };
    Ok(RotationObject { signed, version })
}
