//! Nothing is ever lost: the real program is killed at every call to the file system, loses its
//! power after every one, and is refused every one. It is started again each time, and has to leave
//! everything as if nothing had happened.
//!
//! `strace` records what the program calls, and makes calls fail. Each run is held on one core,
//! where the program makes its calls in the same order each time.
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
mod errors;
mod kubelet;
mod points;
mod power;
mod room;
mod secrecy;
mod strace;
mod tree;
