//! Tests of the daemon. The real program runs on a node below a temporary directory and gets
//! signals. The tests observe it from outside: its files, its log, its notifications to systemd
//! and its entries in /proc.
//!
//! A test sleeps for a fixed time only to show that nothing happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own, and send signals")]

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod notify_socket;

mod alarms;
mod clock;
mod configuration;
mod copies;
mod deferrals;
mod events;
mod failures;
mod file_changes;
mod first_start;
mod growth;
mod journal;
mod memory;
mod notify;
mod ownership;
mod passes;
mod run_once;
mod single_instance;
mod status;
mod termination;
mod watch_limits;
