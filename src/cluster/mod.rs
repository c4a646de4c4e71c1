//! The cluster's API: the Lease under which the nodes restart their services one after the other,
//! the reports of the nodes in annotations of their Node objects, and the requests for kubelet's
//! client certificate.
//!
//! This is the only room that talks to the API as a client of it ([`kube`]). Every call has a time
//! limit. A client is made anew for each use from what the kubeconfig holds then, and trusts only
//! the CA certificates in it: a kubeconfig with another way to log in than a certificate, or a
//! token in it, is not used.

mod api;
mod error;
mod lease;
mod nodes;
mod signing_request;
#[cfg(test)]
pub(crate) mod tests;

pub use api::ClusterApi;
pub use error::{ClusterError, LeaseError};
pub use lease::RestartLease;
pub use nodes::{Dated, REPORT_ANNOTATION};
pub use signing_request::{SigningRequestError, request_kubelet_client};

/// The HTTP status for an object that has changed since it was read, or exists already.
const CONFLICT: u16 = 409;
