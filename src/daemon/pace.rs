//! When passes are made besides the schedule: the first one, and the one after something had to
//! wait. It decides, and waits for nothing.

use std::time::Duration;

use super::schedule::Schedule;
use crate::model::{Awaited, Deferred, Timestamp};
use crate::pass::{Remember, Report};
use crate::plan::Occasion;
use crate::state::PassMemory;

/// How soon a pass is made again that waits for the clock.
const CLOCK_PACE: Duration = Duration::from_secs(60);

/// How soon a pass is made again that waits for something without a known end, and at the latest
/// for what has one.
const HOLD_PACE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(3_600));

/// What to go on from, and what the first pass is made for, if one is due at the start.
pub(super) fn begin(
    state: &PassMemory,
    unfinished: bool,
    schedule: &Schedule,
    now: Timestamp,
) -> (Remember, Option<(String, Occasion)>) {
    let Some(until) = state.scheduled_until else {
        let observing_until = schedule.next(now);
        return (
            Remember { scheduled_until: now, observing_until },
            Some(("first start on this node".to_owned(), Occasion::Other)),
        );
    };
    let remember =
        Remember { scheduled_until: until.min(now), observing_until: state.observing_until };
    // It was cut short or failed: what it was there for, its services included, is done now.
    (
        remember,
        (unfinished && !schedule.missed(until, now))
            .then(|| ("the last pass before the start failed".to_owned(), Occasion::Scheduled)),
    )
}

/// When a pass that left something waiting is made again.
pub(super) fn patience(report: &Report, now: Timestamp) -> Option<Duration> {
    let until = |time: Timestamp| {
        Duration::from_secs(u64::try_from(time.seconds_since(now)).unwrap_or(0).saturating_add(1))
    };
    let wait = |deferred: &Deferred| match deferred.awaits {
        Awaited::Clock => CLOCK_PACE,
        // His command changes files, which is seen.
        Awaited::Word => HOLD_PACE.1,
        Awaited::Moment | Awaited::AnotherDay => {
            let end = deferred.until.map_or(HOLD_PACE.0, until);
            deferred.urgent_from.map_or(end, |from| until(from).min(end)).min(HOLD_PACE.1)
        }
    };
    report.deferred.iter().map(wait).min()
}

/// A number from 0 to 1 by chance, so that nodes do not try again all at once.
pub(super) fn jitter() -> f64 {
    let mut byte = [0_u8; 1];
    // Without random numbers the waits are the same on every node, which is no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
