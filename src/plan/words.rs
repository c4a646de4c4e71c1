//! Durations as an operator reads them.

use std::time::Duration;

use crate::model::Timestamp;

/// `9 years`, `364 days`, `36 hours`, `5 minutes`: the largest unit that keeps two of it, rounded
/// down.
#[must_use]
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        63_072_000.. => (seconds / 31_536_000, "years"),
        172_800.. => (seconds / 86_400, "days"),
        7_200.. => (seconds / 3_600, "hours"),
        120.. => (seconds / 60, "minutes"),
        _ => (seconds, "seconds"),
    };
    format!("{count} {unit}")
}

/// How long until then, or how long ago it was; `now` where it is neither.
#[must_use]
pub fn remaining(now: Timestamp, end: Timestamp) -> String {
    let seconds = end.seconds_since(now);
    let size = span(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        ..0 => format!("{size} ago"),
        _ => format!("in {size}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_uses_largest_unit_with_two_or_more() {
        let shown = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 63_071_999, 63_072_000]
            .map(|s| span(Duration::from_secs(s)));
        assert_eq!(
            shown,
            [
                "0 seconds",
                "119 seconds",
                "2 minutes",
                "119 minutes",
                "2 hours",
                "47 hours",
                "2 days",
                "729 days",
                "2 years"
            ]
        );
    }

    #[test]
    fn remaining_distinguishes_past_and_future() {
        let now = Timestamp::from_seconds(1_000_000);
        assert_eq!(remaining(now, Timestamp::from_seconds(1_000_090)), "in 90 seconds");
        assert_eq!(remaining(now, Timestamp::from_seconds(0)), "11 days ago");
        assert_eq!(remaining(now, now), "now");
    }
}
