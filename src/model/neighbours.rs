//! What is known of the peers of a service on other nodes.

/// The peers that carry on while a service of this node is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// etcd's members.
    Members {
        /// How many there are, this node's included.
        all: usize,
        /// How many of the others say that they are healthy.
        healthy: usize,
    },
    /// The cluster's API servers.
    Servers {
        /// How many others there are.
        others: usize,
        /// How many of them are ready.
        ready: usize,
    },
}
