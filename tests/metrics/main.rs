//! Tests of the metrics with their real consumers: Prometheus scrapes the daemon and evaluates the
//! shipped rules, node_exporter reads the textfile, and promtool checks the rules.
//!
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
#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod harness;
#[path = "../daemon/notify_socket.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod notify_socket;

mod http;
mod programs;
mod rules;
mod scrape;
