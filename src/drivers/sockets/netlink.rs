//! The netlink socket: sends a request, and receives the kernel's answer in any number of parts.

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
const RECEIVE_TIMEOUT_SECONDS: i64 = 2;

/// The size of the largest part of an answer.
pub const BUFFER: usize = 32 * 1024;

/// How often an incomplete list is requested.
const MAX_ATTEMPTS: usize = 10;

/// The sequence number of the request. Each socket makes one request, so all have the same.
const SEQUENCE: u32 = 1;

/// Requests a list, and again where it was incomplete.
pub fn dump(request: &[u8], mut buffer: usize) -> Result<Vec<Tcp>, SocketError> {
    for _ in 0..MAX_ATTEMPTS {
        match Netlink::request(request, buffer)?.receive_list()? {
            List::Whole(list) => return Ok(list),
            List::Changed => {}
            List::Lost { size } => buffer = size,
        }
    }
    Err(SocketError::Unstable)
}

/// Sends a command, and waits for the kernel's result.
pub fn command(request: &[u8]) -> Result<Result<(), Errno>, SocketError> {
    Netlink::request(request, BUFFER)?.receive_result()
}

/// A socket for one request. A new one each time, so that answers can't be confused.
struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// One attempt to read a list.
enum List {
    Whole(Vec<Tcp>),
    /// The list changed meanwhile.
    Changed,
    /// A part was larger than the buffer.
    Lost {
        size: usize,
    },
}

/// A datagram of the kernel.
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
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(RECEIVE_TIMEOUT_SECONDS, 0))
            .map_err(SocketError::from_errno)?;
        let message = wire::message(request, SEQUENCE);
        let kernel = NetlinkAddr::new(0, 0);
        retry_interrupted(|| sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty()))
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

    /// Receives the kernel's next datagram; those of other senders are skipped.
    fn receive(&mut self) -> Result<Datagram<'_>, SocketError> {
        let fd = self.socket.as_raw_fd();
        let size = loop {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let received = retry_interrupted(|| {
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

/// Repeats a call that a signal interrupted.
fn retry_interrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
