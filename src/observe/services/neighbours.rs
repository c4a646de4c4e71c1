//! The other members of etcd and API servers of the cluster, and whether they are healthy.
//!
//! Only the cluster itself knows them: a manifest names those of the time when the node joined. So
//! etcd is queried for its members, and the API for its servers; then the health of each is
//! checked.

mod answer;
mod members;
mod own_urls;
mod peers;
mod servers;
#[cfg(test)]
mod tests;

pub use peers::{PeerAccess, ask_peers};

use super::Node;
use crate::model::{Essential, Neighbours, Service};

/// Returns the other instances of an essential service of this node.
///
/// # Errors
/// A text that says why they are not known.
pub async fn neighbours(node: &Node, essential: Essential) -> Result<Neighbours, String> {
    match essential {
        Essential::EtcdMember => members::members(node).await.map(Neighbours::Members),
        Essential::ApiServer => servers::servers(node).await,
    }
}

/// Asks whether the API server that a service elects its leader through is at work. Without it the
/// service could not start.
///
/// # Errors
/// A text that says why it is not.
pub async fn leader_lease(node: &Node, service: &Service) -> Result<(), String> {
    servers::leader_lease(node, service).await
}
