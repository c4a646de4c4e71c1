//! Recovery of a node on which everything has expired: kubelet's client certificate, a member of a
//! cluster with several control-plane nodes, and a node that can't sign.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

#[path = "../common/mod.rs"]
mod common;

mod cluster_members;
mod expired_ca;
mod kubelet;
