//! What is true on a node now: what should be there and where it really lives ([`catalog`]), and
//! what is there.
//!
//! Nothing here decides what to do about it, and nothing here changes anything.

pub mod catalog;
mod conditions;
mod copies;
mod facts;
mod kubelet;
mod material;
mod node;
mod renewers;
pub mod services;
mod shared;
mod wanted;

pub use catalog::Catalog;
pub use conditions::{Conditions, conditions};
pub use facts::{Observation, observe};
pub use node::{Config, ConfigFile, Node, NodeError, Platform, USUAL_CONFIG, host_name};
pub use renewers::other_renewers;
pub use services::{ServicesSeen, neighbours, one as service, runtime_socket, services};
pub use wanted::wanted_names;
