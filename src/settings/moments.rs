//! The times of passes: a cron expression and a time zone. A value is checked when it is made; the
//! schedule handles DST changes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::values::written_as_text;

/// A cron expression of six fields, seconds first, that matches at least one time. It is kept as
/// text, because the text is displayed and compared; parsing it again takes microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron(String);

/// The error for a text that is not a cron expression, or that never matches.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidCron {
    /// It does not have six fields.
    #[error(
        "{0:?} is not a cron expression of six fields (second, minute, hour, day of month, month, \
         day of week), such as \"0 0 0 * * *\" for midnight"
    )]
    Fields(String),
    /// A field can't be parsed.
    #[error("{text:?} is not a cron expression: {field:?} can't be its {name}")]
    Field {
        /// The whole expression.
        text: String,
        /// The field.
        field: String,
        /// The name of the field, such as `month`.
        name: &'static str,
    },
    /// It matches no date, as for 31 February.
    #[error("the cron expression {0:?} never matches: no year has such a day")]
    Never(String),
}

/// The fields of a cron expression, in order.
const CRON_FIELDS: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "day of week"];

/// The first year in which pauses are looked for. The days of the week of all dates repeat after 28
/// years.
const FIRST_YEAR: DateTime = DateTime::constant(2026, 1, 1, 0, 0, 0, 0);

/// The number of steps of a search for a pause: 28 years for pauses of a day and more.
const MAX_STEPS: usize = 28 * 366;

/// Two times of an expression, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The first one.
    pub from: DateTime,
    /// The next one.
    pub to: DateTime,
}

impl Pause {
    /// Its length, as a clock without DST changes measures it.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::try_from(self.from.duration_until(self.to)).unwrap_or_default()
    }
}

impl Cron {
    /// The expression for every midnight.
    #[must_use]
    pub fn midnight() -> Self {
        Self("0 0 0 * * *".to_owned())
    }

    /// The expression as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first pause of this length or a longer one, in the 28 years after which the days
    /// of the week repeat; where `length` is shorter than a day, in fewer years.
    #[must_use]
    pub fn find_pause(&self, length: Duration) -> Option<Pause> {
        let cron = read_cron(&self.0)?;
        let within = i64::try_from(length.as_secs()).ok()?.saturating_sub(1).max(0);
        let mut from = chrono_time(FIRST_YEAR)?;
        from = cron.find_next_occurrence(&from, true).ok()?;
        for _ in 0..MAX_STEPS {
            let end = from.checked_add_signed(chrono::TimeDelta::try_seconds(within)?)?;
            // The last time within the length; the one that the search began with, where there is
            // no other.
            let last = cron.find_previous_occurrence(&end, true).ok()?;
            if last <= from {
                let next = cron.find_next_occurrence(&from, false).ok()?;
                return Some(Pause { from: civil_time(&from)?, to: civil_time(&next)? });
            }
            from = last;
        }
        None
    }

    /// Returns the times after `civil` that match, in order. They are civil times without a zone:
    /// the caller converts them to instants, and handles those that a DST change skips.
    pub fn after(&self, civil: DateTime) -> impl Iterator<Item = DateTime> + use<> {
        let mut reading = chrono_time(civil).zip(read_cron(&self.0));
        // Not the iterator of croner 3, which leaves out the second after each occurrence.
        std::iter::from_fn(move || {
            let (last, cron) = reading.as_mut()?;
            *last = cron.find_next_occurrence(last, false).ok()?;
            civil_time(last)
        })
    }
}

/// A civil time as croner counts with it: as one of UTC.
fn chrono_time(civil: DateTime) -> Option<chrono::DateTime<chrono::Utc>> {
    let utc = Offset::UTC.to_timestamp(civil).ok()?;
    chrono::DateTime::from_timestamp(utc.as_second(), 0)
}

fn civil_time(time: &chrono::DateTime<chrono::Utc>) -> Option<DateTime> {
    let utc = jiff::Timestamp::from_second(time.timestamp()).ok()?;
    Some(Offset::UTC.to_datetime(utc))
}

/// Parses an expression in the dialect of the scheduler: seconds first, and no year.
fn read_cron(text: &str) -> Option<croner::Cron> {
    CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build().parse(text).ok()
}

