//! Places on this machine where somebody can connect: a loopback address, or a unix socket.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root};

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is somebody else's, say.
    #[error("{address} can't be listened at: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket can't be made.
    #[error("{path} can't be listened at: {source}")]
    Socket {
        /// The socket.
        path: AbsolutePath,
        /// The system's reason.
        source: io::Error,
    },
    /// Another program listens there.
    #[error("{0} can't be listened at: another program does")]
    Taken(AbsolutePath),
    /// Something that is no socket has the name.
    #[error("{0} can't be listened at: something else than a socket is there")]
    NotASocket(AbsolutePath),
    /// The folder can't be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where somebody can connect, as long as the value is there.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _name: SocketFile },
}

/// A socket's name, taken away with the value.
#[derive(Debug)]
struct SocketFile {
    folder: Dir,
    name: OsString,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket that stays behind is replaced by the next who listens.
        let _ = self.folder.remove(&self.name);
    }
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        listen()
            .map(|listener| Self(Kind::Tcp(listener)))
            .map_err(|source| ListenError::Address { address, source })
    }

    /// Listens at a socket for its owner and group, in the place of one that a process left behind.
    ///
    /// # Errors
    /// When another program listens there, something else than a socket is there, or the
    /// system refuses.
    pub fn unix(root: &Root, path: &AbsolutePath) -> Result<Self, ListenError> {
        let folder = root.open_dir(path.as_path().parent().unwrap_or(Path::new("/")))?;
        let name = path.as_path().file_name().unwrap_or_default().to_owned();
        // By the descriptor, the path leads nowhere else and is never too long for the kernel.
        let place =
            PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd())).join(&name);
        if let Some(stat) = folder.stat(&name)? {
            if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFSOCK {
                return Err(ListenError::NotASocket(path.clone()));
            }
            if !is_left_behind(&place) {
                return Err(ListenError::Taken(path.clone()));
            }
            folder.remove(&name)?;
        }
        let failed = |source| ListenError::Socket { path: path.clone(), source };
        let listener = UnixListener::bind(&place).map_err(failed)?;
        let file = SocketFile { folder, name };
        let mode = Mode::from_bits_truncate(0o660);
        // Whoever could put a symlink there could as well have put it in the place of the folder.
        fchmodat(&file.folder, file.name.as_os_str(), mode, FchmodatFlags::FollowSymlink)
            .map_err(|e: Errno| failed(e.into()))?;
        Ok(Self(Kind::Unix { listener, _name: file }))
    }

    /// Waits for the next who connects.
    ///
    /// # Errors
    /// When the system refuses; it may go on later.
    pub async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => Box::new(listener.accept().await?.0),
            Kind::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

/// Whether nobody listens at a socket any more. Somebody who is merely busy is not waited for.
fn is_left_behind(socket: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let knock = || {
        let knock = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(knock.as_raw_fd(), &UnixAddr::new(socket)?)
    };
    knock() == Err(Errno::ECONNREFUSED)
}
