use jiff::civil::{Date, date};
use jiff::{ToSpan, Zoned};
use proptest::prelude::{Strategy, proptest};
use proptest::sample::select;

use super::*;

const ZONES: [&str; 9] = [
    "Europe/Berlin",
    "Europe/London",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "UTC",
    "Asia/Kolkata",
    "America/New_York",
    "Australia/Lord_Howe",
];

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(cron.parse().unwrap(), zone.parse().unwrap(), Duration::ZERO)
}

fn timestamp(zoned: &Zoned) -> Timestamp {
    Timestamp::from_seconds(zoned.timestamp().as_second())
}

/// A time such as `2026-10-25T00:00:00+02:00[Europe/Berlin]`; the offset must be one that the zone
/// has at that time.
fn at(text: &str) -> Timestamp {
    timestamp(&text.parse().unwrap())
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Each occurrence after `from` and before `to`, as the clocks of the zone show it.
fn occurrences(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let (schedule, tz) = (schedule(cron, zone), TimeZone::get(zone).unwrap());
    let to = timestamp(&to.parse::<DateTime>().unwrap().to_zoned(tz.clone()).unwrap());
    let from = timestamp(&from.parse::<DateTime>().unwrap().to_zoned(tz.clone()).unwrap());
    let all = std::iter::successors(schedule.next(from), |last| schedule.next(*last))
        .take_while(|next| *next < to);
    let shown = |time: Timestamp| {
        jiff::Timestamp::from_second(time.seconds()).unwrap().to_zoned(tz.clone())
    };
    all.map(|time| shown(time).strftime("%m-%d %H:%M:%S %:z").to_string()).collect()
}

fn days(from: Date, to: Date) -> impl Iterator<Item = Date> {
    from.series(1.day()).take_while(move |day| *day < to)
}

#[test]
fn every_civil_day_has_one_midnight_at_its_first_instant() {
    for zone in ZONES {
        let (midnight, tz) = (schedule("0 0 0 * * *", zone), TimeZone::get(zone).unwrap());
        let mut last = at(&format!("2025-12-31T12:00:00[{zone}]"));
        for day in days(date(2026, 1, 1), date(2028, 1, 1)) {
            let first_instant =
                day.at(12, 0, 0, 0).to_zoned(tz.clone()).unwrap().start_of_day().unwrap();
            assert_eq!(first_instant.date(), day, "the test's own day");
            last = midnight.next(last).unwrap();
            assert_eq!(last, timestamp(&first_instant), "{zone} {day}");
        }
    }
}

#[test]
fn seconds_near_dst_change_lead_to_same_midnight() {
    let changes = [
        ("Europe/Berlin", date(2026, 3, 29)),
        ("Europe/London", date(2026, 3, 29)),
        ("Europe/London", date(2026, 10, 25)),
        ("America/Havana", date(2026, 3, 8)),
        ("America/Havana", date(2026, 11, 1)),
        ("America/Santiago", date(2026, 4, 5)),
        ("America/Santiago", date(2026, 9, 6)),
        ("Africa/Cairo", date(2026, 4, 24)),
        ("Africa/Cairo", date(2026, 10, 30)),
    ];
    for (zone, day) in changes {
        let (midnight, tz) = (schedule("0 0 0 * * *", zone), TimeZone::get(zone).unwrap());
        let start_of = |day: Date| {
            timestamp(&day.at(12, 0, 0, 0).to_zoned(tz.clone()).unwrap().start_of_day().unwrap())
        };
        let (yesterday, today, tomorrow) =
            (start_of(day.yesterday().unwrap()), start_of(day), start_of(day.tomorrow().unwrap()));
        let every = |from: Timestamp, to: Timestamp| {
            (from.seconds()..to.seconds()).step_by(97).map(Timestamp::from_seconds)
        };
        assert!(
            every(yesterday, today).all(|time| midnight.next(time) == Some(today)),
            "{zone} before {day}"
        );
        assert!(
            every(today, tomorrow).all(|time| midnight.next(time) == Some(tomorrow)),
            "{zone} after {day}"
        );
    }
}

#[test]
fn skipped_midnight_comes_with_first_instant_of_day() {
    let table = [
        (
            "America/Havana",
            "2026-03-07T12:00:00",
            "2026-03-09T12:00:00",
            ["03-08 01:00:00 -04:00", "03-09 00:00:00 -04:00"],
        ),
        (
            "America/Santiago",
            "2026-09-05T12:00:00",
            "2026-09-07T12:00:00",
            ["09-06 01:00:00 -03:00", "09-07 00:00:00 -03:00"],
        ),
        (
            "Africa/Cairo",
            "2026-04-23T12:00:00",
            "2026-04-25T12:00:00",
            ["04-24 01:00:00 +03:00", "04-25 00:00:00 +03:00"],
        ),
    ];
    for (zone, from, to, expected) in table {
        assert_eq!(occurrences("0 0 0 * * *", zone, from, to), expected, "{zone}");
    }
}

#[test]
fn repeated_midnight_counts_once() {
    // In the past, because a government may change the future of its zone.
    let found =
        occurrences("0 0 0 * * *", "America/Havana", "2025-11-01T12:00:00", "2025-11-03T12:00:00");
    assert_eq!(found, ["11-02 00:00:00 -04:00", "11-03 00:00:00 -05:00"]);
}

#[test]
fn skipped_day_has_no_midnight() {
    let found =
        occurrences("0 0 0 * * *", "Pacific/Apia", "2011-12-28T12:00:00", "2012-01-01T12:00:00");
    assert_eq!(found, ["12-29 00:00:00 -10:00", "12-31 00:00:00 +14:00", "01-01 00:00:00 +14:00"]);
}

#[test]
fn skipped_time_of_day_comes_an_hour_later() {
    let found =
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00", "2026-03-31T00:00:00");
    assert_eq!(found, ["03-28 02:30:00 +01:00", "03-29 03:30:00 +02:00", "03-30 02:30:00 +02:00"]);
    let shortly_before = at("2026-03-29T03:10:00+02:00[Europe/Berlin]");
    assert_eq!(
        schedule("0 30 2 * * *", "Europe/Berlin").next(shortly_before),
        Some(at("2026-03-29T03:30:00+02:00[Europe/Berlin]"))
    );
}

#[test]
fn repeated_time_of_day_counts_once() {
    let found =
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-27T00:00:00");
    assert_eq!(found, ["10-25 02:30:00 +02:00", "10-26 02:30:00 +01:00"]);
}

#[test]
fn frequent_expression_pauses_in_repeated_hour_only() {
    let found = occurrences(
        "0 */30 * * * *",
        "Europe/Berlin",
        "2026-03-29T01:00:00",
        "2026-03-29T04:00:00",
    );
    assert_eq!(found, ["03-29 01:30:00 +01:00", "03-29 03:00:00 +02:00", "03-29 03:30:00 +02:00"]);
    let found = occurrences(
        "0 */30 * * * *",
        "Europe/Berlin",
        "2026-10-25T02:00:00",
        "2026-10-25T03:30:00",
    );
    assert_eq!(found, ["10-25 02:30:00 +02:00", "10-25 03:00:00 +01:00"]);
    let repeated_hour = at("2026-10-25T02:00:01+01:00[Europe/Berlin]");
    assert_eq!(
        schedule("* * * * * *", "Europe/Berlin").next(repeated_hour),
        Some(at("2026-10-25T03:00:00+01:00[Europe/Berlin]"))
    );
}

/// The clocks of Lord Howe go forward from 02:00 to 02:30, so that 02:20 comes at 02:50, after
/// 02:31.
#[test]
fn occurrence_delayed_by_gap_hides_no_other() {
    let found = occurrences(
        "0 20,31 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-04T00:00:00",
        "2026-10-04T12:00:00",
    );
    assert_eq!(found, ["10-04 02:31:00 +11:00", "10-04 02:50:00 +11:00"]);
}

#[test]
fn expression_of_seconds_has_occurrences() {
    let found =
        occurrences("*/5 * * * * *", "Asia/Kolkata", "2026-06-30T23:59:52", "2026-07-01T00:00:06");
    assert_eq!(found, ["06-30 23:59:55 +05:30", "07-01 00:00:00 +05:30", "07-01 00:00:05 +05:30"]);
}

#[test]
fn delay_is_added_to_occurrences() {
    let delay = Duration::from_secs(600);
    let delayed = Schedule { delay, ..schedule("0 0 0 * * *", "Europe/Berlin") };
    let expected = at("2026-06-01T00:10:00[Europe/Berlin]");
    assert_eq!(delayed.next(at("2026-05-31T12:00:00[Europe/Berlin]")), Some(expected));
    assert_eq!(delayed.next(at("2026-06-01T00:05:00[Europe/Berlin]")), Some(expected));
    assert_eq!(delayed.next(expected), Some(at("2026-06-02T00:10:00[Europe/Berlin]")));
    assert!(
        !delayed.missed(at("2026-05-31T12:00:00[Europe/Berlin]"), expected.minus(one_second()))
    );
    assert!(delayed.missed(at("2026-05-31T12:00:00[Europe/Berlin]"), expected));
}

#[test]
fn nothing_is_missed_after_step_back() {
    let midnight = schedule("0 0 0 * * *", "UTC");
    assert!(!midnight.missed(at("2026-06-03T12:00:00[UTC]"), at("2026-06-01T12:00:00[UTC]")));
}

#[test]
fn extreme_timestamps_are_handled() {
    let midnight = schedule("0 0 0 * * *", "Europe/Berlin");
    assert_eq!(midnight.next(Timestamp::MAX), None);
    assert!(midnight.missed(Timestamp::MIN, Timestamp::from_seconds(0)));
}

#[test]
fn delay_of_node_is_stable() {
    let delay = stable_delay("0123456789abcdef0123456789abcdef", Duration::from_secs(3600));
    assert_eq!(delay, Duration::from_secs(1383));
    assert_eq!(stable_delay("0123456789abcdef0123456789abcdef", Duration::ZERO), Duration::ZERO);
}

#[test]
fn delays_of_nodes_are_spread_evenly() {
    let delays = (0..1000)
        .map(|machine| stable_delay(&format!("{machine:032x}"), Duration::from_secs(10)).as_secs());
    let mut count = [0; 10];
    delays.for_each(|delay| count[usize::try_from(delay).unwrap()] += 1);
    assert!(count.iter().all(|machines| (60..140).contains(machines)), "{count:?}");
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let crons = vec![
        "0 0 0 * * *",
        "0 30 2 * * *",
        "*/5 * * * * *",
        "0 */7 * * * *",
        "59 59 23 L * *",
        "0 15 0-3 * * SUN",
        "0 0 0 29 2 *",
    ];
    (select(crons), select(ZONES.to_vec()), 0..4000_u64).prop_map(|(cron, zone, delay)| Schedule {
        delay: Duration::from_secs(delay),
        ..schedule(cron, zone)
    })
}

proptest! {
    #[test]
    fn next_occurrence_is_first_one_missed(
        schedule in any_schedule(),
        seconds in 0..4_102_444_800_i64,
    ) {
        let time = Timestamp::from_seconds(seconds);
        let next = schedule.next(time).unwrap();
        assert!(next > time);
        assert!(schedule.missed(time, next));
        assert!(!schedule.missed(time, next.minus(one_second())));
        assert_eq!(schedule.next(next.minus(one_second())), Some(next));
    }
}
