//! The time limit of each query.

use std::time::Duration;

/// The time limit of one query.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
