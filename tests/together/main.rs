//! Concurrent work on one node: daemons, commands, and kubeadm's way of renewing. Nothing is lost,
//! nothing hangs, and nothing is left incomplete.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and run other programs"
)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../daemon/harness.rs"]
mod harness;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../daemon/notify_socket.rs"]
mod notify_socket;

mod commands;
mod kubeadm;
mod read_only;
