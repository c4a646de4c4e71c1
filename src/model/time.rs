//! A point in time as certificates know it: whole seconds, UTC.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// Whole seconds since 1970-01-01T00:00:00Z.
///
/// A type of its own because X.509 allows every second up to the end of the year 9999 (RFC 5280, 4.1.2.5), which is
/// a day more than most time libraries hold, and because nothing about a certificate needs less than a second.
/// Arithmetic saturates: a certificate that claims to end in the year 9999 must not overflow anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The end of the year 9999, which RFC 5280 (4.1.2.5) uses for "no well-defined end".
    pub const MAX: Self = Self(253_402_300_799);

    /// The beginning of the year 1, earlier than anything a certificate can say.
    pub const MIN: Self = Self(-62_135_596_800);

    /// From seconds since the Unix epoch; values outside the years 1 to 9999 are clamped.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(Self::MIN.0, Self::MAX.0))
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
        let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
        epoch.saturating_add(SignedDuration::from_secs(self.0))
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, as kubeadm's JSON and the journal show it: `2027-11-21T17:14:42Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%dT%H:%M:%SZ"))
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
    fn shows_rfc_3339_up_to_the_last_second_of_9999() {
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_seconds(1_826_817_282).to_string(), "2027-11-21T17:14:42Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX.plus(days(1)), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.minus(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_seconds(10).seconds_since(Timestamp::from_seconds(25)), -15);
    }
}
