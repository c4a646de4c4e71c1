//! Single requests whose answers are read up to a limit, and lists that are read page by page.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::response::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ClusterApi, ObjectError};

/// The most bytes of an answer.
const MAX_BODY: usize = if cfg!(test) { 1 << 20 } else { 32 << 20 };

/// How many objects are asked for at a time. Where they are too large, fewer are.
const PAGE: u32 = 100;

/// The most pages that are read.
const MAX_PAGES: usize = 400;

/// A successful answer.
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Makes a request.
pub(super) async fn exchange(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Answer> {
    let response = client.send(request.map(Body::from)).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(kube::Error::Service)?;
    let body = body.to_bytes();
    if parts.status.is_success() {
        return Ok(Answer { headers: parts.headers, body });
    }
    let code = parts.status.as_u16();
    let status = serde_json::from_slice::<Status>(&body).unwrap_or_default();
    Err(kube::Error::Api(Status { code, ..status }.boxed()))
}

/// The objects of one kind in the whole cluster.
pub(super) struct Listing {
    /// The kind, as it is shown.
    pub kind: &'static str,
    /// The path of the list.
    pub path: String,
    /// What the fields of the objects are to be.
    pub fields: Option<&'static str>,
}

/// A part of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<T>>,
}

impl ClusterApi {
    /// Hands every object of a list over, those of the pages before a failure too. Of an object
    /// only the fields of `T` are kept.
    pub(super) async fn for_each<T: DeserializeOwned>(
        &self,
        listing: &Listing,
        mut take: impl FnMut(T),
    ) -> Result<(), ObjectError> {
        let kind = listing.kind;
        let (mut limit, mut next, mut taken) = (PAGE, None, 0);
        for _ in 0..MAX_PAGES {
            let Some(body) = self.page(listing, limit, next.as_deref()).await? else {
                limit = match limit {
                    1 => return Err(ObjectError::malformed(kind, "one of them is too large")),
                    _ => (limit / 4).max(1),
                };
                continue;
            };
            let page: Page<T> = serde_json::from_slice(&body)
                .map_err(|_| ObjectError::malformed(kind, "their list can't be read"))?;
            let items = page.items.unwrap_or_default();
            taken += items.len();
            items.into_iter().for_each(&mut take);
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(());
            }
        }
        let reason = format!("there are more than {taken}, and the others are not read");
        Err(ObjectError::malformed(kind, reason))
    }

    /// One page; `None` where it is larger than an answer may be.
    async fn page(
        &self,
        listing: &Listing,
        limit: u32,
        token: Option<&str>,
    ) -> Result<Option<Bytes>, ObjectError> {
        let mut parameters = ListParams::default().limit(limit);
        parameters.field_selector = listing.fields.map(str::to_owned);
        parameters.continue_token = token.map(str::to_owned);
        let page = self.call(async |client| {
            let request = kube::core::Request::new(&listing.path).list(&parameters);
            let request = request.map_err(kube::Error::BuildRequest)?;
            match exchange(&client, request).await {
                Ok(answer) => Ok(Some(answer.body)),
                Err(kube::Error::Service(error)) if error.is::<LengthLimitError>() => Ok(None),
                Err(error) => Err(error),
            }
        });
        page.await.map_err(|error| ObjectError::of_call(listing.kind, error))
    }
}
