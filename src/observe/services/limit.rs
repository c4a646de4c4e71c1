//! The limit of each question.

use std::time::Duration;

/// How long one question may take.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
