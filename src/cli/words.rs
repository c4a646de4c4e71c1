//! Dates and states as the tables show them.

use std::time::Duration;

use anstyle::Style;

use super::out::{BAD, GOOD, PLAIN, QUIET, SOON};
use crate::model::{Condition, Timestamp};
use crate::plan::span;

/// `2027-11-21 17:14 UTC`.
pub(super) fn date(time: Timestamp) -> String {
    time.civil().strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `364 days`, or `-5 days` after the end.
pub(super) fn left(now: Timestamp, end: Timestamp) -> String {
    let seconds = end.seconds_since(now);
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}", span(Duration::from_secs(seconds.unsigned_abs())))
}

/// The style of a state.
pub(super) fn style(condition: Condition, attention: bool) -> Style {
    match condition {
        Condition::Fresh | Condition::InStep => GOOD,
        Condition::Absent | Condition::NoCertificate => QUIET,
        Condition::Due | Condition::EndsWithAuthority | Condition::Behind => SOON,
        _ if attention => BAD,
        _ => PLAIN,
    }
}

/// `1 credential`, `2 credentials`.
pub(super) fn copies(number: usize) -> String {
    if number == 1 { "1 copy".to_owned() } else { format!("{number} copies") }
}

pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