/// Finds the first field that can't be parsed on its own. An empty item of a list is refused
/// because it would match nothing.
fn unreadable_field<'a>(fields: &[&'a str]) -> Option<(&'static str, &'a str)> {
    let readable = |place: usize, field: &str| {
        let alone: Vec<&str> =
            (0..CRON_FIELDS.len()).map(|other| if other == place { field } else { "*" }).collect();
        field.split(',').all(|item| !item.is_empty()) && read_cron(&alone.join(" ")).is_some()
    };
    let mut places = CRON_FIELDS.into_iter().zip(fields.iter().copied()).enumerate();
    places.find(|(place, (_, field))| !readable(*place, field)).map(|(_, found)| found)
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != CRON_FIELDS.len() {
            return Err(InvalidCron::Fields(text.to_owned()));
        }
        if let Some((name, field)) = unreadable_field(&fields) {
            return Err(InvalidCron::Field {
                text: text.to_owned(),
                field: field.to_owned(),
                name,
            });
        }
        let cron = Self(fields.join(" "));
        let comes = cron.after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)).next().is_some();
        if comes { Ok(cron) } else { Err(InvalidCron::Never(text.to_owned())) }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The time zone of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The time zone of the node, as it is at the time.
    Local,
    /// A time zone with an IANA name.
    Named(TimeZone),
}

/// The error for a text that names no time zone.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a time zone of this machine: use \"local\", \"UTC\" or a name such as \
     \"Europe/Berlin\" (which needs the tzdata package)"
)]
pub struct UnknownZone(String);

impl Zone {
    /// The time zone now. That of the node can change while the daemon runs.
    #[must_use]
    pub fn time_zone(&self) -> TimeZone {
        match self {
            Self::Local => TimeZone::system(),
            Self::Named(zone) => zone.clone(),
        }
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            name => TimeZone::get(name).map(Self::Named).map_err(|_| UnknownZone(text.to_owned())),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Named(zone) => f.write_str(zone.iana_name().unwrap_or("UTC")),
        }
    }
}

