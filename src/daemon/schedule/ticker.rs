//! Waits for the occurrences of a schedule.
//!
//! What has come is decided by the wall clock alone: an occurrence between the time last seen and
//! now. The scheduler (tokio-cron-scheduler) only wakes. It is given one job at a time, for one
//! second in UTC, because it keeps the offset from UTC that a zone has when a job is made, and
//! reads days without a midnight its own way. It compares with the wall clock twice a second, so it
//! notices a suspend or a step forward at once. The ticker looks at the clock by itself every now
//! and then as well, for what the scheduler can't notice: a step back, another zone of the machine,
//! its own death.

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

/// How often the clock is looked at without being woken.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A tick that comes later than this after its time is a missed one that is caught up.
const PUNCTUAL_SECONDS: i64 = 60;

/// A step back up to this long is a correction: what has ticked does not tick again. A longer one
/// means that the clock was wrong, and that the ticks since then were at wrong times.
const CORRECTION_SECONDS: i64 = 3600;

/// The scheduler answers within microseconds; if it doesn't, it never will.
const SCHEDULER_PATIENCE: Duration = Duration::from_secs(1);

/// An occurrence of the schedule has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its time. When several have come at once, there is one tick for all, with the time of the
    /// first.
    pub at: Timestamp,
    /// It is more than a minute ago: it was missed, and is caught up now.
    pub missed: bool,
}

/// The scheduler could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler can't be started")]
pub struct SchedulerFailed(#[from] JobSchedulerError);

/// Ticks at each occurrence of a schedule. Dropping it ends the scheduler.
pub struct Ticker {
    schedule: Schedule,
    clock: Arc<dyn Clock>,
    /// Whatever occurred up to this time has ticked.
    seen: Timestamp,
    alarm: Alarm,
    look_every: Duration,
}

impl Ticker {
    /// Starts to tick; the first tick is for what was missed after `since`, if anything was.
    ///
    /// # Errors
    /// [`SchedulerFailed`] when the scheduler does not start.
    pub async fn start(
        schedule: Schedule,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    ) -> Result<Self, SchedulerFailed> {
        Self::looking_every(LOOK_EVERY, schedule, clock, since).await
    }

    async fn looking_every(
        look_every: Duration,
        schedule: Schedule,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    ) -> Result<Self, SchedulerFailed> {
        Ok(Self { schedule, clock, seen: since, alarm: Alarm::new().await?, look_every })
    }

    /// Waits for the next tick. It may be dropped at any point and called again, and nothing is
    /// lost.
    pub async fn next_tick(&mut self) -> Tick {
        loop {
            let now = self.look_at_clock();
            let next = self.schedule.next(self.seen);
            self.seen = self.seen.max(now);
            if let Some(at) = next.filter(|at| *at <= now) {
                return Tick { at, missed: now.seconds_since(at) > PUNCTUAL_SECONDS };
            }
            self.alarm.set(next).await;
            // While the alarm was being set, its second may have begun, and then it will not ring.
            if next.is_none_or(|at| self.clock.now() < at) {
                self.alarm.rings_within(self.look_every).await;
            }
        }
    }

    /// Goes on with another schedule.
    pub fn replace(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// The time; a step back that is no mere correction makes everything after it count again.
    fn look_at_clock(&mut self) -> Timestamp {
        let now = self.clock.now();
        if self.seen.seconds_since(now) > CORRECTION_SECONDS {
            self.seen = now;
        }
        now
    }
}

/// The scheduler with its one job. When it fails, ticks still come, but up to [`LOOK_EVERY`] late.
struct Alarm {
    scheduler: JobScheduler,
    rung: Arc<Notify>,
    job: Option<Job>,
    at: Option<Timestamp>,
}

impl Alarm {
    async fn new() -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self { scheduler, rung: Arc::new(Notify::new()), job: None, at: None })
    }

    /// Makes it ring at this time and no other. Dropped half-way, the next call does all of it
    /// again: the job is known here before the scheduler has it, and the time is noted last.
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
                warn!(%error, "the scheduler does not take the next time of the schedule")
            }
        }
        self.at = at;
    }

    fn job_at(&self, at: Timestamp) -> Result<Job, JobSchedulerError> {
        let rung = self.rung.clone();
        Job::new(one_second(at), move |_, _| rung.notify_one())
    }

    async fn rings_within(&self, limit: Duration) {
        // Not having rung is as good a reason to look at the clock as having rung.
        let _ = timeout(limit, self.rung.notified()).await;
    }
}

impl Drop for Alarm {
    /// Its loop sees this within half a second. The lock is only ever held while the scheduler
    /// starts.
    fn drop(&mut self) {
        if let Ok(scheduler) = self.scheduler.scheduler.try_read() {
            scheduler.shutdown.store(true, Ordering::Relaxed);
        }
    }
}

/// The cron expression of a single second in UTC; with its year, so that the scheduler forgets it
/// afterwards.
fn one_second(at: Timestamp) -> String {
    at.civil().strftime("%-S %-M %-H %-d %-m * %Y").to_string()
}

async fn warn_on_failure<T>(request: impl Future<Output = Result<T, JobSchedulerError>>) {
    match timeout(SCHEDULER_PATIENCE, request).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(%error, "the scheduler refuses a job"),
        Err(_) => warn!("the scheduler does not answer"),
    }
}
