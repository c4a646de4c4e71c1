//! What is done about a plan. Services and kubelet's own certificate get their rooms here beside the renewal.

mod renew;
mod trial;

pub use renew::{Job, Outcome, Progress, RenewError, Renewal, Renewed, renew};
