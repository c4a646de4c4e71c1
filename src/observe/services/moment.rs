//! The time of the observation by both clocks, and conversion of other times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::drivers::processes::Process;
use crate::model::{Instance, Timestamp, Uptime};
use crate::sys::{Clock, Root, uptime};

/// A point in time by both clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedAt {
    pub at: Timestamp,
    pub uptime: Uptime,
}

impl ObservedAt {
    pub fn present(root: &Root, clock: &dyn Clock) -> Result<Self, String> {
        let uptime = uptime(root)
            .map_err(|e| format!("how long the machine has been running is not known: {e}"))?;
        Ok(Self { at: clock.now(), uptime })
    }

    /// An instance with a main process. Its start is counted from boot: no step of the wall clock
    /// changes it.
    pub fn of_process(&self, id: String, process: Process) -> Result<Instance, String> {
        let since_boot = process.since_boot().map_err(|e| e.to_string())?;
        let age = self.uptime.since_boot.saturating_sub(since_boot);
        let started = Uptime { boot: self.uptime.boot.clone(), since_boot };
        Ok(Instance { id, pid: Some(process.pid), started, started_at: self.at.minus(age), age })
    }

    /// An instance of which only the wall clock time of its start is known.
    pub fn of_wall_clock(&self, id: String, started: SystemTime) -> Instance {
        let age = self.since(started);
        let since_boot = self.uptime.since_boot.saturating_sub(age);
        let started = Uptime { boot: self.uptime.boot.clone(), since_boot };
        Instance { id, pid: None, started, started_at: self.at.minus(age), age }
    }

    /// How long ago a wall clock time was; zero for a future one.
    pub fn since(&self, earlier: SystemTime) -> Duration {
        let earlier = earlier
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let seconds = self.at.seconds_since(Timestamp::from_seconds(earlier));
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BootId;

    fn moment() -> ObservedAt {
        let uptime =
            Uptime { boot: BootId("b".to_owned()), since_boot: Duration::from_secs(1_000) };
        ObservedAt { at: Timestamp::from_seconds(50_000), uptime }
    }

    #[test]
    fn process_start_is_computed_from_boot() {
        // Linux reports ticks to programs in hundredths of a second.
        let instance =
            moment().of_process("x".to_owned(), Process { pid: 7, start_ticks: 90_050 }).unwrap();
        assert_eq!(instance.started.since_boot, Duration::from_millis(900_500));
        assert_eq!((instance.age, instance.pid), (Duration::from_millis(99_500), Some(7)));
        assert_eq!(instance.started_at, Timestamp::from_seconds(49_901));
        let later =
            moment().of_process("x".to_owned(), Process { pid: 7, start_ticks: 100_001 }).unwrap();
        assert_eq!((later.age, later.started_at), (Duration::ZERO, moment().at));
    }

    #[test]
    fn wall_clock_time_is_computed_back_from_now() {
        let of = |seconds| {
            moment().of_wall_clock("x".to_owned(), UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert_eq!(of(49_900).started.since_boot, Duration::from_secs(900));
        assert_eq!(of(49_900).started_at, Timestamp::from_seconds(49_900));
        // By a clock that was set since, it would have started before boot, or in the future.
        assert_eq!(of(1).started.since_boot, Duration::ZERO);
        assert_eq!(of(60_000).started, moment().uptime);
    }
}
