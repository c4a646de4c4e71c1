//! Crash safety: the real program is killed at every call to the file system, loses power after
//! every change, and gets an error at every call. It is started again each time, and has to leave
//! everything as if it had not been interrupted.
//!
//! `strace` records the calls of the program, and injects errors and signals. Each run is pinned to
//! one core, where the program makes its calls in the same order each time.
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
mod disk;
mod doubt;
mod errors;
mod full_disk;
mod kubelet;
mod new_root;
mod points;
mod power;
mod rotation;
mod secrecy;
mod strace;
mod tree;
