//! Decides when passes are made besides the schedule: the first one, and the one after a renewal
//! had to wait.

use std::time::Duration;

use super::pass_runner::PassCause;
use super::schedule::Schedule;
use crate::model::{Awaited, Deferral, Timestamp};
use crate::pass::{Report, ScheduleMemory};
use crate::plan::Trigger;
use crate::state::PassMemory;

/// The wait for a clock that is not trusted.
const CLOCK_RECHECK: Duration = Duration::from_secs(60);

/// The wait for a deferral without a known end.
const HOLD_RECHECK: Duration = Duration::from_secs(300);

/// The longest wait for a deferral.
const MAX_RECHECK: Duration = Duration::from_secs(3_600);

/// Plans the first pass, if one is due at the start, and restores the schedule's memory.
pub(super) fn plan_first_pass(
    state: &PassMemory,
    unfinished: bool,
    schedule: &Schedule,
    now: Timestamp,
) -> (ScheduleMemory, Option<PassCause>) {
    let Some(until) = state.scheduled_until else {
        let observing_until = schedule.next(now);
        return (
            ScheduleMemory { scheduled_until: now, observing_until },
            Some(PassCause::new("first start on this node", Trigger::Other)),
        );
    };
    let remember =
        ScheduleMemory { scheduled_until: until.min(now), observing_until: state.observing_until };
    // A pass that failed or was interrupted is made again, its services included.
    (
        remember,
        (unfinished && !schedule.missed(until, now))
            .then(|| PassCause::new("the last pass before the start failed", Trigger::Scheduled)),
    )
}

/// The wait until a pass that deferred something is made again.
pub(super) fn recheck_delay(report: &Report, now: Timestamp) -> Option<Duration> {
    let until = |time: Timestamp| {
        Duration::from_secs(u64::try_from(time.seconds_since(now)).unwrap_or(0).saturating_add(1))
    };
    let delay = |deferred: &Deferral| match deferred.awaits {
        Awaited::Clock => CLOCK_RECHECK,
        // The operator's command changes files, which the watcher sees.
        Awaited::Word => MAX_RECHECK,
        Awaited::Moment | Awaited::AnotherDay => {
            let end = deferred.until.map_or(HOLD_RECHECK, until);
            deferred.urgent_from.map_or(end, |from| until(from).min(end)).min(MAX_RECHECK)
        }
    };
    report.deferred.iter().map(delay).min()
}

/// Draws a random number from 0 to 1, so that nodes do not retry all at once.
pub(super) fn random_jitter() -> f64 {
    let mut byte = [0_u8; 1];
    // Without random numbers the waits are the same on every node, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
