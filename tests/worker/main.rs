//! A worker node: what is watched there, and how kubelet gets another certificate once its own has
//! expired, with the help of a control-plane node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own, and serve an API")]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod profile;
mod refused;
mod request;
