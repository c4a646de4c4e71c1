//! What is found of the other nodes that do the same work as a service of this one.

/// Who would carry on while a service of this node is restarted.
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
