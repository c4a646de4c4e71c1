//! What is known of the peers of a service on other nodes.

use super::Membership;

/// The peers that carry on while a service of this node is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// etcd's members.
    Members(EtcdMembers),
    /// The cluster's API servers.
    Servers {
        /// How many others there are.
        others: usize,
        /// How many of them are ready.
        ready: usize,
    },
}

/// The members of etcd that vote. A learner does not: etcd's quorum is counted without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdMembers {
    /// How many there are, this node's included where it votes.
    pub voters: usize,
    /// How many of them have a smaller id than this node's member.
    pub rank: usize,
    /// Whether this node's member votes; `None` where it is a learner, or was removed.
    pub own: Option<Voter>,
    /// How many of the others are healthy.
    pub healthy_others: usize,
    /// This node's member among the others; `None` where its id is no number.
    pub membership: Option<Membership>,
}

/// This node's member, which votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Whether it is healthy: it has a leader, and reads with a quorum.
    pub healthy: bool,
}
