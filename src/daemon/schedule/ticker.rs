//! Waits for the occurrences of a schedule.
//!
//! The wall clock alone decides: an occurrence is due if it is between the time last read and now.
//! The scheduler (tokio-cron-scheduler) only wakes the ticker. It has one job at a time, for one
//! second in UTC, because it keeps the UTC offset that a zone has when a job is made, and treats
//! days without a midnight differently. It reads the wall clock twice a second, so it notices a
//! suspend or a step forward at once. The ticker also reads the clock at intervals, for a step
//! back, a changed zone of the node, and a dead scheduler.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tracing::warn;

use super::Schedule;
use crate::model::Timestamp;
use crate::sys::Clock;

/// The interval at which the clock is read without a wake-up.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// A tick that is later than this is a missed one that is caught up.
const PUNCTUAL_SECONDS: i64 = 60;

/// A step back up to this long is a correction: no tick is repeated. A longer one means that the
/// clock was wrong, and so were the times of the ticks since then.
const CORRECTION_SECONDS: i64 = 3600;

/// The limit for a call of the scheduler, which usually takes microseconds.
const SCHEDULER_TIMEOUT: Duration = Duration::from_secs(1);

/// An occurrence of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its time. Several occurrences at once are one tick, with the time of the first.
    pub at: Timestamp,
    /// Whether it is more than a minute ago, and is caught up now.
    pub missed: bool,
}

/// The scheduler could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler can't be started")]
pub struct SchedulerFailed(#[from] JobSchedulerError);

/// Ticks at each occurrence of a schedule. Dropping it stops the scheduler.
pub struct Ticker {
    schedule: Schedule,
    clock: Arc<dyn Clock>,
    /// Every occurrence up to this time has ticked.
    ticked_until: Timestamp,
    wakeup: Wakeup,
    clock_interval: Duration,
}

impl Ticker {
    /// Starts to tick; the first tick is for the occurrences missed after `since`, if any.
    ///
    /// # Errors
    /// [`SchedulerFailed`] when the scheduler does not start.
    pub async fn start(
        schedule: Schedule,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    ) -> Result<Self, SchedulerFailed> {
        Self::with_interval(CLOCK_INTERVAL, schedule, clock, since).await
    }

    async fn with_interval(
        clock_interval: Duration,
        schedule: Schedule,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    ) -> Result<Self, SchedulerFailed> {
        Ok(Self {
            schedule,
            clock,
            ticked_until: since,
            wakeup: Wakeup::new().await?,
            clock_interval,
        })
    }

    /// Waits for the next tick. It may be dropped at any point and called again, and nothing is
    /// lost.
    pub async fn next_tick(&mut self) -> Tick {
        loop {
            let now = self.read_clock();
            let next = self.schedule.next(self.ticked_until);
            self.ticked_until = self.ticked_until.max(now);
            if let Some(at) = next.filter(|at| *at <= now) {
                return Tick { at, missed: now.seconds_since(at) > PUNCTUAL_SECONDS };
            }
            self.wakeup.set(next).await;
            // A second that began while the wake-up was set does not wake.
            if next.is_none_or(|at| self.clock.now() < at) {
                self.wakeup.wait_at_most(self.clock_interval).await;
            }
        }
    }

    /// Replaces the schedule.
    pub fn replace(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// Reads the clock. After a step back that is no correction, later occurrences tick again.
    fn read_clock(&mut self) -> Timestamp {
        let now = self.clock.now();
        if self.ticked_until.seconds_since(now) > CORRECTION_SECONDS {
            self.ticked_until = now;
        }
        now
    }
}

/// The scheduler with its one job. When it fails, ticks still come, but up to [`CLOCK_INTERVAL`]
/// late.
struct Wakeup {
    scheduler: JobScheduler,
    woken: Arc<Notify>,
    job: Option<Job>,
    at: Option<Timestamp>,
}

impl Wakeup {
    async fn new() -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self { scheduler, woken: Arc::new(Notify::new()), job: None, at: None })
    }

    /// Sets the one time of the wake-up. It may be dropped: the next call repeats all of it, since
    /// the job is stored before the scheduler has it, and the time last.
    async fn set(&mut self, at: Option<Timestamp>) {
        if self.at == at {
            return;
        }
        if let Some(old) = self.job.take() {
            warn_on_failure(self.scheduler.remove(&old.guid())).await;
        }
        match at.map(|at| self.job_at(at)).transpose() {
            Ok(None) => {}
            Ok(Some(job)) => {
                self.job = Some(job.clone());
                warn_on_failure(self.scheduler.add(job)).await;
            }
            Err(error) => {
                warn!(%error, "the scheduler refuses the next time of the schedule")
            }
        }
        self.at = at;
    }

    fn job_at(&self, at: Timestamp) -> Result<Job, JobSchedulerError> {
        let woken = self.woken.clone();
        Job::new(one_second(at), move |_, _| woken.notify_one())
    }

    async fn wait_at_most(&self, limit: Duration) {
        // The clock is read after a timeout as well.
        let _ = timeout(limit, self.woken.notified()).await;
    }
}

impl Drop for Wakeup {
    /// Its loop sees this within half a second. The lock is only ever held while the scheduler
    /// starts.
    fn drop(&mut self) {
        if let Ok(scheduler) = self.scheduler.scheduler.try_read() {
            scheduler.shutdown.store(true, Ordering::Relaxed);
        }
    }
}

/// The cron expression of a single second in UTC, with its year, so that the scheduler forgets it
/// afterwards.
fn one_second(at: Timestamp) -> String {
    at.civil().strftime("%-S %-M %-H %-d %-m * %Y").to_string()
}

async fn warn_on_failure<T>(request: impl Future<Output = Result<T, JobSchedulerError>>) {
    match timeout(SCHEDULER_TIMEOUT, request).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(%error, "the scheduler refuses a job"),
        Err(_) => warn!("the scheduler does not answer"),
    }
}
