//! One text in an object, which is replaced only where it is still as it was read.

use hyper::header::{CONTENT_TYPE, HeaderValue};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{GetParams, Patch, PatchParams};
use kube::{Api, Resource as _};
use serde_json::{Value, json};

use super::exchange::exchange;
use super::{ClusterApi, ObjectError};

/// The name under which changes are recorded in the objects.
pub(super) const MANAGER: &str = "kubecertd";

/// The HTTP statuses for a patch whose test fails (RFC 6902), and for one that met another write.
const TEST_FAILED: u16 = 422;
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// A field of an object that holds a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The object, as it is shown.
    pub object: String,
    /// The path of the objects of its kind.
    pub collection: String,
    /// The object's name.
    pub name: String,
    /// Where in the object it is (RFC 6901).
    pub pointer: String,
}

/// A ConfigMap and one of its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigMapKey {
    pub namespace: &'static str,
    pub name: &'static str,
    /// Without the characters that a JSON pointer escapes.
    pub key: &'static str,
}

impl ConfigMapKey {
    /// The object, as it is shown.
    pub fn object(self) -> String {
        format!("ConfigMap {}/{}", self.namespace, self.name)
    }

    pub fn field(self) -> Field {
        Field {
            object: self.object(),
            collection: ConfigMap::url_path(&(), Some(self.namespace)),
            name: self.name.to_owned(),
            pointer: format!("/data/{}", self.key),
        }
    }

    /// The text in it.
    pub fn text_of(self, found: &ConfigMap) -> Result<&str, ObjectError> {
        let text = found.data.as_ref().and_then(|data| data.get(self.key));
        text.map(String::as_str).ok_or_else(|| {
            ObjectError::malformed(self.object(), format!("it has no key {}", self.key))
        })
    }
}

impl ClusterApi {
    /// Reads the ConfigMap of this key; `None` where it does not exist.
    pub(super) async fn config_map(
        &self,
        key: ConfigMapKey,
    ) -> Result<Option<ConfigMap>, ObjectError> {
        let ConfigMapKey { namespace, name, .. } = key;
        self.call(async |client| {
            Api::<ConfigMap>::namespaced(client, namespace).get_opt(name).await
        })
        .await
        .map_err(|error| ObjectError::of_call(key.object(), error))
    }

    /// Replaces a text, where it is still the old one or is the new one already: a server may have
    /// written it whose answer was lost.
    pub(super) async fn replace_field(
        &self,
        field: &Field,
        old: &str,
        new: &str,
    ) -> Result<(), ObjectError> {
        let patch = Patch::Merge(json!([
            {"op": "test", "path": field.pointer, "value": old},
            {"op": "replace", "path": field.pointer, "value": new},
        ]));
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.call(async |client| {
            let request = kube::core::Request::new(&field.collection);
            let mut request = request
                .patch(&field.name, &parameters, &patch)
                .map_err(kube::Error::BuildRequest)?;
            // The library offers this form only together with one more library.
            let form = HeaderValue::from_static("application/json-patch+json");
            request.headers_mut().insert(CONTENT_TYPE, form);
            exchange(&client, request).await
        });
        let error = match written.await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let object = || field.object.clone();
        match error.code() {
            Some(NOT_FOUND) => Err(ObjectError::Missing(object())),
            Some(TEST_FAILED | CONFLICT) => match self.field_now(field).await.as_deref() {
                Ok(now) if now == new => Ok(()),
                // It is refused for another reason.
                Ok(now) if now == old && error.code() == Some(TEST_FAILED) => {
                    Err(ObjectError::of_call(object(), error))
                }
                Ok(_) => Err(ObjectError::Changed(object())),
                Err(_) => Err(ObjectError::of_call(object(), error)),
            },
            _ => Err(ObjectError::of_call(object(), error)),
        }
    }

    /// The text that a field has now; empty where there is none.
    async fn field_now(&self, field: &Field) -> Result<String, ObjectError> {
        let answer = self.call(async |client| {
            let request = kube::core::Request::new(&field.collection);
            let request = request
                .get(&field.name, &GetParams::default())
                .map_err(kube::Error::BuildRequest)?;
            exchange(&client, request).await
        });
        let answer = answer.await.map_err(|e| ObjectError::of_call(field.object.clone(), e))?;
        let object: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| ObjectError::malformed(field.object.clone(), "it can't be read"))?;
        let text = object.pointer(&field.pointer).and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }
}
