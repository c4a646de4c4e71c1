//! The copies of `ca.crt` that kube-controller-manager writes into every namespace: they are only
//! compared.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::Deserialize;

use crate::cluster::error::shown;
use crate::cluster::exchange::Listing;
use crate::cluster::{ClusterApi, ObjectError};

/// How many of the outdated copies are named.
const NAMED: usize = 5;

/// The copies of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedCopies {
    /// How many there are.
    pub total: usize,
    /// How many have another content than is wanted.
    pub outdated: usize,
    /// The first few of those: namespace and name.
    pub named: Vec<String>,
}

/// What is read of an object: never the token.
#[derive(Deserialize)]
struct Copy {
    metadata: ObjectMeta,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "ca.crt")]
    ca: Option<String>,
}

impl ClusterApi {
    /// Compares the ConfigMaps `kube-root-ca.crt` of all namespaces with the bytes of a `ca.crt`.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn observe_root_ca_config_maps(
        &self,
        wanted: &[u8],
    ) -> Result<PublishedCopies, ObjectError> {
        let listing = Listing {
            kind: "ConfigMaps kube-root-ca.crt",
            path: ConfigMap::url_path(&(), None),
            fields: Some("metadata.name=kube-root-ca.crt"),
        };
        self.copies(&listing, |found| found.as_bytes() == wanted).await
    }

    /// Compares the Secrets of service accounts' tokens in all namespaces with the bytes of a
    /// `ca.crt`.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn observe_token_secrets(
        &self,
        wanted: &[u8],
    ) -> Result<PublishedCopies, ObjectError> {
        let listing = Listing {
            kind: "Secrets of service accounts' tokens",
            path: Secret::url_path(&(), None),
            fields: Some("type=kubernetes.io/service-account-token"),
        };
        let wanted = BASE64_STANDARD.encode(wanted);
        self.copies(&listing, |found| found == wanted).await
    }

    async fn copies(
        &self,
        listing: &Listing,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<PublishedCopies, ObjectError> {
        let mut copies = PublishedCopies::default();
        let take = |copy: Copy| {
            copies.total += 1;
            let found = copy.data.and_then(|data| data.ca);
            if found.is_some_and(|found| is_wanted(&found)) {
                return;
            }
            copies.outdated += 1;
            if copies.named.len() < NAMED {
                let ObjectMeta { namespace, name, .. } = copy.metadata;
                let text = |part: Option<String>| shown(&part.unwrap_or_default());
                copies.named.push(format!("{}/{}", text(namespace), text(name)));
            }
        };
        self.for_each(listing, take).await?;
        Ok(copies)
    }
}