written_as_text!(Cron, "a cron expression of six fields");
written_as_text!(Zone, "a time zone");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expression_has_six_fields() {
        for text in ["0 0 0 * * *", "0 */15 2-4 ? JAN,FEB MON#1"] {
            assert_eq!(text.parse::<Cron>().map(|cron| cron.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "0 0 * * *", "0 0 0 * * * *", "@daily"] {
            assert_eq!(text.parse::<Cron>(), Err(InvalidCron::Fields(text.to_owned())));
        }
    }

    #[test]
    fn invalid_cron_field_is_refused_by_name() {
        let table = [
            ("60 0 0 * * *", "second"),
            ("0 , 0 * * *", "minute"),
            ("0 0 24 * * *", "hour"),
            ("0 0 0 32 * *", "day of month"),
            ("0 0 0 * FOO *", "month"),
            ("0 0 0 * * $", "day of week"),
            ("0 0,,1 0 * * *", "minute"),
            ("5-3 0 0 * * *", "second"),
        ];
        for (text, expected) in table {
            match text.parse::<Cron>() {
                Err(InvalidCron::Field { name, .. }) => assert_eq!(name, expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let error = "0 0 24 * * *".parse::<Cron>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"0 0 24 * * *\" is not a cron expression: \"24\" can't be its hour"
        );
    }

    #[test]
    fn cron_expression_without_dates_is_refused() {
        for text in ["0 0 0 31 2 *", "0 0 0 30 FEB *", "0 0 0 31 4,6,9,11 *"] {
            assert_eq!(text.parse::<Cron>(), Err(InvalidCron::Never(text.to_owned())));
        }
        assert!("0 0 0 29 2 *".parse::<Cron>().is_ok());
    }

    #[test]
    fn cron_expression_means_times_of_day() {
        let times = |text: &str, after: &str, count: usize| -> Vec<String> {
            let cron: Cron = text.parse().unwrap();
            cron.after(after.parse().unwrap()).take(count).map(|civil| civil.to_string()).collect()
        };
        assert_eq!(
            times("0 0 0 * * *", "2027-12-30T00:00:00", 2),
            ["2027-12-31T00:00:00", "2028-01-01T00:00:00"]
        );
        assert_eq!(
            times("0 30 3 * * MON", "2027-02-26T12:00:00", 2),
            ["2027-03-01T03:30:00", "2027-03-08T03:30:00"]
        );
        assert_eq!(
            times("*/20 59 23 31 12 ?", "2027-12-31T23:59:20", 2),
            ["2027-12-31T23:59:40", "2028-12-31T23:59:00"]
        );
        assert_eq!(
            times("* * * * * *", "2027-12-31T23:59:58", 2),
            ["2027-12-31T23:59:59", "2028-01-01T00:00:00"]
        );
        assert_eq!(
            times("0 0 0 29 2 *", "2027-01-01T00:00:00", 2),
            ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]
        );
    }

    fn pause(text: &str, days: u64) -> Option<String> {
        let cron: Cron = text.parse().unwrap();
        let pause = cron.find_pause(Duration::from_secs(days * 86_400))?;
        let length = pause.length().as_secs() / 86_400;
        Some(format!("{} {} {length}", pause.from.date(), pause.to.date()))
    }

    #[test]
    fn pause_is_as_long_as_asked_for() {
        let table = [
            ("0 0 0 * * *", 15, None),
            ("*/5 * * * * *", 15, None),
            ("0 0 0 1,15 * *", 15, Some("2026-01-15 2026-02-01 17")),
            ("0 0 0 1,15 * *", 18, None),
            ("0 0 0 1 * *", 15, Some("2026-01-01 2026-02-01 31")),
            ("0 0 0 1 * *", 31, Some("2026-01-01 2026-02-01 31")),
            ("0 0 0 1 * *", 32, None),
            ("0 30 3 * * MON", 7, Some("2026-01-05 2026-01-12 7")),
            ("0 30 3 * * MON", 8, None),
            // Each day, but not in summer.
            ("0 0 2 * 1-5,9-12 *", 15, Some("2026-05-31 2026-09-01 93")),
            ("0 0 0 29 2 *", 400, Some("2028-02-29 2032-02-29 1461")),
            ("0 0 0 1 1 *", 366, Some("2028-01-01 2029-01-01 366")),
            ("0 0 0 1 1 *", 367, None),
        ];
        for (text, days, expected) in table {
            assert_eq!(pause(text, days).as_deref(), expected, "{text}, {days} days");
        }
    }

    proptest::proptest! {
        #[test]
        fn pause_is_found_where_there_is_one(
            text in proptest::sample::select(vec![
                "0 0 0 * * *", "0 0 0 1 * *", "0 15 3 1-7 * MON", "0 0 */6 * 3 *",
                "30 20 10 L 2,5 *", "0 0 12 * * TUE#2",
            ]),
            hours in 1..2_000_u64,
        ) {
            let cron: Cron = text.parse().unwrap();
            let limit = Duration::from_secs(hours * 3_600);
            let end = DateTime::constant(2028, 1, 1, 0, 0, 0, 0);
            let before = DateTime::constant(2025, 12, 31, 23, 59, 59, 0);
            let times: Vec<_> = cron.after(before).take_while(|time| *time < end).collect();
            let pauses = times.windows(2).map(|pair| Pause { from: pair[0], to: pair[1] });
            let expected = pauses.into_iter().find(|pause| pause.length() >= limit);
            match (cron.find_pause(limit), expected) {
                (found, None) => assert!(found.is_none_or(|found| found.to >= end)),
                (found, expected) => assert_eq!(found, expected),
            }
        }

        #[test]
        fn any_text_is_parsed_as_cron_without_panic(text in "([0-9*/,LW#?+@A-Zß-]{1,5} \
            ?){4,8}|\\PC{0,30}") {
            let _ = text.parse::<Cron>();
        }
    }

    #[test]
    fn zones_are_local_or_known() {
        assert_eq!("local".parse(), Ok(Zone::Local));
        assert_eq!("UTC".parse::<Zone>().unwrap().to_string(), "UTC");
        assert!("Mars/Olympus".parse::<Zone>().is_err());
    }
}
