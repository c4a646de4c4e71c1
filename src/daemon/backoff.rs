//! Exponential backoff with jitter for failed passes.

use std::time::Duration;

/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// The number of passes in a row that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure, and gives the wait after it. `jitter` is a random number from 0 to 1, and
    /// moves the wait by up to a fifth either way.
    pub fn next_wait(&mut self, jitter: f64) -> Duration {
        let doubled =
            FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(MAX_WAIT).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// Forgets the failures, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The number of passes in a row that failed.
    #[must_use]
    pub fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_until_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.next_wait(0.5).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        for _ in 0..100 {
            assert_eq!(backoff.next_wait(0.5), MAX_WAIT, "however often it fails");
        }
        backoff.reset();
        assert_eq!(backoff.next_wait(0.5), FIRST_WAIT);
    }

    #[test]
    fn jitter_moves_wait_by_up_to_a_fifth() {
        let wait = |jitter| Backoff::default().next_wait(jitter).as_secs();
        assert_eq!((wait(0.0), wait(1.0)), (48, 72));
    }
}
