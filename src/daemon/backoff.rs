//! When a failed pass is tried again: soon at first, then ever later, and not at the same second on
//! every node.

use std::time::Duration;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How often in a row passes have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure. `jitter` is a random number from 0 to 1, and moves
    /// the wait by up to a fifth either way.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let doubled =
            FIRST.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// A pass succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often in a row passes have failed.
    #[must_use]
    pub fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.fail(0.5).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        for _ in 0..100 {
            assert_eq!(backoff.fail(0.5), LONGEST, "however often it fails");
        }
        backoff.reset();
        assert_eq!(backoff.fail(0.5), FIRST);
    }

    #[test]
    fn jitter_moves_a_wait_by_up_to_a_fifth() {
        let wait = |jitter| Backoff::default().fail(jitter).as_secs();
        assert_eq!((wait(0.0), wait(1.0)), (48, 72));
    }
}
