//! kubelet's new client certificate by way of the cluster: a CertificateSigningRequest, which
//! kube-controller-manager approves and signs.
//!
//! It is made with kubelet's own identity, which alone gets a request for this node approved
//! without an operator (kubeadm binds `system:nodes` to the role for that). kube-controller-manager
//! deletes it after an hour.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::shown;
use super::{CONFLICT, ClusterApi, ClusterError};
use crate::formats::x509::{Certificate, NodeRequest, NodeRequestError, ReadError, certificates};
use crate::model::Digest;

/// The time limit from the request to the certificate.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(60);

/// The time from one look at the object to the next one.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The signer of kubelets' client certificates.
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// What the certificate is used for. Versions before 1.25 approve a request only with all three,
/// whatever the kind of its key is, and later ones accept them too.
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];

/// The beginning of the object's name.
const NAME_PREFIX: &str = "kubecertd-";

/// How many digits of the request's digest are in the name.
const DIGITS: usize = 32;

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningRequestError {
    /// The request is not one for the certificate of this node's kubelet.
    #[error("the signing request can't be used: {0}")]
    Request(#[from] NodeRequestError),
    /// The API refuses, with another answer than that it can't answer now.
    #[error("the CertificateSigningRequest can't be made or read: {0}")]
    Cluster(#[from] ClusterError),
    /// It was denied.
    #[error("CertificateSigningRequest {name} was denied: {reason}")]
    Denied {
        /// The object's name.
        name: String,
        /// The reason and message in its condition.
        reason: String,
    },
    /// The signer gave it up.
    #[error("kube-controller-manager can't sign CertificateSigningRequest {name}: {reason}")]
    Failed {
        /// The object's name.
        name: String,
        /// The reason and message in its condition.
        reason: String,
    },
    /// The time is over.
    #[error("CertificateSigningRequest {name}: no certificate within {seconds} s; {state}")]
    NotSigned {
        /// The object's name.
        name: String,
        /// The limit.
        seconds: u64,
        /// What it waited for in the end.
        state: String,
    },
    /// The certificate can't be read.
    #[error("the certificate in CertificateSigningRequest {name} can't be read: {source}")]
    Unreadable {
        /// The object's name.
        name: String,
        /// Why.
        source: ReadError,
    },
    /// The certificate is for another key.
    #[error("the certificate in CertificateSigningRequest {0} is not for the key of the request")]
    OtherKey(String),
}

/// Requests kubelet's client certificate from the cluster with a signing request in PEM, and waits
/// for it for up to a minute. The API may be away meanwhile. Called again with the same request,
/// it goes on with the same object.
///
/// Returns the certificate, which is for the key of the request, and those that the signer put
/// behind it. Which CA signed it is for the caller to judge: it is the one that
/// kube-controller-manager has in its signing file now.
///
/// # Errors
/// When the request is not one for this node's kubelet, the API refuses it, or it is denied or not
/// signed in time.
pub async fn request_kubelet_client(
    api: &ClusterApi,
    csr_pem: &str,
    node: &str,
) -> Result<Vec<Certificate>, SigningRequestError> {
    request_within(api, csr_pem, node, SIGNING_TIMEOUT).await
}

pub(super) async fn request_within(
    api: &ClusterApi,
    csr_pem: &str,
    node: &str,
    limit: Duration,
) -> Result<Vec<Certificate>, SigningRequestError> {
    let request = NodeRequest::parse(csr_pem.as_bytes(), node)?;
    let name = name_of(csr_pem);
    let deadline = Instant::now() + limit;
    let mut state = "no API server answered".to_owned();
    while let Ok(found) = timeout_at(deadline, read_or_create(api, &name, csr_pem)).await {
        match found {
            Ok(object) => match progress(&name, &object, &request)? {
                Progress::Signed(certificates) => return Ok(certificates),
                Progress::Waiting(reason) => state = reason,
            },
            Err(error) if error.is_of_server() => state = error.to_string(),
            // An answer was lost, and the object exists.
            Err(error) if error.code() == Some(CONFLICT) => {}
            Err(error) => return Err(error.into()),
        }
        let next = Instant::now() + POLL_INTERVAL;
        if next >= deadline {
            break;
        }
        sleep_until(next).await;
    }
    Err(SigningRequestError::NotSigned { name, seconds: limit.as_secs(), state })
}

/// The name of the object for a request: always the same one, so that a call whose answer was lost
/// makes no second object.
fn name_of(csr_pem: &str) -> String {
    let digest = Digest::of(csr_pem.as_bytes()).to_string();
    NAME_PREFIX.chars().chain(digest.chars().take(DIGITS)).collect()
}

async fn read_or_create(
    api: &ClusterApi,
    name: &str,
    csr_pem: &str,
) -> Result<CertificateSigningRequest, ClusterError> {
    let found = api.call(async |client| requests(client).get_opt(name).await).await?;
    if let Some(object) = found {
        return Ok(object);
    }
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(csr_pem.as_bytes().to_vec()),
            signer_name: SIGNER.to_owned(),
            usages: Some(USAGES.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    api.call(async |client| requests(client).create(&PostParams::default(), &object).await).await
}

fn requests(client: Client) -> Api<CertificateSigningRequest> {
    Api::all(client)
}

/// How far a request is.
enum Progress {
    Signed(Vec<Certificate>),
    Waiting(String),
}

fn progress(
    name: &str,
    object: &CertificateSigningRequest,
    request: &NodeRequest,
) -> Result<Progress, SigningRequestError> {
    let status = object.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let name = name.to_owned();
    if let Some(denied) = condition("Denied") {
        return Err(SigningRequestError::Denied { name, reason: reason_of(denied) });
    }
    if let Some(failed) = condition("Failed") {
        return Err(SigningRequestError::Failed { name, reason: reason_of(failed) });
    }
    match status.certificate {
        Some(ByteString(pem)) if !pem.is_empty() => {
            signed(name, &pem, request).map(Progress::Signed)
        }
        _ if condition("Approved").is_some() => Ok(Progress::Waiting(
            "it is approved, and kube-controller-manager has not signed it".to_owned(),
        )),
        _ => Ok(Progress::Waiting(format!(
            "it is not approved: `kubectl certificate approve {name}` approves it"
        ))),
    }
}

fn reason_of(condition: &CertificateSigningRequestCondition) -> String {
    let texts = [&condition.reason, &condition.message].into_iter().flatten();
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).map(|text| shown(text)).collect();
    if texts.is_empty() { "no reason is given".to_owned() } else { texts.join(": ") }
}

fn signed(
    name: String,
    pem: &[u8],
    request: &NodeRequest,
) -> Result<Vec<Certificate>, SigningRequestError> {
    match certificates(pem) {
        Err(source) => Err(SigningRequestError::Unreadable { name, source }),
        Ok(all) if all.first().is_some_and(|own| request.is_for_key_of(own)) => Ok(all),
        Ok(_) => Err(SigningRequestError::OtherKey(name)),
    }
}
