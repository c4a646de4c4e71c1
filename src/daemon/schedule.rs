//! The schedule: which instants a cron expression means in a time zone, and when one of them has
//! come.
//!
//! Here is the arithmetic, which knows no clock; [`Ticker`] waits. Both changes of the clocks are
//! taken into account: a time of day that the spring leaves out comes as much later as the clocks
//! were put forward (midnight comes with the first instant of the day), and one that the autumn has
//! twice counts the first time only, also for an expression that comes every hour: it rests while
//! the clocks repeat it.

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
const LONGEST_GAP: Duration = Duration::from_secs(25 * 3600);

/// How many times of day are looked at in search of one that is to come: more than the seconds of
/// the longest gap, so that an expression for every second is still found on the other side of it.
const MOST_CANDIDATES: usize = 100_000;

/// When passes are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
    delay: Duration,
}

impl Schedule {
    /// Each time that the expression means in this zone, and the delay later.
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

    /// Times of day are in order of their instants, except those in a gap: 02:45 that is left out
    /// comes at 03:45, which may be later than the next one. So the search ends with the first that
    /// is in no gap, and the earliest is taken.
    fn next_without_delay(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let zone = self.zone.time_zone();
        let mut earliest_in_gap: Option<jiff::Timestamp> = None;
        for civil in self.cron.after(search_start(&zone, after)).take(MOST_CANDIDATES) {
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

/// The time of day from which on candidates can be later than this instant. Shortly after a gap
/// that is the time that the clocks would show if they had not been put forward, because what the
/// gap left out may still be to come.
fn search_start(zone: &TimeZone, after: jiff::Timestamp) -> DateTime {
    let offset = zone.to_offset(after);
    let before = after.saturating_sub(LONGEST_GAP).map_or(offset, |before| zone.to_offset(before));
    offset.min(before).to_datetime(after)
}

/// A delay of this machine, the same at every start: it spreads the machines of a cluster evenly
/// over `spread`, in whole seconds from zero up to but without `spread`. The machine's id is the
/// content of /etc/machine-id without the line end.
#[must_use]
pub fn stable_delay(machine_id: &str, spread: Duration) -> Duration {
    let digest = digest(&SHA256, format!("kubecertd{machine_id}").as_bytes());
    let share = digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let seconds = (u128::from(share) * u128::from(spread.as_secs())) >> 64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
