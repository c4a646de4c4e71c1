//! Exponential backoff with jitter for failed passes.

use std::time::Duration;

/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// The longest wait for etcd's other members.
const MAX_WAIT_FOR_PEERS: Duration = Duration::from_secs(600);

/// The waits until passes are made again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    failed: Backoff,
    /// Passes in which too few of etcd's other members said that this node belongs to the cluster:
    /// it recovers soon after they are up.
    without_peers: Backoff,
}

impl Default for Retries {
    fn default() -> Self {
        Self { failed: Backoff::default(), without_peers: Backoff::up_to(MAX_WAIT_FOR_PEERS) }
    }
}

impl Retries {
    /// Counts a pass, and gives the wait until it is made again, if it is. `recheck` is the wait
    /// for what it deferred otherwise. Where a pass did not come to know whether it
    /// `waits_for_peers`, that is as before.
    pub(super) fn next_wait(
        &mut self,
        failed: bool,
        waits_for_peers: Option<bool>,
        recheck: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        let waits_for_peers = waits_for_peers.unwrap_or(self.without_peers.failures() > 0);
        let waits = [
            self.failed.count(failed, jitter),
            self.without_peers.count(waits_for_peers, jitter),
            recheck.filter(|_| !failed),
        ];
        waits.into_iter().flatten().min()
    }

    /// The number of passes in a row that failed.
    #[must_use]
    pub(super) fn failures(self) -> u32 {
        self.failed.failures()
    }
}

/// The number of passes in a row that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(MAX_WAIT)
    }
}

impl Backoff {
    /// Without a failure, and with this longest wait.
    #[must_use]
    fn up_to(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// Counts a failure or a success; gives the wait after a failure.
    fn count(&mut self, failed: bool, jitter: f64) -> Option<Duration> {
        if failed {
            return Some(self.next_wait(jitter));
        }
        self.reset();
        None
    }

    /// Counts a failure, and gives the wait after it. `jitter` is a random number from 0 to 1, and
    /// moves the wait by up to a fifth either way.
    fn next_wait(&mut self, jitter: f64) -> Duration {
        let doubled =
            FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// Forgets the failures, after a success.
    fn reset(&mut self) {
        self.failures = 0;
    }

    /// The number of passes in a row that failed.
    #[must_use]
    fn failures(self) -> u32 {
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
    fn members_of_etcd_are_asked_again_within_ten_minutes() {
        let mut retries = Retries::default();
        let hour = Some(MAX_WAIT);
        let mut next = |failed, waits_for_peers| {
            retries.next_wait(failed, waits_for_peers, hour, 0.5).map(|wait| wait.as_secs())
        };
        let waits: Vec<_> = (0..6).filter_map(|_| next(false, Some(true))).collect();
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        let waits: Vec<_> = (0..6).filter_map(|_| next(true, Some(true))).collect();
        assert_eq!(
            waits,
            [60, 120, 240, 480, 600, 600],
            "a failure delays the question by no more"
        );
        assert_eq!(next(true, None), Some(600), "an aborted pass still waits for them");
        assert_eq!(next(true, Some(false)), Some(3_600), "as any failure");
        assert_eq!(next(true, None), Some(3_600), "it did not wait for them");
        assert_eq!(next(false, Some(false)), Some(3_600), "for what else is deferred");
        assert_eq!(next(false, Some(true)), Some(60), "after they were not needed");
        assert_eq!(Retries::default().next_wait(false, None, None, 0.5), None);
    }

    #[test]
    fn jitter_moves_wait_by_up_to_a_fifth() {
        let wait = |jitter| Backoff::default().next_wait(jitter).as_secs();
        assert_eq!((wait(0.0), wait(1.0)), (48, 72));
    }
}
