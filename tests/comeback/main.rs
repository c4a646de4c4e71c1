//! A node on which everything has expired comes back: kubelet's own client certificate, which the
//! others can't do without, a controller of several, and a node that can't sign.
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

mod kubelet;
mod several;
mod unable;
