//! Tests with sockets of this test's own on the loopback, listed by the real kernel, and with
//! answers that the kernel seldom gives.

use std::io;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use super::wire::Part;
use super::*;
use crate::common::requirements::skip;

/// Both ends of a connection.
struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new(address: &str) -> Self {
        Self::to(TcpListener::bind(address).unwrap(), None)
    }

    /// Connects to that listener, at its own address or at the given one.
    fn to(listener: TcpListener, host: Option<&str>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let client = match host {
            Some(host) => TcpStream::connect((host, port)).unwrap(),
            None => TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
        };
        let (server, _) = listener.accept().unwrap();
        Self { listener, client, server }
    }
}

/// Returns the number of the socket behind a descriptor of this process.
fn inode(socket: &impl std::os::fd::AsFd) -> u64 {
    nix::sys::stat::fstat(socket).unwrap().st_ino
}

/// Returns this socket from the kernel's list. Others on the same port are skipped: tests run side
/// by side.
fn connection(socket: &TcpStream) -> Option<Connection> {
    connection_to(socket.peer_addr().unwrap().port(), inode(socket))
}

fn connection_to(port: u16, inode: u64) -> Option<Connection> {
    let mut found = established(port).unwrap();
    assert!(found.iter().all(|connection| connection.remote.port() == port));
    found.retain(|connection| connection.inode == inode);
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

fn listener(port: u16, inode: u64) -> Option<Listener> {
    let mut found = listeners(port).unwrap();
    assert!(found.iter().all(|listener| listener.local.port() == port));
    found.retain(|listener| listener.inode == inode);
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

#[test]
fn listener_is_found_by_port() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let socket = TcpListener::bind(address).unwrap();
        let (local, inode) = (socket.local_addr().unwrap(), inode(&socket));
        let found = listener(local.port(), inode).unwrap();
        assert_eq!(found.local, local);
        assert!(found.cookie != 0 && found.cookie != u64::MAX);
        assert_eq!(listener(local.port(), inode).unwrap(), found, "the cookie stays");
        drop(socket);
        assert_eq!(listener(local.port(), inode), None);
    }
}

#[test]
fn listeners_and_connections_are_distinguished() {
    let pair = Pair::new("127.0.0.1:0");
    let (listening, connected) =
        (pair.listener.local_addr().unwrap().port(), pair.client.local_addr().unwrap().port());
    assert_eq!(listener(connected, inode(&pair.client)), None);
    assert_eq!(listener(listening, inode(&pair.server)), None);
    assert_eq!(connection_to(listening, inode(&pair.listener)), None);
    assert_eq!(
        connection_to(listening, inode(&pair.server)),
        None,
        "its remote port is the client's"
    );
}

#[test]
fn connection_is_found_by_remote_port() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let pair = Pair::new(address);
        let found = connection(&pair.client).unwrap();
        assert_eq!(
            (found.local, found.remote),
            (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap())
        );
        assert_eq!(
            (found.state, found.uid),
            (TcpState::Established, nix::unistd::Uid::effective().as_raw())
        );
        let back = connection(&pair.server).unwrap();
        assert_eq!((back.local, back.remote), (found.remote, found.local));
        assert_ne!(back.cookie, found.cookie);
    }
}

#[test]
fn mapped_ipv4_connection_is_shown_as_ipv4() {
    let pair = Pair::to(TcpListener::bind("[::]:0").unwrap(), Some("127.0.0.1"));
    let found = connection(&pair.server).unwrap();
    assert_eq!((found.remote, found.family), (pair.client.local_addr().unwrap(), Family::V6));
}

#[test]
fn half_closed_connection_is_listed() {
    let Pair { listener, client, server } = Pair::new("127.0.0.1:0");
    drop(server);
    let found = connection_to(listener.local_addr().unwrap().port(), inode(&client)).unwrap();
    assert_eq!(found.state, TcpState::CloseWait);
}

/// Returns `None`, and the test is skipped, where it can't be tried.
fn destroyed(connection: &Connection) -> Option<Destroyed> {
    let outcome = destroy(connection).unwrap();
    if matches!(outcome, Destroyed::Unsupported | Destroyed::NotPermitted) {
        skip(&format!("needs root, and a kernel that destroys connections: {outcome:?}"));
        return None;
    }
    Some(outcome)
}

