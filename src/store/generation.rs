//! The names of backups: `20261121T000000Z`, with a counter where a backup of that second or a
//! later one exists already (`20261121T000000Z-0001`), and `-others` where others than root can
//! write the files.

use std::ffi::{OsStr, OsString};

use crate::model::Timestamp;

/// The end of the name of a backup of files that others can write.
const OTHERS: &str = "-others";

/// The length of `20261121T000000Z`.
const STAMP_LENGTH: usize = 16;

/// The backup of one pass. A later one is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    stamp: String,
    counter: u64,
    others: bool,
    name: OsString,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.name.display().fmt(f)
    }
}

impl Generation {
    /// Parses the name of a backup; `None` for every other name.
    pub(super) fn parse(name: OsString) -> Option<Self> {
        let text = name.to_str()?;
        let (text, others) = match text.strip_suffix(OTHERS) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (stamp, rest) = text.split_at_checked(STAMP_LENGTH)?;
        let counter = match rest.strip_prefix('-') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
            None if rest.is_empty() => Some(0),
            None => None,
        }?;
        if !is_stamp(stamp.as_bytes()) {
            return None;
        }
        Some(Self { stamp: stamp.to_owned(), counter, others, name })
    }

    /// The name of the backup that is made after `newest`. It is greater, even if the clock was
    /// ahead when that was made. `others` says that others than root can write the files.
    pub(super) fn next(now: Timestamp, newest: Option<&Self>, others: bool) -> Self {
        let stamp = now.civil().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (stamp, counter) = match newest {
            Some(newest) if newest.stamp >= stamp => {
                (newest.stamp.clone(), newest.counter.saturating_add(1))
            }
            _ => (stamp, 0),
        };
        let count = if counter == 0 { String::new() } else { format!("-{counter:04}") };
        let name = format!("{stamp}{count}{}", if others { OTHERS } else { "" }).into();
        Self { stamp, counter, others, name }
    }

    /// Whether others than root can have written the files that it holds.
    #[must_use]
    pub fn is_writable_by_others(&self) -> bool {
        self.others
    }

    /// The name of its directory.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }
}

/// Whether a text has the form of `20261121T000000Z`.
fn is_stamp(text: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..8) && text.get(8) == Some(&b'T') && digits(9..15) && text.get(15) == Some(&b'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Option<Generation> {
        Generation::parse(name.into())
    }

    #[test]
    fn names_are_parsed_and_others_are_ignored() {
        for name in [
            "20261121T000000Z",
            "20261121T000000Z-0001",
            "20261121T000000Z-12345",
            "20261121T000000Z-others",
            "20261121T000000Z-0001-others",
        ] {
            let generation = parse(name).unwrap();
            assert_eq!(generation.to_string(), name);
            assert_eq!(generation.is_writable_by_others(), name.ends_with("others"), "{name}");
        }
        for name in [
            "",
            ".half",
            "20261121T000000",
            "20261121T000000Z.bak",
            "20261121T000000Z-",
            "20261121T000000Z-+1",
            "20261121T000000Z-others-0001",
            "20261121T0000000-0001",
            "2026112\u{e4}T000000Z",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn next_name_is_greater_than_all_earlier_ones() {
        let now = Timestamp::from_seconds(1_795_219_200);
        for (newest, next) in [
            ("20261120T235959Z-9999", "20261121T000000Z"),
            ("20261121T000000Z", "20261121T000000Z-0001"),
            ("20261121T000000Z-others", "20261121T000000Z-0001"),
            ("20261121T000000Z-9999", "20261121T000000Z-10000"),
            ("20281121T000000Z-0009-others", "20281121T000000Z-0010"),
        ] {
            let newest = parse(newest).unwrap();
            for (others, next) in [(false, next.to_owned()), (true, format!("{next}-others"))] {
                let made = Generation::next(now, Some(&newest), others);
                assert_eq!((made.to_string(), &made), (next.clone(), &parse(&next).unwrap()));
                assert!(made > newest, "{made} {newest}");
            }
        }
    }
}
