//! The field `caBundle` of webhooks, API services and conversions of custom resources: the CA
//! certificates by which an API server verifies the servers that it calls.
//!
//! Only a bundle that holds one of the two roots is the rotation's. Other programs may own it, and
//! write their own content again: the record of the object names them.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::bundle::{RootChange, replace_roots};
use super::report::{Decided, Mode, TrustReport, TrustState};
use super::writers::last_writer;
use crate::cluster::error::shown;
use crate::cluster::exchange::Listing;
use crate::cluster::field::Field;
use crate::cluster::{ClusterApi, ObjectError};

/// The kinds of objects with such fields, and their paths.
const KINDS: [(&str, &str); 4] = [
    (
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    ),
    (
        "MutatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    ),
    ("APIService", "/apis/apiregistration.k8s.io/v1/apiservices"),
    ("CustomResourceDefinition", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
];

/// What is read of an object of any of these kinds.
#[derive(Deserialize)]
struct Object {
    metadata: ObjectMeta,
    webhooks: Option<Vec<Webhook>>,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: Option<String>,
    client_config: Option<ClientConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    ca_bundle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    ca_bundle: Option<String>,
    conversion: Option<Conversion>,
}

#[derive(Deserialize)]
struct Conversion {
    webhook: Option<Webhook>,
}

/// A bundle, and where it is.
struct Bundle {
    field: Field,
    /// The base64, as it was read.
    base64: String,
    last_writer: Option<String>,
}

impl ClusterApi {
    /// Reads all bundles. Listed are those that have one of the two roots, the damaged ones, and
    /// the kinds that could not be read.
    pub async fn observe_ca_bundles(&self, change: &RootChange) -> Vec<TrustReport> {
        self.ca_bundles(change, Mode::Observe).await
    }

    /// Gives all bundles that have one of the two roots the wanted ones. Listed are those, the
    /// damaged ones, and the kinds that could not be read.
    pub async fn update_ca_bundles(&self, change: &RootChange) -> Vec<TrustReport> {
        self.ca_bundles(change, Mode::Update).await
    }

    async fn ca_bundles(&self, change: &RootChange, mode: Mode) -> Vec<TrustReport> {
        let mut reports = Vec::new();
        for (kind, path) in KINDS {
            let listing = Listing { kind, path: path.to_owned(), fields: None };
            let mut decided = Vec::new();
            let listed = self.for_each(&listing, |object: Object| {
                decided.extend(bundles(kind, path, object).filter_map(|bundle| {
                    decide(&bundle.base64, change).transpose().map(|decision| (bundle, decision))
                }));
            });
            let listed = listed.await;
            for (bundle, decision) in decided {
                let object = bundle.field.object.clone();
                let result = match decision {
                    Ok(decided) => self.settle_bundle(bundle, decided, change, mode).await,
                    Err(reason) => Err(ObjectError::malformed(object.clone(), reason)),
                };
                reports.push(TrustReport { object, result });
            }
            if let Err(error) = listed {
                reports.push(TrustReport { object: kind.to_owned(), result: Err(error) });
            }
        }
        reports
    }

    async fn settle_bundle(
        &self,
        bundle: Bundle,
        decided: Decided,
        change: &RootChange,
        mode: Mode,
    ) -> Result<TrustState, ObjectError> {
        let Bundle { field, base64, last_writer } = bundle;
        let state = self.settle_trust(&field, &base64, decided, change, mode).await?;
        Ok(TrustState { last_writer, ..state })
    }
}

/// What becomes of a bundle; `None` where it is not the rotation's.
fn decide(base64: &str, change: &RootChange) -> Result<Option<Decided>, String> {
    let bundle = BASE64_STANDARD.decode(base64).map_err(|_| "it is not base64".to_owned())?;
    let decision = replace_roots(&bundle, change).map_err(|e| e.to_string())?;
    let encode = |content: Vec<u8>| Ok(BASE64_STANDARD.encode(content));
    decision.map(|decision| Decided::of(decision, encode)).transpose()
}

/// The bundles of an object.
fn bundles(kind: &str, path: &str, object: Object) -> impl Iterator<Item = Bundle> {
    let Object { metadata, webhooks, spec } = object;
    let (service, conversion) = spec.map_or((None, None), |spec| (spec.ca_bundle, spec.conversion));
    let of_webhooks = webhooks.into_iter().flatten().enumerate().map(|(index, webhook)| {
        let key = format!("k:{{\"name\":{:?}}}", webhook.name.unwrap_or_default());
        let steps = ["f:webhooks", &key, "f:clientConfig", "f:caBundle"].map(str::to_owned);
        let bundle = webhook.client_config.and_then(|config| config.ca_bundle);
        (format!("/webhooks/{index}/clientConfig/caBundle"), steps.to_vec(), bundle)
    });
    let steps = ["f:spec", "f:caBundle"].map(str::to_owned).to_vec();
    let of_service = ("/spec/caBundle".to_owned(), steps, service);
    let steps = ["f:spec", "f:conversion", "f:webhook", "f:clientConfig", "f:caBundle"];
    let conversion = conversion.and_then(|conversion| conversion.webhook?.client_config?.ca_bundle);
    let pointer = "/spec/conversion/webhook/clientConfig/caBundle".to_owned();
    let of_conversion = (pointer, steps.map(str::to_owned).to_vec(), conversion);
    let name = metadata.name.unwrap_or_default();
    let records = metadata.managed_fields.unwrap_or_default();
    let (kind, path) = (kind.to_owned(), path.to_owned());
    of_webhooks.chain([of_service, of_conversion]).filter_map(move |(pointer, steps, bundle)| {
        let base64 = bundle.filter(|bundle| !bundle.is_empty())?;
        let field = Field {
            object: format!("{kind} {}: {}", shown(&name), pointer.trim_start_matches('/')),
            collection: path.clone(),
            name: name.clone(),
            pointer,
        };
        Some(Bundle { field, base64, last_writer: last_writer(&records, &steps) })
    })
}
