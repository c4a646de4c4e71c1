//! The debouncing of hints: they are acted on after a time without further ones. Pure: the caller
//! passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// The time without a hint after which a change is taken to be complete.
const QUIET_PERIOD: Duration = Duration::from_secs(30);

/// The time after the first hint when hints are acted on though more follow, so that a storm can't
/// defer it without limit.
const MAX_DELAY: Duration = Duration::from_mins(5);

/// The hints that were not acted on yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Debounce(Option<Hints>);

#[derive(Clone, Copy, Debug)]
struct Hints {
    first: Instant,
    last: Instant,
}

impl Debounce {
    /// Records a hint.
    pub fn record(&mut self, now: Instant) {
        let Hints { first, last } = self.0.unwrap_or(Hints { first: now, last: now });
        self.0 = Some(Hints { first, last: last.max(now) });
    }

    /// The time to act on the hints. `None` while there are none.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.0.map(|hints| (hints.last + QUIET_PERIOD).min(hints.first + MAX_DELAY))
    }

    /// Forgets the hints, which are being acted on.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The due time after hints with these pauses, in seconds after the first one.
    fn due_after(pauses: &[u64]) -> u64 {
        let first = Instant::now();
        let mut debounce = Debounce::default();
        let mut now = first;
        debounce.record(now);
        for pause in pauses {
            now += Duration::from_secs(*pause);
            debounce.record(now);
        }
        debounce.due().unwrap().duration_since(first).as_secs()
    }

    #[test]
    fn hints_are_due_after_quiet_period_or_max_delay() {
        assert_eq!(due_after(&[]), 30);
        assert_eq!(due_after(&[10, 10]), 50);
        assert_eq!(due_after(&[29; 10]), 300);
    }

    #[test]
    fn storm_of_an_hour_is_acted_on_every_five_minutes() {
        let first = Instant::now();
        let mut debounce = Debounce::default();
        let mut acted = Vec::new();
        for millisecond in 0..3_600_000 {
            let now = first + Duration::from_millis(millisecond);
            if debounce.due().is_some_and(|due| due <= now) {
                debounce.reset();
                acted.push(millisecond / 1000);
            }
            debounce.record(now);
        }
        assert_eq!(acted, (1..12).map(|time| time * 300).collect::<Vec<_>>());
    }

    #[test]
    fn no_time_is_due_without_a_hint() {
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        debounce.record(Instant::now());
        debounce.reset();
        assert_eq!(debounce.due(), None);
    }

    proptest! {
        #[test]
        fn due_time_is_after_quiet_period_and_within_max_delay(
            pauses in prop::collection::vec(0u64..60, 0..40),
        ) {
            let last: u64 = pauses.iter().sum();
            let due = due_after(&pauses);
            prop_assert!(due <= 300 && due <= last + 30);
            prop_assert!(due == last + 30 || due == 300);
        }

        #[test]
        fn further_hint_never_makes_due_time_earlier(
            pauses in prop::collection::vec(0u64..60, 1..40),
        ) {
            prop_assert!(due_after(&pauses) >= due_after(&pauses[..pauses.len() - 1]));
        }

        #[test]
        fn hint_recorded_late_changes_no_due_time(pause in 1u64..30) {
            let now = Instant::now() + Duration::from_secs(60);
            let mut debounce = Debounce::default();
            debounce.record(now);
            let due = debounce.due();
            debounce.record(now.checked_sub(Duration::from_secs(pause)).unwrap());
            prop_assert_eq!(debounce.due(), due);
        }
    }
}
