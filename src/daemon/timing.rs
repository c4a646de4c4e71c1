//! Decides when passes are made besides the schedule: the first one, and the one after a renewal
//! had to wait.

use std::time::Duration;

use super::pass_runner::PassCause;
use super::schedule::Schedule;
use crate::model::{Agreement, Awaited, ClockTrust, Deferral, Timestamp};
use crate::pass::Report;
use crate::pass::rotation::RotationReport;
use crate::plan::Trigger;
use crate::state::PassMemory;

/// The wait for a clock that is not trusted.
const CLOCK_RECHECK: Duration = Duration::from_secs(60);

/// The wait for a deferral without a known end.
const HOLD_RECHECK: Duration = Duration::from_secs(300);

/// The wait between two passes during a rotation of the root CA.
const ROTATION_STEP: Duration = Duration::from_secs(5);

/// The wait where this node can do nothing about it.
const ROTATION_RECHECK: Duration = Duration::from_secs(60);

/// The longest wait for a deferral.
const MAX_RECHECK: Duration = Duration::from_secs(3_600);

/// Whether the daemon is new on this node: then it only observes, until its first scheduled pass.
///
/// The end is a time of the schedule in force, by a trusted clock: one that is ahead could
/// set it years from now, and one that is behind would skip the observation when it is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The daemon acts.
    Over,
    /// It observes until this time.
    Until(Timestamp),
    /// It observes, and no pass has found the clock trusted yet; until this time, if it does now.
    Undecided(Option<Timestamp>),
}

impl Observation {
    /// Returns the end of the observation for a pass that begins now; `None` where it is over.
    pub(super) fn begin_pass(&mut self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let next = schedule.next(now);
        match self {
            Self::Over => None,
            Self::Until(until) => next.map(|next| next.min(*until)).filter(|until| now < *until),
            Self::Undecided(until) => {
                *until = next;
                next
            }
        }
    }

    /// Keeps the end that the last pass began with, if that pass trusted the clock.
    pub(super) fn finish_pass(&mut self, clock_trust: Option<&ClockTrust>) {
        let trusted =
            matches!(clock_trust, Some(ClockTrust::Trusted | ClockTrust::TrustedUnsynchronised));
        if let Self::Undecided(until) = *self
            && trusted
        {
            *self = until.map_or(Self::Over, Self::Until);
        }
    }

    /// Ends with a scheduled pass, unless its time is one of a clock that no pass has trusted yet.
    pub(super) fn end_by_schedule(&mut self) {
        if matches!(self, Self::Until(_)) {
            *self = Self::Over;
        }
    }
}

/// What the daemon begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The time up to which scheduled passes were made.
    pub(super) scheduled_until: Timestamp,
    /// Whether it only observes.
    pub(super) observation: Observation,
    /// The pass that is due at once.
    pub(super) first_pass: Option<PassCause>,
}

/// Plans the first pass, if one is due at the start, and restores the schedule's memory.
pub(super) fn plan_first_pass(
    state: &PassMemory,
    unfinished: bool,
    schedule: &Schedule,
    now: Timestamp,
) -> Beginning {
    let Some(until) = state.scheduled_until else {
        return Beginning {
            scheduled_until: now,
            observation: Observation::Undecided(None),
            first_pass: Some(PassCause::new("first start on this node", Trigger::Other)),
        };
    };
    Beginning {
        scheduled_until: until.min(now),
        observation: state.observing_until.map_or(Observation::Over, Observation::Until),
        // A pass that failed or was interrupted is made again, its services included.
        first_pass: (unfinished && !schedule.missed(until, now))
            .then(|| PassCause::new("the last pass before the start failed", Trigger::Scheduled)),
    }
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
    let rotation = report.rotation.as_ref().filter(|one| !one.is_over);
    let unknown = report.rotation_trouble.as_ref().map(|_| ROTATION_RECHECK);
    let rotation = rotation.map(rotation_delay).or(unknown);
    report.deferred.iter().map(delay).chain(rotation).min()
}

/// The wait until this node goes on with a rotation of the root CA. An operator's order changes a
/// file, which the watcher sees on the node where it is given.
fn rotation_delay(report: &RotationReport) -> Duration {
    let Agreement { from, to, .. } = report.agreement;
    let is_settled = from == to && to == report.goal && report.is_done;
    if is_settled || report.is_paused || report.held.is_some() {
        ROTATION_RECHECK
    } else {
        ROTATION_STEP
    }
}

/// Draws a random number from 0 to 1, so that nodes do not retry all at once.
pub(super) fn random_jitter() -> f64 {
    let mut byte = [0_u8; 1];
    // Without random numbers the waits are the same on every node, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Cron, Zone};

    const DAY: Duration = Duration::from_secs(86_400);

    /// 2027-01-15T12:00:00Z.
    const NOON: Timestamp = Timestamp::from_seconds(1_800_014_400);

    fn midnight() -> Schedule {
        let zone = Zone::Named(jiff::tz::TimeZone::UTC);
        Schedule::new(Cron::midnight(), zone, Duration::ZERO)
    }

    fn later(hours: u64) -> Timestamp {
        NOON.plus(Duration::from_secs(hours * 3_600))
    }

    fn not_trusted() -> ClockTrust {
        ClockTrust::NotTrusted("it is 1970".to_owned())
    }

    fn first_start() -> Observation {
        plan_first_pass(&PassMemory::default(), false, &midnight(), NOON).observation
    }

    #[test]
    fn new_daemon_observes_until_first_tick() {
        let mut observation = first_start();
        assert_eq!(observation.begin_pass(&midnight(), NOON), Some(later(12)));
        // The pass is under way when the tick comes.
        let mut early = observation;
        early.end_by_schedule();
        early.finish_pass(Some(&ClockTrust::Trusted));
        assert_eq!(early.begin_pass(&midnight(), later(12)), None);

        observation.finish_pass(Some(&ClockTrust::Trusted));
        assert_eq!(observation.begin_pass(&midnight(), later(11)), Some(later(12)));
        observation.end_by_schedule();
        assert_eq!(observation.begin_pass(&midnight(), later(11)), None);
    }

    #[test]
    fn observation_never_lasts_beyond_next_scheduled_time() {
        // As a clock that was two years ahead has set it.
        let ahead = Some(NOON.plus(DAY * 730));
        let scheduled_until = ahead;
        let state = PassMemory { observing_until: ahead, scheduled_until, ..PassMemory::default() };
        let mut beginning = plan_first_pass(&state, false, &midnight(), NOON);
        assert_eq!(beginning.scheduled_until, NOON);
        assert_eq!(beginning.observation.begin_pass(&midnight(), NOON), Some(later(12)));
        beginning.observation.end_by_schedule();
        assert_eq!(beginning.observation, Observation::Over);
    }

    #[test]
    fn observation_is_not_decided_by_untrusted_clock() {
        let mut observation = first_start();
        let long_ago = Timestamp::from_seconds(1_000);
        for clock_trust in [Some(&not_trusted()), None] {
            assert_eq!(
                observation.begin_pass(&midnight(), long_ago),
                Some(Timestamp::from_seconds(86_400))
            );
            observation.finish_pass(clock_trust);
            // The clock is corrected, and midnight was missed for fifty years.
            observation.end_by_schedule();
        }
        assert_eq!(observation.begin_pass(&midnight(), NOON), Some(later(12)));
        observation.finish_pass(Some(&ClockTrust::TrustedUnsynchronised));
        assert_eq!(observation, Observation::Until(later(12)));
    }
}
