//! The errors of asking the kernel for its sockets.

use std::io;

use nix::errno::Errno;

/// Why the kernel's list is not known.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is no such list.
    #[error(
        "the kernel can't list its TCP sockets: it is built without CONFIG_INET_DIAG, or the \
         module tcp_diag can't be loaded"
    )]
    Unsupported,
    /// The kernel did not answer.
    #[error("the kernel did not answer when it was asked for its TCP sockets")]
    TimedOut,
    /// The list changed each time that it was asked for.
    #[error("the kernel's list of TCP sockets changed each time while it was read")]
    Unstable,
    /// An answer that makes no sense.
    #[error("the kernel's answer about its TCP sockets makes no sense")]
    Malformed,
    /// The kernel says no.
    #[error("the kernel can't be asked about its TCP sockets: {0}")]
    Io(#[source] io::Error),
}

impl SocketError {
    pub(super) fn from_errno(errno: Errno) -> Self {
        match errno {
            // The protocol, the family or the kind of socket that nobody has registered for.
            Errno::EPROTONOSUPPORT | Errno::ENOENT | Errno::EOPNOTSUPP => Self::Unsupported,
            Errno::EAGAIN => Self::TimedOut,
            other => Self::Io(other.into()),
        }
    }
}
