//! Listeners on this machine: a loopback address, or a unix socket.

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

/// Why listening failed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be used, for example because another process does.
    #[error("can't listen at {address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket can't be created.
    #[error("can't listen at {path}: {source}")]
    Socket {
        /// The socket.
        path: AbsolutePath,
        /// The system's reason.
        source: io::Error,
    },
    /// Another program listens there.
    #[error("{0} is in use by another program")]
    Taken(AbsolutePath),
    /// A file that is no socket has the name.
    #[error("{0} is not a socket")]
    NotASocket(AbsolutePath),
    /// The directory can't be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A listener, which closes when the value is dropped.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _name: SocketFile },
}

/// The name of a socket, removed when the value is dropped.
#[derive(Debug)]
struct SocketFile {
    dir: Dir,
    name: OsString,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket that is left is replaced by the next listener.
        let _ = self.dir.remove(&self.name);
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

    /// Listens at a socket for its owner and group, and replaces one that an exited process left.
    ///
    /// # Errors
    /// When another program listens there, the file is no socket, or the system refuses.
    pub fn unix(root: &Root, path: &AbsolutePath) -> Result<Self, ListenError> {
        let dir = root.open_dir(path.as_path().parent().unwrap_or(Path::new("/")))?;
        let name = path.as_path().file_name().unwrap_or_default().to_owned();
        // A path through the descriptor leads nowhere else and is never too long for the kernel.
        let place = PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())).join(&name);
        if let Some(stat) = dir.stat(&name)? {
            if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFSOCK {
                return Err(ListenError::NotASocket(path.clone()));
            }
            if !is_left_behind(&place) {
                return Err(ListenError::Taken(path.clone()));
            }
            dir.remove(&name)?;
        }
        let failed = |source| ListenError::Socket { path: path.clone(), source };
        let listener = UnixListener::bind(&place).map_err(failed)?;
        let file = SocketFile { dir, name };
        let mode = Mode::from_bits_truncate(0o660);
        // A user who could put a symlink there could as well have replaced the directory.
        fchmodat(&file.dir, file.name.as_os_str(), mode, FchmodatFlags::FollowSymlink)
            .map_err(|e: Errno| failed(e.into()))?;
        Ok(Self(Kind::Unix { listener, _name: file }))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// When the system refuses; a later call may succeed.
    pub async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => Box::new(listener.accept().await?.0),
            Kind::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

/// Whether no process listens at a socket any more. A listener that is merely busy is not waited
/// for.
fn is_left_behind(socket: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let knock = || {
        let knock = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(knock.as_raw_fd(), &UnixAddr::new(socket)?)
    };
    knock() == Err(Errno::ECONNREFUSED)
}
