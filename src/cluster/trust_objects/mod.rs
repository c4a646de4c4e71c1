//! The objects of the API that hold the root CA's certificate, and what a rotation does to them.
//!
//! `bundle` decides about the bytes of one list of CA certificates. `cluster_info`, `ca_bundles`
//! and `client_ca` apply it to what no other program brings up to date; each change is a patch of
//! one field that fails where the field has another content than was read. What
//! kube-controller-manager writes is only compared (`copies`). A failure in one object never keeps
//! from the others: every result names its object.

mod bundle;
mod ca_bundles;
mod client_ca;
mod cluster_info;
mod copies;
mod kubeadm;
mod report;
mod writers;

pub use bundle::{BundleDecision, BundleNeed, RootChange, reduce_roots, replace_roots};
pub use cluster_info::{ClusterInfo, TokenSignature};
pub use copies::PublishedCopies;
pub use kubeadm::EditError;
pub use report::{TrustReport, TrustState, TrustStatus};
