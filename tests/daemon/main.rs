//! The daemon: the real program runs on a node below a folder of its own, is sent signals, and is
//! watched from outside: by its files, its log, what it tells systemd, and what the kernel says of
//! it.
//!
//! Nothing is waited for with a fixed sleep but where a test has to show that nothing happens.
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
mod ears;
mod harness;

mod alarms;
mod alone;
mod changes;
mod clock;
mod configuration;
mod copies;
mod failures;
mod first;
mod growth;
mod holds;
mod journal;
mod killed;
mod memory;
mod notify;
mod once;
mod passes;
mod status;
mod trust;
