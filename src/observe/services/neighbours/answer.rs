//! The answers of members and servers, and the time limit for them.

use std::time::Duration;

use serde::Deserialize;

use crate::drivers::http::HttpResponse;

/// The time limit of one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The most characters of a reason that are shown: an error may quote the answer.
pub(super) const SHOWN_REASON: usize = 200;

/// Returns how many of them are healthy.
pub(super) fn count(answers: &[Option<bool>]) -> usize {
    answers.iter().filter(|answer| **answer == Some(true)).count()
}

/// Parses the JSON of an answer.
///
/// # Errors
/// When it has another status than 200, or is not understood.
pub(super) fn parse_response<T: for<'d> Deserialize<'d>>(
    url: &str,
    answer: HttpResponse,
) -> Result<T, String> {
    if answer.status != 200 {
        return Err(format!("{url} answers with status {}", answer.status));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|e| format!("{url} answers something that can't be understood: {e}"))
}
