//! The service manager's end of the notification socket. It records all datagrams in order.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::harness::PASS_IN_PROGRESS;

/// The content of the datagrams of [`NotifySocket::fill_queue`], which are not recorded.
const FILLER: &[u8] = b"FILLER";

/// A notification socket.
pub struct NotifySocket {
    dir: TempDir,
    received: Arc<Mutex<Vec<Datagram>>>,
    /// The socket, until a thread reads it.
    unread: Option<UnixDatagram>,
    stop: Arc<AtomicBool>,
}

/// A datagram and the time of its arrival.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub at: Instant,
    pub text: String,
}

impl Datagram {
    /// Returns the value of the line with this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }
}

impl NotifySocket {
    /// Creates a socket that is read.
    pub fn new() -> Self {
        let mut socket = Self::unread();
        socket.start_reading();
        socket
    }

    /// Creates a socket that is not read until [`Self::start_reading`].
    pub fn unread() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Self { dir, received: Arc::default(), unread: Some(socket), stop: Arc::default() }
    }

    /// Fills the queue, so that a sender blocks until the socket is read.
    pub fn fill_queue(&self) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(FILLER, self.path()).is_ok() {}
    }

    /// Starts the thread that reads the socket.
    pub fn start_reading(&mut self) {
        let socket = self.unread.take().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (received, stop) = (Arc::clone(&self.received), Arc::clone(&self.stop));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                match socket.recv(&mut buffer) {
                    Ok(length) if &buffer[..length] == FILLER => {}
                    Ok(length) => {
                        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                        received.lock().unwrap().push(Datagram { at: Instant::now(), text });
                    }
                    Err(e) => assert!(
                        matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
                        "{e}"
                    ),
                }
            }
        });
    }

    pub fn path(&self) -> PathBuf {
        Path::join(self.dir.path(), "notify")
    }

    pub fn datagrams(&self) -> Vec<Datagram> {
        self.received.lock().unwrap().clone()
    }

    /// Returns all values of this key, in order.
    pub fn values(&self, key: &str) -> Vec<String> {
        self.datagrams()
            .iter()
            .filter_map(|datagram| datagram.value(key).map(str::to_owned))
            .collect()
    }

    /// Counts the complete passes: each changes the status line from [`PASS_IN_PROGRESS`] to
    /// another one. Later status lines may differ too, as the next scheduled time comes nearer.
    pub fn completed_passes(&self) -> usize {
        self.values("STATUS")
            .windows(2)
            .filter(|pair| pair[0] == PASS_IN_PROGRESS && pair[1] != PASS_IN_PROGRESS)
            .count()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
