//! For the tests of all that is asked over the system bus: a bus of their own.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zbus::connection::Builder;
use zbus::export::futures_core::Stream;
use zbus::{Connection, Message, MessageStream};

/// Longer than anything takes here.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A bus of its own, gone with the value.
pub struct Bus {
    folder: tempfile::TempDir,
    daemon: Child,
}

/// What has been taken a name for on a bus, and the calls that come in.
pub struct Served {
    pub connection: Connection,
    calls: MessageStream,
}

impl Bus {
    /// `None`, said aloud, where there is no dbus-daemon.
    pub async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><policy context=\"default\"><allow \
             send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            socket(folder.path()).display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command
            .arg("--nofork")
            .arg("--config-file")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let Ok(daemon) = command.spawn() else {
            eprintln!("SKIPPED: there is no dbus-daemon here");
            return None;
        };
        let bus = Self { folder, daemon };
        let began = Instant::now();
        while bus.builder().build().await.is_err() {
            assert!(began.elapsed() < LIMIT, "dbus-daemon does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(bus)
    }

    /// For a connection to it.
    pub fn builder(&self) -> Builder<'static> {
        builder(self.folder.path())
    }

    /// Takes a name on it.
    pub async fn serve(&self, name: &'static str) -> Served {
        let connection = self.builder().build().await.unwrap();
        let calls = MessageStream::from(&connection);
        connection.request_name(name).await.unwrap();
        Served { connection, calls }
    }

    /// Ends the bus under everybody's feet.
    pub fn end(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Served {
    /// The next message that comes in; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| Pin::new(&mut self.calls).poll_next(context)).await?.ok()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where a bus in this folder listens.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("bus")
}

/// For a connection to a bus in this folder.
pub fn builder(folder: &Path) -> Builder<'static> {
    Builder::address(format!("unix:path={}", socket(folder).display()).as_str())
}
