//! What time it is.

use std::time::UNIX_EPOCH;

use crate::model::Timestamp;

/// Tells the time. Everything that depends on it takes one of these, so that tests can say what
/// time it is.
pub trait Clock: Send + Sync {
    /// The present time, in whole seconds.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        let seconds = match std::time::SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Timestamp::from_seconds(seconds)
    }
}

/// The date and the time of day where this machine is, as a part of a file's name:
/// `2026-11-22-05-30-00`. On another machine's disk it is in UTC.
#[must_use]
pub fn local_stamp(root: &super::Root, at: Timestamp) -> String {
    let here = jiff::Timestamp::from_second(at.seconds()).ok().filter(|_| root.is_host());
    let civil =
        here.map_or_else(|| at.civil(), |at| at.to_zoned(jiff::tz::TimeZone::system()).datetime());
    civil.strftime("%Y-%m-%d-%H-%M-%S").to_string()
}

/// A clock that stands still: for `--at TIME` and for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
