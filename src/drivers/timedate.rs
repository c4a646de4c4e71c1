//! systemd's timedate1 on the system bus: whether the machine's clock is synchronised.
//!
//! It reports what the kernel knows, so it is right for every program that sets the clock, not for systemd's own alone.

use std::time::Duration;

use zbus::OwnedVariant;
use zbus::connection::Builder;

/// How long the service that knows it may take to answer: it is started when it is asked.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Whether the clock is synchronised with other clocks; `None` when that can't be found out within the limit.
///
/// Needs a tokio runtime with its timers and its I/O enabled; one thread is enough.
pub async fn synchronised(limit: Duration) -> Option<bool> {
    ask_within(limit, Builder::system()).await
}

/// The same, for a caller without a runtime of its own.
#[must_use]
pub fn synchronised_now(limit: Duration) -> Option<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(synchronised(limit))
}

async fn ask_within(limit: Duration, bus: Builder<'_>) -> Option<bool> {
    tokio::time::timeout(limit, ask(bus)).await.ok()?.ok()
}

async fn ask(bus: Builder<'_>) -> zbus::Result<bool> {
    const NAME: &str = "org.freedesktop.timedate1";
    let bus = bus.build().await?;
    let property = (NAME, "NTPSynchronized");
    let properties = Some("org.freedesktop.DBus.Properties");
    let answer = bus.call_method(Some(NAME), "/org/freedesktop/timedate1", properties, "Get", &property).await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    value.try_into()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::path::{Path, PathBuf};
    use std::pin::Pin;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use zbus::export::futures_core::Stream;
    use zbus::{MessageStream, Variant};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A bus of its own, gone with the value.
    struct Bus {
        folder: tempfile::TempDir,
        daemon: Child,
    }

    impl Bus {
        /// `None`, said aloud, where there is no dbus-daemon.
        async fn start() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let config = folder.path().join("bus.conf");
            let text = format!(
                "<busconfig><listen>unix:path={}</listen><policy context=\"default\"><allow send_destination=\"*\"/>\
                 <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
                socket(folder.path()).display()
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new("dbus-daemon");
            command.arg("--nofork").arg("--config-file").arg(&config).stdin(Stdio::null()).stderr(Stdio::null());
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

        fn builder(&self) -> Builder<'static> {
            builder(self.folder.path())
        }

        /// Answers every call as timedate1 with this value.
        async fn serve(&self, value: Variant<'static>) {
            let connection = self.builder().build().await.unwrap();
            let mut calls = MessageStream::from(&connection);
            connection.request_name("org.freedesktop.timedate1").await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok(call)) = poll_fn(|context| Pin::new(&mut calls).poll_next(context)).await {
                    let header = call.header();
                    if header.member().is_some_and(|member| member == "Get") {
                        let asked: (String, String) = call.body().deserialize().unwrap();
                        assert_eq!(asked, ("org.freedesktop.timedate1".into(), "NTPSynchronized".into()));
                        connection.reply(&header, &value).await.unwrap();
                    }
                }
            });
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }

    fn socket(folder: &Path) -> PathBuf {
        folder.join("bus")
    }

    fn builder(folder: &Path) -> Builder<'static> {
        Builder::address(format!("unix:path={}", socket(folder).display()).as_str())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_is_known_what_timedate_says() {
        for said in [true, false] {
            let Some(bus) = Bus::start().await else { return };
            bus.serve(said.into()).await;
            assert_eq!(ask_within(LIMIT, bus.builder()).await, Some(said));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_that_is_no_yes_or_no_is_none() {
        let Some(bus) = Bus::start().await else { return };
        bus.serve("yes".into()).await;
        assert_eq!(ask_within(LIMIT, bus.builder()).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_timedate_it_is_not_known() {
        let Some(bus) = Bus::start().await else { return };
        assert_eq!(ask_within(LIMIT, bus.builder()).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_a_bus_it_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ask_within(LIMIT, builder(folder.path())).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_bus_that_never_answers_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let _silent = std::os::unix::net::UnixListener::bind(socket(folder.path())).unwrap();
        let began = Instant::now();
        assert_eq!(ask_within(Duration::from_millis(100), builder(folder.path())).await, None);
        assert!(began.elapsed() < LIMIT);
    }
}
