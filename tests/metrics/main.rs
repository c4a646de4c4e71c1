//! Metrics, as those read them who are meant to: the real Prometheus scrapes the daemon and judges
//! by the shipped rules, the real node_exporter reads the textfile, and promtool checks the rules
//! themselves.
//!
//! The programs are Debian's. Where they are not installed, nothing is claimed, but in CI that is a
//! failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and start other programs"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/ears.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod ears;
#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod harness;

mod asked;
mod programs;
mod rules;
mod scraped;
