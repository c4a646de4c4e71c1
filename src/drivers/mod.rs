//! The world outside the file system: one file for each thing that is talked to.
//!
//! What lives here asks and tells, with a limit on the time that it waits, and decides nothing.

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
