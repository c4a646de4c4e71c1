//! Observes a node as it is now: the expected authorities, credentials and services ([`catalog`]),
//! and their real state.
//!
//! Nothing here decides on an action, and nothing here changes anything.

pub mod catalog;
mod cluster_node;
mod conditions;
mod controller_manager;
mod copies;
mod evidence;
mod facts;
mod fingerprints;
mod kubelet;
mod lost;
mod material;
mod node;
mod profile;
mod relations;
mod renewers;
mod rotation;
mod servers;
pub mod services;
mod shared;
mod trust;
mod trust_files;
mod wanted;

pub use catalog::Catalog;
pub use cluster_node::{NodeNotFound, check_cluster_node};
pub use conditions::{Conditions, conditions};
pub use controller_manager::{
    ControllerManager, SIGNING_FLAGS, controller_manager_manifest, signing_files,
};
pub use evidence::node_name;
pub use facts::{Observation, observe};
pub use fingerprints::{fingerprints, node_role};
pub use kubelet::is_node_name;
pub use node::{Config, ConfigFile, Node, NodeError, Platform, USUAL_CONFIG, host_name};
pub use renewers::other_renewers;
pub use rotation::{
    AcceptedClients, RotationTrouble, RunningServices, find_rotation, is_for_servers, issued_by_ca,
};
pub use services::{
    PeerAccess, ServicesSeen, ask_peers, leader_lease, neighbours, one as service, services,
};
pub use trust::kubeconfig_trust;
pub use trust_files::trust_files;
pub use wanted::wanted_names;
