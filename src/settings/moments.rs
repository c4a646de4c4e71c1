//! The times of passes: a cron expression and a time zone. A value is checked when it is made; the
//! schedule handles DST changes.

use std::fmt;
use std::str::FromStr;

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
    #[error("the cron expression {0:?} never comes: no year has such a day")]
    Never(String),
}

/// The fields of a cron expression, in order.
const CRON_FIELDS: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "day of week"];

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

    /// Returns the times after `civil` that match, in order. They are civil times without a zone:
    /// the caller converts them to instants, and handles those that a DST change skips.
    pub fn after(&self, civil: DateTime) -> impl Iterator<Item = DateTime> + use<> {
        let start = Offset::UTC
            .to_timestamp(civil)
            .ok()
            .and_then(|utc| chrono::DateTime::from_timestamp(utc.as_second(), 0));
        let mut reading = start.zip(read_cron(&self.0));
        // Not the iterator of croner 3, which leaves out the second after each occurrence.
        std::iter::from_fn(move || {
            let (last, cron) = reading.as_mut()?;
            *last = cron.find_next_occurrence(last, false).ok()?;
            let utc = jiff::Timestamp::from_second(last.timestamp()).ok()?;
            Some(Offset::UTC.to_datetime(utc))
        })
    }
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

    proptest::proptest! {
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
