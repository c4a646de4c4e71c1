//! A system bus for tests.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zbus::connection::Builder;
use zbus::export::futures_core::Stream;
use zbus::{Connection, Message, MessageStream};

use crate::common::requirements::are_met;

/// Longer than any call here takes.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A bus, stopped when the value is dropped.
pub struct Bus {
    dir: tempfile::TempDir,
    daemon: Child,
}

/// A service with a name on a bus, and the calls that it receives.
pub struct Served {
    pub connection: Connection,
    calls: MessageStream,
}

impl Bus {
    /// Starts it; `None`, and the test is skipped, where there is no dbus-daemon.
    pub async fn start() -> Option<Self> {
        if !are_met(&["dbus-daemon"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><policy context=\"default\"><allow \
             send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            socket(dir.path()).display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command
            .arg("--nofork")
            .arg("--config-file")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let daemon = command.spawn().unwrap();
        let bus = Self { dir, daemon };
        let began = Instant::now();
        while bus.builder().build().await.is_err() {
            assert!(began.elapsed() < LIMIT, "dbus-daemon does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(bus)
    }

    /// Returns a builder for a connection to it.
    pub fn builder(&self) -> Builder<'static> {
        builder(self.dir.path())
    }

    /// Takes a name on it.
    pub async fn serve(&self, name: &'static str) -> Served {
        let connection = self.builder().build().await.unwrap();
        let calls = MessageStream::from(&connection);
        connection.request_name(name).await.unwrap();
        Served { connection, calls }
    }

    /// Stops the bus while it is used.
    pub fn end(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Served {
    /// Returns the next message; `None` when the bus has stopped.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| Pin::new(&mut self.calls).poll_next(context)).await?.ok()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the socket of a bus in this directory.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("bus")
}

/// Returns a builder for a connection to a bus in this directory.
pub fn builder(dir: &Path) -> Builder<'static> {
    Builder::address(format!("unix:path={}", socket(dir).display()).as_str())
}
