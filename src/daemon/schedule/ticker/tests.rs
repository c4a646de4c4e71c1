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

/// A ticker that reads the clock so often that a test need not wait.
async fn midnights(clock: &Arc<SetClock>, since: &str) -> Ticker {
    Ticker::with_interval(
        Duration::from_millis(5),
        schedule("0 0 0 * * *"),
        clock.clone(),
        time(since),
    )
    .await
    .unwrap()
}

/// The tick within a few readings of the clock; the wait is dropped at any point.
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
async fn ticker_ticks_once_at_each_occurrence() {
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
async fn missed_occurrence_is_caught_up_at_start() {
    let clock = SetClock::at("2027-05-04T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, caught_up("2027-05-02T00:00:00"));
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-05T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-05T00:00:00"));
}

#[tokio::test]
async fn last_time_in_future_is_ignored() {
    let clock = SetClock::at("2027-05-04T12:00:00");
    let mut ticker = midnights(&clock, "2031-01-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-05T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-05T00:00:00"));
}

/// What a suspend and a step forward look like.
#[tokio::test]
async fn jump_over_occurrences_gives_one_tick() {
    let clock = SetClock::at("2027-05-01T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    clock.set("2027-05-08T07:00:00");
    assert_eq!(tick(&mut ticker).await, caught_up("2027-05-02T00:00:00"));
    assert_eq!(tick(&mut ticker).await, None);
}

#[tokio::test]
async fn corrected_clock_does_not_repeat_tick() {
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
async fn wrong_clock_put_back_ticks_again() {
    let clock = SetClock::at("2027-05-09T23:59:59");
    let mut ticker = midnights(&clock, "2027-05-09T23:59:59").await;
    clock.set("2027-05-10T00:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-10T00:00:00"));
    clock.set("2027-05-08T12:00:00");
    assert_eq!(tick(&mut ticker).await, None);
    assert_eq!(ticker.wakeup.at, Some(time("2027-05-09T00:00:00")), "the scheduler has it too");
    for midnight in ["2027-05-09T00:00:00", "2027-05-10T00:00:00"] {
        clock.set(midnight);
        assert_eq!(tick(&mut ticker).await, punctual(midnight));
    }
}

#[tokio::test]
async fn replaced_schedule_takes_effect() {
    let clock = SetClock::at("2027-05-01T12:00:00");
    let mut ticker = midnights(&clock, "2027-05-01T12:00:00").await;
    assert_eq!(tick(&mut ticker).await, None);
    ticker.replace(schedule("0 0 15 * * *"));
    clock.set("2027-05-01T15:00:00");
    assert_eq!(tick(&mut ticker).await, punctual("2027-05-01T15:00:00"));
    clock.set("2027-05-02T00:00:00");
    assert_eq!(tick(&mut ticker).await, None);
    assert_eq!(ticker.wakeup.at, Some(time("2027-05-02T15:00:00")));
}

/// With the machine's clock, and without a look at it of the ticker's own: the scheduler alone
/// wakes it.
#[tokio::test]
async fn scheduler_wakes_at_occurrences_and_keeps_no_old_job() {
    let clock = SystemClock;
    let mut ticker =
        Ticker::with_interval(days(1), schedule("*/2 * * * * *"), Arc::new(clock), clock.now())
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
        jobs.push(ticker.wakeup.job.as_ref().unwrap().guid());
    }
    ticker.wakeup.set(Some(clock.now().plus(days(1)))).await;
    let context = ticker.wakeup.scheduler.context();
    assert_eq!(context.metadata_storage.write().await.list_next_ticks().await.unwrap().len(), 1);
    assert_ne!(jobs[0], jobs[1]);
    for job in jobs {
        assert!(context.job_code.write().await.get(job).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn dropped_call_of_set_leaves_no_job() {
    let mut wakeup = Wakeup::new().await.unwrap();
    let start = SystemClock.now();
    let mut at = None;
    for day in 1..=20 {
        at = Some(start.plus(days(day)));
        let cut_short = tokio::select! {
            biased;
            () = wakeup.set(at) => false,
            () = std::future::ready(()) => true,
        };
        assert!(cut_short, "the scheduler answers at once, and this test tests nothing");
    }
    wakeup.set(at).await;
    let jobs =
        wakeup.scheduler.context().metadata_storage.write().await.list_next_ticks().await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(i64::try_from(jobs[0].next_tick).ok(), at.map(Timestamp::seconds));
}

#[tokio::test]
async fn scheduler_stops_with_its_ticker() {
    let ticker = Ticker::start(schedule("0 0 0 * * *"), Arc::new(SystemClock), SystemClock.now())
        .await
        .unwrap();
    let scheduler = ticker.wakeup.scheduler.scheduler.clone();
    drop(ticker);
    assert!(scheduler.read().await.shutdown.load(Ordering::Relaxed));
}

#[test]
fn job_is_for_one_second_in_utc() {
    assert_eq!(one_second(time("2027-03-05T09:08:07")), "7 8 9 5 3 * 2027");
}
