//! Value types that only the configuration uses: lengths of time, the number of backups, the name
//! of a profile. A value is checked when it is made.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A length of time in whole seconds, written as `15d`, `36h` or `1d12h`. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// The error for a text that is not a length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a duration: write whole days, hours, minutes and seconds, such as \"15d\", \
     \"36h\", \"1d12h\", \"5m\" or \"90s\""
)]
pub struct InvalidPeriod(String);

impl Period {
    /// Zero seconds.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Makes a period of whole days.
    #[must_use]
    pub const fn from_days(days: u32) -> Self {
        Self(crate::model::days(days as u64))
    }

    /// Makes a period of seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(Duration::from_secs(seconds as u64))
    }

    /// Makes a period of minutes.
    #[must_use]
    pub const fn from_minutes(minutes: u32) -> Self {
        Self(Duration::from_secs(minutes as u64 * 60))
    }

    /// Converts it to a `Duration`.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        whole_seconds(text).map(Self).ok_or_else(|| InvalidPeriod(text.to_owned()))
    }
}

/// Parses a length of time. Months and years are refused, because they have no fixed length; "3d
/// ago" is refused, because it is negative.
fn whole_seconds(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let length = Duration::try_from(length).ok()?;
    (length.subsec_nanos() == 0).then_some(length)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ];
        parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

/// How long a renewed certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// This long.
    For(Period),
    /// As long as kubeadm's configuration says (`certificateValidityPeriod`, since 1.31).
    Kubeadm,
}

impl FromStr for Validity {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "kubeadm" { Ok(Self::Kubeadm) } else { text.parse().map(Self::For) }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(period) => period.fmt(f),
            Self::Kubeadm => f.write_str("kubeadm"),
        }
    }
}

/// The name of a profile, which is also the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileName(String);

/// The error for a text that can't name a profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not the name of a profile: use 1 to 64 letters, digits, '-' and '_', such as \
     \"kubeadm\""
)]
pub struct InvalidProfileName(String);

impl ProfileName {
    /// The profile of a control-plane node made by kubeadm.
    #[must_use]
    pub fn kubeadm() -> Self {
        Self("kubeadm".to_owned())
    }

    /// The profile of a worker node made by kubeadm.
    #[must_use]
    pub fn worker() -> Self {
        Self("worker".to_owned())
    }

    /// The one of the two that the files of the node show.
    #[must_use]
    pub fn auto() -> Self {
        Self("auto".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = InvalidProfileName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let valid = (1..=64).contains(&text.len()) && text.chars().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidProfileName(text.to_owned())) }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of backups to keep: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BackupCount(u16);

impl BackupCount {
    /// The default number.
    pub const TEN: Self = Self(10);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for BackupCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = BackupCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 1 to 1000")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<BackupCount, E> {
                let count = u16::try_from(number).ok().filter(|count| (1..=1000).contains(count));
                count.map(BackupCount).ok_or_else(|| {
                    E::custom(format!(
                        "{number} is out of range, expected a whole number from 1 to 1000"
                    ))
                })
            }
        }
        deserializer.deserialize_i64(Count)
    }
}

/// A serde visitor that parses a value from text. Its error for a value of another type says what
/// was expected, in words for operators.
pub(super) struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T> Text<T> {
    pub(super) fn new(expected: &'static str) -> Self {
        Self { expected, value: PhantomData }
    }
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in quotes", self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements serde for a type that is text in the configuration.
macro_rules! written_as_text {
    ($type:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::settings::values::Text::new($expected))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
pub(super) use written_as_text;

written_as_text!(Period, "a duration such as \"15d\"");
written_as_text!(Validity, "a duration such as \"365d\", or \"kubeadm\"");
written_as_text!(ProfileName, "the name of a profile");

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<u64, InvalidPeriod> {
        text.parse::<Period>().map(|period| period.as_duration().as_secs())
    }

    #[test]
    fn periods_are_read_in_common_notations() {
        let table = [
            ("15d", 1_296_000),
            ("36h", 129_600),
            ("5m", 300),
            ("90s", 90),
            ("1d12h", 129_600),
            ("1d 12h", 129_600),
            ("15 days", 1_296_000),
            ("2w", 1_209_600),
            ("0s", 0),
        ];
        for (text, expected) in table {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn periods_without_fixed_length_are_refused() {
        for text in [
            "",
            "15",
            "d",
            "15q",
            "1mo",
            "1y",
            "-3d",
            "3d ago",
            "500ms",
            "1.5s",
            "999999999999d",
            "fifteen days",
        ] {
            assert_eq!(seconds(text), Err(InvalidPeriod(text.to_owned())));
        }
    }

    #[test]
    fn periods_read_back_as_shown() {
        for (text, shown) in [
            ("15d", "15d"),
            ("36h", "1d12h"),
            ("90s", "1m30s"),
            ("0d", "0s"),
            ("86399s", "23h59m59s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.to_string(), shown);
            assert_eq!(shown.parse(), Ok(period));
        }
    }

    #[test]
    fn profile_name_can_not_leave_its_directory() {
        for text in ["", "..", "../x", "a/b", "a.toml", "ä"] {
            assert!(text.parse::<ProfileName>().is_err(), "{text}");
        }
    }
}
