//! systemd's timedate1 on the system bus: whether the machine's clock is synchronised.
//!
//! It reports what the kernel knows, so it is right for every program that sets the clock, not only
//! for systemd's own.

use std::time::Duration;

use zbus::OwnedVariant;
use zbus::connection::Builder;

use crate::sys::block_on;

/// How long timedate1 may take to answer: it is started on the first call.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Whether the clock is synchronised; `None` when that can't be found out within the limit.
///
/// Needs a tokio runtime with timers and I/O enabled; one thread is enough.
pub async fn synchronised(limit: Duration) -> Option<bool> {
    ask_within(limit, Builder::system()).await
}

/// Does the same for a caller without a runtime of its own.
#[must_use]
pub fn synchronised_now(limit: Duration) -> Option<bool> {
    block_on(synchronised(limit)).ok()?
}

async fn ask_within(limit: Duration, bus: Builder<'_>) -> Option<bool> {
    tokio::time::timeout(limit, ask(bus)).await.ok()?.ok()
}

async fn ask(bus: Builder<'_>) -> zbus::Result<bool> {
    const NAME: &str = "org.freedesktop.timedate1";
    let bus = bus.build().await?;
    let property = (NAME, "NTPSynchronized");
    let properties = Some("org.freedesktop.DBus.Properties");
    let answer = bus
        .call_method(Some(NAME), "/org/freedesktop/timedate1", properties, "Get", &property)
        .await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    value.try_into()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use zbus::Variant;

    use super::super::test_bus::{Bus, LIMIT, builder, socket};
    use super::*;

    /// Answers every call as timedate1 does, with this value.
    async fn serve(bus: &Bus, value: Variant<'static>) {
        let mut timedate = bus.serve("org.freedesktop.timedate1").await;
        tokio::spawn(async move {
            while let Some(call) = timedate.next().await {
                let header = call.header();
                if header.member().is_some_and(|member| member == "Get") {
                    let asked: (String, String) = call.body().deserialize().unwrap();
                    assert_eq!(
                        asked,
                        ("org.freedesktop.timedate1".into(), "NTPSynchronized".into())
                    );
                    timedate.connection.reply(&header, &value).await.unwrap();
                }
            }
        });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn synchronisation_is_read_from_timedate() {
        for said in [true, false] {
            let Some(bus) = Bus::start().await else { return };
            serve(&bus, said.into()).await;
            assert_eq!(ask_within(LIMIT, bus.builder()).await, Some(said));
        }
    }

    /// The runtime of the process outlives a connection.
    #[tokio::test(flavor = "current_thread")]
    async fn closed_connection_leaves_no_task() {
        let Some(bus) = Bus::start().await else { return };
        serve(&bus, true.into()).await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        for _ in 0..3 {
            assert_eq!(ask_within(LIMIT, bus.builder()).await, Some(true));
        }
        for _ in 0..200 {
            if tasks() <= before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} tasks instead of {before}", tasks());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn reply_without_boolean_is_none() {
        let Some(bus) = Bus::start().await else { return };
        serve(&bus, "yes".into()).await;
        assert_eq!(ask_within(LIMIT, bus.builder()).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn missing_timedate_is_unknown() {
        let Some(bus) = Bus::start().await else { return };
        assert_eq!(ask_within(LIMIT, bus.builder()).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn missing_bus_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask_within(LIMIT, builder(dir.path())).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn silent_bus_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let _silent = std::os::unix::net::UnixListener::bind(socket(dir.path())).unwrap();
        let began = Instant::now();
        assert_eq!(ask_within(Duration::from_millis(100), builder(dir.path())).await, None);
        assert!(began.elapsed() < LIMIT);
    }
}
