//! The cluster's API: the Lease under which the nodes restart their services one after the other,
//! the reports of the nodes in annotations of their Node objects, the requests for kubelet's client
//! certificate, the intent of a rotation of the root CA, and the objects that hold the root CA's
//! certificate.
//!
//! This is the only room that talks to the API as a client of it ([`kube`]). Every call has a time
//! limit. A client is made anew for each use from what the kubeconfig holds then, and trusts only
//! the CA certificates in it: a kubeconfig with another way to log in than a certificate, or a
//! token in it, is not used.

mod api;
mod error;
mod exchange;
mod field;
mod lease;
mod nodes;
mod rotation;
mod rotation_role;
mod signing_request;
#[cfg(test)]
pub(crate) mod tests;
mod trust_objects;

pub use api::ClusterApi;
pub use error::{ClusterError, LeaseError, ObjectError};
pub use lease::RestartLease;
pub use nodes::{Dated, REPORT_ANNOTATION};
pub use rotation::RotationObject;
pub use signing_request::{SigningRequestError, request_kubelet_client};
pub use trust_objects::{
    BundleDecision, BundleNeed, ClusterInfo, EditError, PublishedCopies, RootChange,
    TokenSignature, TrustReport, TrustState, TrustStatus, reduce_roots, replace_roots,
};

/// The HTTP status for an object that has changed since it was read, or exists already.
const CONFLICT: u16 = 409;