#[test]
fn only_the_given_connection_is_destroyed() {
    for (address, host) in [("127.0.0.1:0", None), ("[::1]:0", None), ("[::]:0", Some("127.0.0.1"))]
    {
        let one = Pair::to(TcpListener::bind(address).unwrap(), host);
        let other = Pair::to(one.listener.try_clone().unwrap(), host);
        let (port, number) = (one.client.local_addr().unwrap().port(), inode(&one.server));
        // The server's side, so that an IPv4 connection of an IPv6 socket is among them.
        let found = connection(&one.server).unwrap();
        let Some(outcome) = destroyed(&found) else { return };
        assert_eq!(outcome, Destroyed::Destroyed);
        let mut buffer = [0];
        assert_eq!(
            (&one.server).read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
        assert_eq!(
            (&one.client).read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        assert_eq!(connection_to(port, number), None);
        assert!(connection(&other.server).is_some() && connection(&other.client).is_some());
        assert_eq!(destroyed(&found), Some(Destroyed::AlreadyGone));
    }
}

#[test]
fn connection_with_equal_addresses_is_kept() {
    let pair = Pair::new("127.0.0.1:0");
    let found = connection(&pair.client).unwrap();
    let earlier =
        Connection { id: found.id.with_cookie(found.cookie.wrapping_add(1)), ..found.clone() };
    let Some(outcome) = destroyed(&earlier) else { return };
    assert_eq!(outcome, Destroyed::AlreadyGone);
    assert_eq!(connection(&pair.client), Some(found));
}

#[test]
fn long_list_is_read_whole_with_small_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = |_| Pair::to(listener.try_clone().unwrap(), None);
    // Without the listeners: a process has often no more than 1,024 descriptors.
    let pairs: Vec<_> = (0..300).map(connect).map(|pair| (pair.client, pair.server)).collect();
    let port = listener.local_addr().unwrap().port();
    let request = wire::dump_request(
        Family::V4,
        Query { states: TcpState::CONNECTED, local_port: 0, remote_port: port },
    );
    for size in [1, 1000, 32 * 1024] {
        let mut expected: Vec<_> = pairs.iter().map(|(client, _)| inode(client)).collect();
        let mut found: Vec<_> =
            netlink::dump(&request, size).unwrap().iter().map(|tcp| tcp.inode).collect();
        found.retain(|inode| expected.contains(inode));
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{size}");
    }
}

#[test]
fn request_unknown_to_the_kernel_is_an_error() {
    let request = wire::dump_request(
        Family::V4,
        Query { states: TcpState::LISTEN, local_port: 0, remote_port: 0 },
    );
    // Another protocol than TCP, which has no list.
    let mut odd = request;
    odd[5] = 254;
    assert!(matches!(netlink::dump(&odd, netlink::BUFFER), Err(SocketError::Unsupported)));
}

/// Builds a message as the kernel does.
fn answer(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let request = [&kind.to_ne_bytes(), &flags.to_ne_bytes(), body].concat();
    wire::message(&request, sequence)
}

fn parts(datagram: &[u8]) -> Vec<Option<Part>> {
    wire::parts(datagram, 7).collect()
}

#[test]
fn interrupted_dump_is_recognised_by_its_flag() {
    let mut body = vec![2, 1, 0, 0];
    body.extend([0; 68]);
    let interrupted = |datagram: &[u8]| match parts(datagram).as_slice() {
        [Some(Part::Tcp { interrupted, .. })] | [Some(Part::Done { interrupted })] => *interrupted,
        other => panic!("{other:?}"),
    };
    for (kind, body) in [(20, body.as_slice()), (3, [0; 4].as_slice())] {
        assert!(interrupted(&answer(kind, 0x12, 7, body)));
        assert!(!interrupted(&answer(kind, 2, 7, body)));
    }
}

#[test]
fn errors_ends_and_foreign_messages_are_distinguished() {
    let refused = (-nix::libc::EPERM).to_ne_bytes();
    let datagram = [
        answer(2, 0, 7, &[0; 20]),
        answer(2, 0, 7, &refused),
        answer(3, 2, 7, &refused),
        answer(3, 2, 6, &[0; 4]),
        answer(1, 0, 7, b""),
    ]
    .concat();
    let expected = [
        Part::Result(Ok(())),
        Part::Result(Err(Errno::EPERM)),
        Part::Result(Err(Errno::EPERM)),
        Part::Other,
    ];
    assert_eq!(parts(&datagram), expected.map(Some));
}

#[test]
fn truncated_message_is_refused() {
    let mut body = vec![10, 1, 0, 0];
    body.extend([0; 68]);
    let whole = answer(20, 2, 7, &body);
    assert!(matches!(parts(&whole).as_slice(), [Some(Part::Tcp { .. })]));
    for length in 1..whole.len() {
        assert_eq!(parts(&whole[..length]), [None], "{length}");
    }
    // A message that claims to be shorter than its own header, or than what it holds.
    for length in [0_u32, 4, 15, 16, 20] {
        let mut odd = whole.clone();
        odd[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(parts(&odd).first(), Some(&None), "{length}");
    }
}
