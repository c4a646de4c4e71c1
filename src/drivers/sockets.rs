//! The kernel's own list of TCP sockets (netlink sock_diag): who listens on a port, which
//! connections lead to one, and the end of a connection that must not live on.
//!
//! All of it is about the network namespace that the caller is in. Listing needs no privilege,
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
    /// Where it listens; `0.0.0.0` or `::` where that is every address. A listener on `::` may take
    /// IPv4 connections too.
    pub local: SocketAddr,
    /// What [`super::processes::owners_of`] knows it by.
    pub inode: u64,
    /// What tells it from every other socket since the machine was started.
    pub cookie: u64,
}

/// A TCP connection, seen from this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// This side. An IPv4 connection of an IPv6 socket has IPv4 addresses here.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// What [`super::processes::owners_of`] knows it by; 0 when no process has it any more.
    pub inode: u64,
    /// What tells it from every other socket since the machine was started.
    pub cookie: u64,
    /// Whose it is.
    pub uid: u32,
    /// How far it has come.
    pub state: TcpState,
    family: Family,
    id: SocketId,
}

/// What became of a connection that was to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// It is no more: both sides are told that it was aborted.
    Destroyed,
    /// There was no such connection any more. Another one that has the same addresses by now is
    /// another one.
    AlreadyGone,
    /// The kernel is built without the means for it (CONFIG_INET_DIAG_DESTROY).
    Unsupported,
    /// This process may not do it (CAP_NET_ADMIN).
    NotPermitted,
}

/// The TCP listeners on a local port, IPv4 and IPv6.
///
/// # Errors
/// When the kernel can't or does not say.
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

/// The TCP connections to a remote port, IPv4 and IPv6, from the moment that they are established
/// until both sides are done.
///
/// # Errors
/// When the kernel can't or does not say.
pub fn established(remote_port: u16) -> Result<Vec<Connection>, SocketError> {
    let found = tcp(Query { states: TcpState::CONNECTED, local_port: 0, remote_port })?;
    Ok(found
        .into_iter()
        .filter(|tcp| tcp.id.remote_port() == remote_port)
        .map(Connection::new)
        .collect())
}

/// Ends a connection at once, whoever has it: both sides see that it was aborted.
///
/// # Errors
/// When the kernel does not answer, or in a way that is none of the outcomes.
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
