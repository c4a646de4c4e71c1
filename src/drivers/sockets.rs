//! The kernel's list of TCP sockets (netlink sock_diag): the listeners on a port, the connections
//! to one, and destroying a connection that must not stay open.
//!
//! All functions work in the network namespace of the caller. Listing needs no privilege,
//! destroying needs CAP_NET_ADMIN.

mod error;
mod netlink;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use nix::errno::Errno;

pub use error::SocketError;
pub use wire::TcpState;

use wire::{Family, Query, SocketId, Tcp};

/// A TCP socket that waits for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address it listens on; `0.0.0.0` or `::` for every address. A listener on `::` may
    /// accept IPv4 connections too.
    pub local: SocketAddr,
    /// The number for [`super::processes::owners_of`].
    pub inode: u64,
    /// The kernel's cookie, unique among all sockets since boot.
    pub cookie: u64,
}

/// A TCP connection, seen from this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address of this side. An IPv4 connection of an IPv6 socket has IPv4 addresses here.
    pub local: SocketAddr,
    /// The address of the other side.
    pub remote: SocketAddr,
    /// The number for [`super::processes::owners_of`]; 0 when no process has it any more.
    pub inode: u64,
    /// The kernel's cookie, unique among all sockets since boot.
    pub cookie: u64,
    /// The user of the socket.
    pub uid: u32,
    /// The state of the connection.
    pub state: TcpState,
    family: Family,
    id: SocketId,
}

/// The result of destroying a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// It is closed: both sides see that it was aborted.
    Destroyed,
    /// The connection did not exist any more. Another one with the same addresses is not touched.
    AlreadyGone,
    /// The kernel lacks the support (CONFIG_INET_DIAG_DESTROY).
    Unsupported,
    /// This process lacks the privilege (CAP_NET_ADMIN).
    NotPermitted,
}

/// Lists the TCP listeners on a local port, IPv4 and IPv6.
///
/// # Errors
/// When the kernel can't or does not answer.
pub fn listeners(port: u16) -> Result<Vec<Listener>, SocketError> {
    let found = tcp(Query { states: TcpState::LISTEN, local_port: port, remote_port: 0 })?;
    let found = found
        .into_iter()
        .filter(|tcp| tcp.id.local_port() == port && tcp.state == TcpState::Listen);
    Ok(found
        .map(|tcp| Listener {
            local: tcp.id.local(tcp.family),
            inode: tcp.inode,
            cookie: tcp.id.cookie(),
        })
        .collect())
}

/// Lists the TCP connections to a remote port, IPv4 and IPv6, from the time they are established
/// until both sides have closed them.
///
/// # Errors
/// When the kernel can't or does not answer.
pub fn established(remote_port: u16) -> Result<Vec<Connection>, SocketError> {
    let found = tcp(Query { states: TcpState::CONNECTED, local_port: 0, remote_port })?;
    Ok(found
        .into_iter()
        .filter(|tcp| tcp.id.remote_port() == remote_port)
        .map(Connection::new)
        .collect())
}

/// Destroys a connection at once, whichever process has it: both sides see that it was aborted.
///
/// # Errors
/// When the kernel does not answer, or with an unexpected error.
pub fn destroy(connection: &Connection) -> Result<Destroyed, SocketError> {
    let request = wire::destroy_request(connection.family, &connection.id);
    match netlink::command(&request)? {
        Ok(()) => Ok(Destroyed::Destroyed),
        Err(Errno::ENOENT | Errno::ESTALE) => Ok(Destroyed::AlreadyGone),
        Err(Errno::EOPNOTSUPP) => Ok(Destroyed::Unsupported),
        Err(Errno::EPERM | Errno::EACCES) => Ok(Destroyed::NotPermitted),
        Err(other) => Err(SocketError::from_errno(other)),
    }
}

fn tcp(query: Query) -> Result<Vec<Tcp>, SocketError> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        found.extend(netlink::dump(&wire::dump_request(family, query), netlink::BUFFER)?);
    }
    Ok(found)
}

impl Connection {
    fn new(tcp: Tcp) -> Self {
        let Tcp { family, state, id, uid, inode } = tcp;
        Self {
            local: id.local(family),
            remote: id.remote(family),
            inode,
            cookie: id.cookie(),
            uid,
            state,
            family,
            id,
        }
    }
}
