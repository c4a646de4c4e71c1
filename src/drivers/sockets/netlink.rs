//! The netlink socket: a request, and the kernel's answer in as many parts as it likes.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::SocketError;
use super::wire::{self, Part, Tcp};

/// How long the kernel may take for one part of an answer. It answers from memory.
const SECONDS: i64 = 2;

/// As large as the kernel makes a part of an answer.
pub const BUFFER: usize = 32 * 1024;

/// How often a list that was not whole is asked for.
const ATTEMPTS: usize = 10;

/// What the answers to a request are known by. Each socket makes one request, so all have the same.
const SEQUENCE: u32 = 1;

/// Asks for a list, and again where it was not whole.
pub fn dump(request: &[u8], mut buffer: usize) -> Result<Vec<Tcp>, SocketError> {
    for _ in 0..ATTEMPTS {
        match Netlink::request(request, buffer)?.receive_list()? {
            List::Whole(list) => return Ok(list),
            List::Changed => {}
            List::Lost { size } => buffer = size,
        }
    }
    Err(SocketError::Unstable)
}

/// Gives a command, and waits for what the kernel says to it.
pub fn command(request: &[u8]) -> Result<Result<(), Errno>, SocketError> {
    Netlink::request(request, BUFFER)?.receive_result()
}

/// A socket for one request. A new one each time, so that no answer can be taken for another one's.
struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// One reading of a list.
enum List {
    Whole(Vec<Tcp>),
    /// It changed while it was made.
    Changed,
    /// A part was larger than the buffer.
    Lost {
        size: usize,
    },
}

/// What came from the kernel.
enum Datagram<'a> {
    Whole(&'a [u8]),
    /// It was larger than the buffer.
    Lost {
        size: usize,
    },
}

impl Netlink {
    fn request(request: &[u8], buffer: usize) -> Result<Self, SocketError> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        );
        let socket = socket.map_err(SocketError::from_errno)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(SECONDS, 0))
            .map_err(SocketError::from_errno)?;
        let message = wire::message(request, SEQUENCE);
        let kernel = NetlinkAddr::new(0, 0);
        again(|| sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty()))
            .map_err(SocketError::from_errno)?;
        Ok(Self { socket, buffer: vec![0; buffer] })
    }

    fn receive_list(&mut self) -> Result<List, SocketError> {
        let mut list = Vec::new();
        let mut changed = false;
        loop {
            let datagram = match self.receive()? {
                Datagram::Whole(datagram) => datagram,
                Datagram::Lost { size } => return Ok(List::Lost { size }),
            };
            for part in wire::parts(datagram, SEQUENCE) {
                match part.ok_or(SocketError::Malformed)? {
                    Part::Tcp { tcp, interrupted } => {
                        changed |= interrupted;
                        list.push(tcp);
                    }
                    Part::Done { interrupted } if changed || interrupted => {
                        return Ok(List::Changed);
                    }
                    Part::Done { .. } => return Ok(List::Whole(list)),
                    Part::Result(Err(errno)) => return Err(SocketError::from_errno(errno)),
                    Part::Result(Ok(())) | Part::Other => {}
                }
            }
        }
    }

    fn receive_result(&mut self) -> Result<Result<(), Errno>, SocketError> {
        loop {
            let Datagram::Whole(datagram) = self.receive()? else {
                return Err(SocketError::Malformed);
            };
            for part in wire::parts(datagram, SEQUENCE) {
                if let Part::Result(result) = part.ok_or(SocketError::Malformed)? {
                    return Ok(result);
                }
            }
        }
    }

    /// The kernel's next datagram; what others send is passed over.
    fn receive(&mut self) -> Result<Datagram<'_>, SocketError> {
        let fd = self.socket.as_raw_fd();
        let size = loop {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let received = again(|| {
                let message = recvmsg::<NetlinkAddr>(fd, &mut slices, None, MsgFlags::MSG_TRUNC)?;
                Ok((message.bytes, message.address))
            });
            let (size, sender) = received.map_err(SocketError::from_errno)?;
            if sender.is_some_and(|sender| sender.pid() == 0) {
                break size;
            }
        };
        Ok(self.buffer.get(..size).map_or(Datagram::Lost { size }, Datagram::Whole))
    }
}

/// Does it again where a signal came between.
fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
