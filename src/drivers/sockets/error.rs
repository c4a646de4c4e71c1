//! The errors of asking the kernel for its sockets.

use std::io;

use nix::errno::Errno;

/// Why the kernel's list is not known.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel does not have such a list.
    #[error(
        "the kernel can't list its TCP sockets: it is built without CONFIG_INET_DIAG, or the \
         module tcp_diag can't be loaded"
    )]
    Unsupported,
    /// The kernel did not answer.
    #[error("the kernel did not answer when it was asked for its TCP sockets")]
    TimedOut,
    /// The list changed during each attempt to read it.
    #[error("the kernel's list of TCP sockets changed each time while it was read")]
    Unstable,
    /// The answer is malformed.
    #[error("the kernel's answer about its TCP sockets can't be understood")]
    Malformed,
    /// The kernel refused.
    #[error("the kernel can't be asked about its TCP sockets: {0}")]
    Io(#[source] io::Error),
}

impl SocketError {
    pub(super) fn from_errno(errno: Errno) -> Self {
        match errno {
            // The protocol, the family or the kind of socket is not registered.
            Errno::EPROTONOSUPPORT | Errno::ENOENT | Errno::EOPNOTSUPP => Self::Unsupported,
            Errno::EAGAIN => Self::TimedOut,
            other => Self::Io(other.into()),
        }
    }
}
