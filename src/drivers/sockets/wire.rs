//! The byte format of requests and answers: `linux/netlink.h`, `linux/sock_diag.h` and
//! `linux/inet_diag.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

const IPPROTO_TCP: u8 = 6;

/// The length of a message's header.
const HEADER_BYTES: usize = 16;

/// The filter of a request.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// A bit for each state.
    pub states: u32,
    /// 0 for any.
    pub local_port: u16,
    /// 0 for any.
    pub remote_port: u16,
}

/// A socket of the kernel's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub family: Family,
    pub state: TcpState,
    pub id: SocketId,
    pub uid: u32,
    pub inode: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Open in both directions.
    Established,
    /// This side has begun to close it.
    FinWait1,
    /// This side has closed it.
    FinWait2,
    /// The other side has closed it.
    CloseWait,
    /// It waits for connections.
    Listen,
    /// Another one, by the kernel's number.
    Other(u8),
}

/// The kernel's identification of a socket (`inet_diag_sockid`): ports, addresses, interface and
/// cookie, as it sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketId([u8; 48]);

/// A message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// One socket of a list, and whether the list changed meanwhile.
    Tcp { tcp: Tcp, interrupted: bool },
    /// The end of a list.
    Done { interrupted: bool },
    /// The result of a request.
    Result(Result<(), Errno>),
    /// A message that was not requested.
    Other,
}

/// Builds a request for a list, as [`message`] takes it.
pub fn dump_request(family: Family, query: Query) -> Vec<u8> {
    let id = SocketId::of_ports(query.local_port, query.remote_port);
    request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, query.states, &id)
}

/// Builds a request to destroy a socket, as [`message`] takes it.
pub fn destroy_request(family: Family, id: &SocketId) -> Vec<u8> {
    request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, family, u32::MAX, id)
}

/// Builds type, flags and `inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: Family, states: u32, id: &SocketId) -> Vec<u8> {
    let mut request = Vec::with_capacity(60);
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([family.number(), IPPROTO_TCP, 0, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(id.0);
    request
}

/// Builds the whole message of a request: the kernel's answers carry the same sequence number.
pub fn message(request: &[u8], sequence: u32) -> Vec<u8> {
    let (kind_and_flags, body) = request.split_at_checked(4).unwrap_or((request, &[]));
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind_and_flags);
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// Parses the messages of a datagram that answer the request of that number; the last is `None`
/// where they are malformed.
pub fn parts(mut datagram: &[u8], sequence: u32) -> impl Iterator<Item = Option<Part>> {
    std::iter::from_fn(move || {
        while !datagram.is_empty() {
            let Some((header, body, rest)) = split(datagram) else {
                datagram = &[];
                return Some(None);
            };
            datagram = rest;
            if header.sequence == sequence {
                return Some(Part::parse(&header, body));
            }
        }
        None
    })
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// Splits off the first message of a datagram. Messages begin at multiples of four bytes.
fn split(datagram: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let header = Header {
        kind: u16_at(datagram, 4)?,
        flags: u16_at(datagram, 6)?,
        sequence: u32_at(datagram, 8)?,
    };
    let body = datagram.get(HEADER_BYTES..length)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, body, rest))
}

impl Part {
    fn parse(header: &Header, body: &[u8]) -> Option<Self> {
        let interrupted = header.flags & NLM_F_DUMP_INTR != 0;
        Some(match header.kind {
            SOCK_DIAG_BY_FAMILY => match Tcp::parse(body)? {
                Some(tcp) => Self::Tcp { tcp, interrupted },
                None => Self::Other,
            },
            // A list can end with an error too.
            NLMSG_DONE => match result(body) {
                Some(Err(errno)) => Self::Result(Err(errno)),
                _ => Self::Done { interrupted },
            },
            NLMSG_ERROR => Self::Result(result(body)?),
            _ => Self::Other,
        })
    }
}

/// Parses 0, or a negative error number.
fn result(body: &[u8]) -> Option<Result<(), Errno>> {
    let code = u32_at(body, 0)?.cast_signed();
    Some(if code < 0 { Err(Errno::from_raw(code.saturating_neg())) } else { Ok(()) })
}

impl Tcp {
    /// Parses an `inet_diag_msg`; `Some(None)` for a family that was not requested.
    fn parse(body: &[u8]) -> Option<Option<Self>> {
        let (&family, &state) = (body.first()?, body.get(1)?);
        let Some(family) = Family::of(family) else { return Some(None) };
        let id = SocketId(*body.get(4..)?.first_chunk()?);
        Some(Some(Self {
            family,
            state: TcpState::of(state),
            id,
            uid: u32_at(body, 64)?,
            inode: u32_at(body, 68)?.into(),
        }))
    }
}

impl Family {
    const INET: u8 = 2;
    const INET6: u8 = 10;

    fn number(self) -> u8 {
        match self {
            Self::V4 => Self::INET,
            Self::V6 => Self::INET6,
        }
    }

    fn of(number: u8) -> Option<Self> {
        match number {
            Self::INET => Some(Self::V4),
            Self::INET6 => Some(Self::V6),
            _ => None,
        }
    }
}

impl TcpState {
    /// The states of connections that are established and not closed: ESTABLISHED, FIN_WAIT1,
    /// FIN_WAIT2, CLOSE_WAIT.
    pub(super) const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;
    pub(super) const LISTEN: u32 = 1 << 10;

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Established,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            8 => Self::CloseWait,
            10 => Self::Listen,
            other => Self::Other(other),
        }
    }
}

/// Consists of ports (network order), addresses of 16 bytes, interface, and cookie.
impl SocketId {
    fn of_ports(local: u16, remote: u16) -> Self {
        let mut id = [0; 48];
        let ports = local.to_be_bytes().into_iter().chain(remote.to_be_bytes());
        // A cookie of all ones matches any; a list ignores it.
        id.iter_mut().zip(ports).for_each(|(byte, port)| *byte = port);
        Self(id)
    }

    pub fn local_port(&self) -> u16 {
        self.port(0)
    }

    pub fn remote_port(&self) -> u16 {
        self.port(2)
    }

    pub fn local(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.address(4, family), self.local_port())
    }

    pub fn remote(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.address(20, family), self.remote_port())
    }

    /// The lower half comes first, each half in the machine's byte order.
    pub fn cookie(&self) -> u64 {
        let half = |at| u64::from(u32_at(&self.0, at).unwrap_or_default());
        half(40) | half(44) << 32
    }

    #[cfg(test)]
    pub fn with_cookie(&self, cookie: u64) -> Self {
        let mut id = self.0;
        id[40..44].copy_from_slice(&(cookie as u32).to_ne_bytes());
        id[44..].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
        Self(id)
    }

    fn port(&self, at: usize) -> u16 {
        u16_at(&self.0, at).map_or(0, u16::from_be)
    }

    fn address(&self, at: usize, family: Family) -> IpAddr {
        let bytes: [u8; 16] =
            self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match (family, bytes) {
            (Family::V4, [a, b, c, d, ..]) => Ipv4Addr::new(a, b, c, d).into(),
            (Family::V6, bytes) => Ipv6Addr::from(bytes).to_canonical(),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}
