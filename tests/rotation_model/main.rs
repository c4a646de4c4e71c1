//! A model of a cluster whose root CA is rotated. In every state that can be reached, each client
//! that has to reach a server can verify it and is accepted.
//!
//! All nodes are at two neighbouring levels or between them at any time: `agreement` checks that of
//! the protocol by which they agree. Within two levels, nodes depend on one another as clients and
//! servers, and by the root with which the leader signs, which may be that of any of them. So it is
//! enough to find all states that one node can be in, with every order of steps, restarts and
//! reloads, and to look at every pair of them: that is more than any number of nodes can be in at
//! once. A crash is a node that stops between two steps.
//!
//! What it does not know: API servers that are not there for a while; nodes that were left out at
//! an operator's word; webhooks and extension API servers; and what `kubeadm certs renew` signs in
//! the middle.
//!
//! The planner is the real one. Planners with a mistake are caught by the same model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod agreement;
mod front_proxy;
mod mistakes;
mod node;
mod safety;
