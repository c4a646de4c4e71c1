//! Drivers for everything outside the file system, one file for each.
//!
//! A driver queries and acts, with a time limit, and decides nothing.

pub mod addresses;
pub mod command;
pub mod cri;
pub mod http;
pub mod listen;
pub mod outside;
pub mod processes;
pub mod sockets;
pub mod systemd;
#[cfg(test)]
pub(crate) mod test_bus;
pub mod timedate;
pub mod tls;
