//! The schedule: the instants of a cron expression in a time zone.
//!
//! This file has the arithmetic, without a clock; [`Ticker`] waits. DST changes are taken into
//! account. A time of day that is skipped comes as much later as the clocks were put forward, and a
//! skipped midnight with the first instant of the day. A time of day that is repeated counts the
//! first time only, also for an hourly expression.

mod ticker;

#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::Timestamp;
use crate::settings::{Cron, Zone};

pub use ticker::{SchedulerFailed, Tick, Ticker};

/// No zone has ever put its clocks forward by more than a day.
const MAX_GAP: Duration = Duration::from_secs(25 * 3600);

/// The number of candidates in a search: more than the seconds of the longest gap, so that an
/// expression for every second is found on the other side of it.
const MAX_CANDIDATES: usize = 100_000;

/// The instants at which passes are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
    delay: Duration,
}

impl Schedule {
    /// The occurrences of the expression in the zone, each later by the delay.
    #[must_use]
    pub fn new(cron: Cron, zone: Zone, delay: Duration) -> Self {
        Self { cron, zone, delay }
    }

    /// The first occurrence after this time.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_second(after.minus(self.delay).seconds()).ok()?;
        let next = self.next_without_delay(after)?;
        Some(Timestamp::from_seconds(next.as_second()).plus(self.delay))
    }

    /// Whether there was an occurrence after `last`, up to and including `now`.
    #[must_use]
    pub fn missed(&self, last: Timestamp, now: Timestamp) -> bool {
        self.next(last).is_some_and(|next| next <= now)
    }

    /// Times of day are in the order of their instants, except those in a gap: a skipped 02:45
    /// comes at 03:45, which may be later than the next one. So the search stops at the first that
    /// is in no gap, and the earliest is taken.
    fn next_without_delay(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let zone = self.zone.time_zone();
        let mut earliest_in_gap: Option<jiff::Timestamp> = None;
        for civil in self.cron.after(search_start(&zone, after)).take(MAX_CANDIDATES) {
            let candidate = zone.to_ambiguous_timestamp(civil);
            let in_gap = matches!(candidate.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
            let Ok(instant) = candidate.compatible() else { break };
            let earliest = earliest_in_gap.map_or(instant, |other| other.min(instant));
            match (instant > after, in_gap) {
                (false, _) => {}
                (true, true) => earliest_in_gap = Some(earliest),
                (true, false) => return Some(earliest),
            }
        }
        earliest_in_gap
    }
}

/// The time of day from which candidates can be later than this instant. Shortly after a gap it is
/// the time without the change, because a skipped time may still be to come.
fn search_start(zone: &TimeZone, after: jiff::Timestamp) -> DateTime {
    let offset = zone.to_offset(after);
    let before = after.saturating_sub(MAX_GAP).map_or(offset, |before| zone.to_offset(before));
    offset.min(before).to_datetime(after)
}

/// The delay of this node, the same at every start: it spreads the nodes of a cluster evenly over
/// `spread`, in whole seconds from zero up to but without `spread`. `machine_id` is the content of
/// /etc/machine-id without the line end.
#[must_use]
pub fn stable_delay(machine_id: &str, spread: Duration) -> Duration {
    let digest = digest(&SHA256, format!("kubecertd{machine_id}").as_bytes());
    let share = digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let seconds = (u128::from(share) * u128::from(spread.as_secs())) >> 64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
