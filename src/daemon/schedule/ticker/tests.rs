use std::sync::atomic::AtomicI64;

use super::*;
use crate::model::days;
use crate::sys::SystemClock;

/// A clock that shows what it is set to.
struct SetClock(AtomicI64);

impl SetClock {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time(text).seconds())))
    }

    fn set(&self, text: &str) {
        self.0.store(time(text).seconds(), Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp::from_seconds(format!("{text}Z").parse::<jiff::Timestamp>().unwrap().as_second())
}

fn schedule(cron: &str) -> Schedule {
    Schedule::new(cron.parse().unwrap(), "UTC".parse().unwrap(), Duration::ZERO)
}

/// Looks at the clock so often that a test need not wait.
async fn midnights(clock: &Arc<SetClock>, since: &str) -> Ticker {
    Ticker::looking_every(
        Duration::from_millis(5),
        schedule("0 0 0 * * *"),
        clock.clone(),
        time(since),
    )
    .await
    .unwrap()
}

/// What ticks within a time in which the clock is looked at several times; the waiting is cut short
/// at any point.
async fn tick(ticker: &mut Ticker) -> Option<Tick> {
    timeout(Duration::from_millis(60), ticker.next_tick()).await.ok()
}

fn punctual(at: &str) -> Option<Tick> {
    Some(Tick { at: time(at), missed: false })
}

fn caught_up(at: &str) -> Option<Tick> {
    Some(Tick { at: time(at), missed: true })
}

#[tokio::test]
async fn ticks_once_at_each_occurrence() {
    let clock = SetClock::at("2027-05-01T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-01T23:59:59");
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-02T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-02T00:00:00"));
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-03T00:00:01");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-03T00:00:00"));
}

#[tokio::test]
async fn catches_up_at_the_start_what_was_missed() {
    let clock = SetClock::at("2027-05-04T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, caught_up("2027-05-02T00:00:00"));
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-05T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-05T00:00:00"));
}

#[tokio::test]
async fn a_last_time_in_the_future_is_not_waited_for() {
    let clock = SetClock::at("2027-05-04T12:00:00");
    let mut ticker = midnights(&clock, "2031-01-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-05T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-05T00:00:00"));
}

/// What a suspend and a step forward look like.
#[tokio::test]
async fn time_that_jumps_over_occurrences_gives_one_tick_for_all() {
    let clock = SetClock::at("2027-05-01T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-08T07:00:00");
    assert_eq!(tick(&mut ticker).await, caught_up("2027-05-02T00:00:00"));
    assert_eq!(tick(&mut ticker).await, None);
}

#[tokio::test]
async fn a_corrected_clock_does_not_tick_twice_for_the_same_midnight() {
    let clock = SetClock::at("2027-05-01T23:59:59");
    let mut ticker = midnights(&clock, "2027-05-01T23:59:59").await;
    clock.set("2027-05-02T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-02T00:00:00"));
    for corrected in ["2027-05-01T23:30:00", "2027-05-02T00:00:00", "2027-05-02T00:00:01"] {
        clock.set(corrected);
        assert_eq!(tick(&mut ticker).await, None, "{corrected}");
    }
    clock.set("2027-05-03T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-03T00:00:00"));
}

#[tokio::test]
async fn after_a_wrong_clock_was_put_back_each_midnight_counts_again() {
    let clock = SetClock::at("2027-05-09T23:59:59");
    let mut ticker = midnights(&clock, "2027-05-09T23:59:59").await;
    clock.set("2027-05-10T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-10T00:00:00"));
    clock.set("2027-05-08T12:00:00");
    assert_eq!(tick(&mut ticker).await, None);
    assert_eq!(ticker.alarm.at, Some(time("2027-05-09T00:00:00")), "the scheduler is told too");
    for midnight in ["2027-05-09T00:00:00", "2027-05-10T00:00:00"] {
        clock.set(midnight);
        assert_eq!(tick(&mut ticker).await, punctual(midnight));
    }
}

#[tokio::test]
async fn another_schedule_takes_over() {
    let clock = SetClock::at("2027-05-01T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    ticker.replace(schedule("0 0 15 * * *"));
    clock.set("2027-05-01T15:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-01T15:00:00"));
    clock.set("2027-05-02T00:00:00");
    assert_eq!(tick(&mut ticker).await, None);
    assert_eq!(ticker.alarm.at, Some(time("2027-05-02T15:00:00")));
}

/// With the machine's clock, and without a look at it of the ticker's own: the scheduler alone
/// wakes it.
#[tokio::test]
async fn the_scheduler_wakes_at_each_occurrence_and_keeps_no_old_job() {
    let clock = SystemClock;
    let mut ticker =
        Ticker::looking_every(days(1), schedule("*/2 * * * * *"), Arc::new(clock), clock.now())
            .await
            .unwrap();
    let mut jobs = Vec::new();
    let mut last = clock.now();
    for _ in 0..2 {
        let tick = timeout(Duration::from_secs(4), ticker.next_tick()).await.unwrap();
        assert_eq!((tick.at.seconds() % 2, tick.missed), (0, false));
        assert!(
            tick.at > last && clock.now().seconds_since(tick.at) <= 1,
            "{} after {last}",
            tick.at
        );
        last = tick.at;
        jobs.push(ticker.alarm.job.as_ref().unwrap().guid());
    }
    ticker.alarm.set(Some(clock.now().plus(days(1)))).await;
    let context = ticker.alarm.scheduler.context();
    assert_eq!(context.metadata_storage.write().await.list_next_ticks().await.unwrap().len(), 1);
    assert_ne!(jobs[0], jobs[1]);
    for job in jobs {
        assert!(context.job_code.write().await.get(job).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_job_that_was_cut_short_while_it_was_made_leaves_nothing_behind() {
    let mut alarm = Alarm::new().await.unwrap();
    let start = SystemClock.now();
    let mut at = None;
    for day in 1..=20 {
        at = Some(start.plus(days(day)));
        let cut_short = tokio::select! {
            biased;
            () = alarm.set(at) => false,
            () = std::future::ready(()) => true,
        };
        assert!(cut_short, "the scheduler answers at once, and this test tests nothing");
    }
    alarm.set(at).await;
    let jobs =
        alarm.scheduler.context().metadata_storage.write().await.list_next_ticks().await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(i64::try_from(jobs[0].next_tick).ok(), at.map(Timestamp::seconds));
}

#[tokio::test]
async fn the_scheduler_ends_with_its_ticker() {
    let ticker = Ticker::start(schedule("0 0 0 * * *"), Arc::new(SystemClock), SystemClock.now())
        .await
        .unwrap();
    let scheduler = ticker.alarm.scheduler.scheduler.clone();
    drop(ticker);
    assert!(scheduler.read().await.shutdown.load(Ordering::Relaxed));
}

#[test]
fn the_job_is_for_one_second_in_utc() {
    assert_eq!(one_second(time("2027-03-05T09:08:07")), "7 8 9 5 3 * 2027");
}
