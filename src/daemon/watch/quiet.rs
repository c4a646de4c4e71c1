//! When hints have been quiet for long enough to be acted on. Pure: the caller tells the time.

use std::time::Duration;

use tokio::time::Instant;

/// After this long without a hint whoever was at work is taken to be done.
const QUIET: Duration = Duration::from_secs(30);

/// After this long hints are acted on though they go on, so that a storm can't put it off for ever.
const PATIENCE: Duration = Duration::from_mins(5);

/// Hints that were not acted on yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet(Option<Heard>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    first: Instant,
    last: Instant,
}

impl Quiet {
    /// Takes note of a hint.
    pub fn hint(&mut self, now: Instant) {
        let Heard { first, last } = self.0.unwrap_or(Heard { first: now, last: now });
        self.0 = Some(Heard { first, last: last.max(now) });
    }

    /// When to act on the hints. `None` while there are none.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.0.map(|heard| (heard.last + QUIET).min(heard.first + PATIENCE))
    }

    /// Forgets the hints: they are being acted on.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// When it is due after hints with these pauses between them, in seconds after the first one.
    fn due_after(pauses: &[u64]) -> u64 {
        let first = Instant::now();
        let mut quiet = Quiet::default();
        let mut now = first;
        quiet.hint(now);
        for pause in pauses {
            now += Duration::from_secs(*pause);
            quiet.hint(now);
        }
        quiet.due().unwrap().duration_since(first).as_secs()
    }

    #[test]
    fn half_a_minute_after_the_last_hint_and_five_minutes_after_the_first() {
        assert_eq!(due_after(&[]), 30);
        assert_eq!(due_after(&[10, 10]), 50);
        assert_eq!(due_after(&[29; 10]), 300);
    }

    #[test]
    fn a_storm_of_an_hour_is_acted_on_every_five_minutes() {
        let first = Instant::now();
        let mut quiet = Quiet::default();
        let mut acted = Vec::new();
        for millisecond in 0..3_600_000 {
            let now = first + Duration::from_millis(millisecond);
            if quiet.due().is_some_and(|due| due <= now) {
                quiet.reset();
                acted.push(millisecond / 1000);
            }
            quiet.hint(now);
        }
        assert_eq!(acted, (1..12).map(|time| time * 300).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_due_without_a_hint() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.due(), None);
        quiet.hint(Instant::now());
        quiet.reset();
        assert_eq!(quiet.due(), None);
    }

    proptest! {
        #[test]
        fn never_before_it_is_quiet_nor_after_the_patience_has_ended(pauses in prop::collection::vec(0u64..60, 0..40)) {
            let last: u64 = pauses.iter().sum();
            let due = due_after(&pauses);
            prop_assert!(due <= 300 && due <= last + 30);
            prop_assert!(due == last + 30 || due == 300);
        }

        #[test]
        fn one_more_hint_never_makes_it_due_earlier(pauses in prop::collection::vec(0u64..60, 1..40)) {
            prop_assert!(due_after(&pauses) >= due_after(&pauses[..pauses.len() - 1]));
        }

        #[test]
        fn a_hint_told_late_changes_nothing(pause in 1u64..30) {
            let now = Instant::now() + Duration::from_secs(60);
            let mut quiet = Quiet::default();
            quiet.hint(now);
            let due = quiet.due();
            quiet.hint(now.checked_sub(Duration::from_secs(pause)).unwrap());
            prop_assert_eq!(quiet.due(), due);
        }
    }
}
