//! A supervisor's end of the notification socket: everything that it is told, in order.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::harness::AT_WORK;

/// What stands in the datagrams of [`Ears::stop_up`].
const WAX: &[u8] = b"WAX";

/// A notification socket.
pub struct Ears {
    folder: TempDir,
    heard: Arc<Mutex<Vec<Heard>>>,
    deaf: Option<UnixDatagram>,
    end: Arc<AtomicBool>,
}

/// A datagram, and when it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub text: String,
}

impl Heard {
    /// The value of a line, if there is such a line.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }
}

impl Ears {
    /// A socket that listens.
    pub fn new() -> Self {
        let mut ears = Self::deaf();
        ears.listen();
        ears
    }

    /// A socket that nobody reads yet.
    pub fn deaf() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { folder, heard: Arc::default(), deaf: Some(socket), end: Arc::default() }
    }

    /// Fills the queue, so that whoever tells something has to wait until it is listened to.
    pub fn stop_up(&self) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(WAX, self.path()).is_ok() {}
    }

    /// Listens from now on.
    pub fn listen(&mut self) {
        let socket = self.deaf.take().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (heard, end) = (Arc::clone(&self.heard), Arc::clone(&self.end));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                match socket.recv(&mut buffer) {
                    Ok(length) if &buffer[..length] == WAX => {}
                    Ok(length) => {
                        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                        heard.lock().unwrap().push(Heard { at: Instant::now(), text });
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
        Path::join(self.folder.path(), "notify")
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What was heard with this key, in order.
    pub fn values(&self, key: &str) -> Vec<String> {
        self.heard().iter().filter_map(|heard| heard.value(key).map(str::to_owned)).collect()
    }

    /// How many passes have ended: what is said after one differs from what is said while it is
    /// made. What is said later may differ too, as the next time of the schedule comes nearer.
    pub fn passes(&self) -> usize {
        self.values("STATUS")
            .windows(2)
            .filter(|pair| pair[0] == AT_WORK && pair[1] != AT_WORK)
            .count()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}
