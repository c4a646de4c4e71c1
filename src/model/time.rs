//! A point in time as certificates know it: whole seconds, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whole seconds since 1970-01-01T00:00:00Z.
///
/// A type of its own because X.509 allows every second up to the end of the year 9999 (RFC 5280,
/// 4.1.2.5), which is a day more than most time libraries hold, and because nothing about a
/// certificate needs less than a second. Arithmetic saturates: a certificate that claims to expire
/// in the year 9999 must not overflow anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The end of the year 9999, which RFC 5280 (4.1.2.5) uses for "no well-defined end".
    pub const MAX: Self = Self(253_402_300_799);

    /// The beginning of the year 1, earlier than anything a certificate can say.
    pub const MIN: Self = Self(-62_135_596_800);

    /// From seconds since the Unix epoch; values outside the years 1 to 9999 are clamped.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        if seconds < Self::MIN.0 {
            Self::MIN
        } else if seconds > Self::MAX.0 {
            Self::MAX
        } else {
            Self(seconds)
        }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// This time and a duration later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_seconds(self.0.saturating_add(whole_seconds(duration)))
    }

    /// This time and a duration earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_seconds(self.0.saturating_sub(whole_seconds(duration)))
    }

    /// Seconds from `earlier` to this time; negative when `earlier` is the later one.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The date and time of day in UTC.
    #[must_use]
    pub fn civil(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_secs(self.0))
    }
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, as kubeadm's JSON and the journal show it: `2027-11-21T17:14:42Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// A text that is not a point in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a date and time with a zone, such as 2027-03-01T12:00:00Z")]
pub struct InvalidTime(String);

/// RFC 3339, with any offset; parts of a second are dropped.
impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let parts = || {
            let pieces = Pieces::parse(text).ok()?;
            Some((pieces.date().to_datetime(pieces.time()?), pieces.to_numeric_offset()?))
        };
        let (time, offset) = parts().ok_or_else(|| InvalidTime(text.to_owned()))?;
        Ok(Self::from_seconds(time.duration_since(EPOCH).as_secs() - i64::from(offset.seconds())))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A duration of whole days.
#[must_use]
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_displays_as_rfc_3339_up_to_9999() {
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_seconds(1_826_817_282).to_string(), "2027-11-21T17:14:42Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn time_round_trips_and_accepts_other_offsets() {
        for time in [
            Timestamp::MIN,
            Timestamp::from_seconds(-1),
            Timestamp::from_seconds(0),
            Timestamp::MAX,
        ] {
            assert_eq!(time.to_string().parse(), Ok(time));
            assert_eq!(
                serde_json::from_str::<Timestamp>(&serde_json::to_string(&time).unwrap()).unwrap(),
                time
            );
        }
        assert_eq!(
            "2027-11-21T19:14:42.9+02:00".parse(),
            Ok(Timestamp::from_seconds(1_826_817_282))
        );
    }

    #[test]
    fn time_without_zone_is_refused() {
        for text in
            ["", "soon", "2027-11-21", "2027-11-21T19:14:42", "2027-13-21T19:14:42Z", "1826817282"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime(text.to_owned())));
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX.plus(days(1)), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.minus(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_seconds(10).seconds_since(Timestamp::from_seconds(25)), -15);
    }
}
