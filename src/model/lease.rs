//! A Lease of the cluster's API (`coordination.k8s.io/v1`), as far as it matters here.

use std::time::Duration;

/// Who holds a Lease, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The holder; `None` where it is free.
    pub holder: Option<String>,
    /// How long it is valid after its last renewal.
    pub duration: Duration,
}
