//! The clock.

use std::time::UNIX_EPOCH;

use crate::model::Timestamp;

/// A clock. Code that depends on the time takes one, so that tests can set the time.
pub trait Clock: Send + Sync {
    /// The current time, in whole seconds.
    fn now(&self) -> Timestamp;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the only reader of the system's clock")]
    fn now(&self) -> Timestamp {
        let seconds = match std::time::SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Timestamp::from_seconds(seconds)
    }
}

/// The local date and time, as a part of a file's name: `2026-11-22-05-30-00`. In UTC for a root
/// directory that is not the running system's.
#[must_use]
pub fn local_stamp(root: &super::Root, at: Timestamp) -> String {
    let local = jiff::Timestamp::from_second(at.seconds()).ok().filter(|_| root.is_host());
    let civil =
        local.map_or_else(|| at.civil(), |at| at.to_zoned(jiff::tz::TimeZone::system()).datetime());
    civil.strftime("%Y-%m-%d-%H-%M-%S").to_string()
}

/// A clock with a fixed time: for `--at TIME` and for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
