//! What is done about a plan. Kubelet's own certificate gets its room here beside the renewal and the refresh of services.

pub mod refresh;
mod renew;

pub use renew::{Job, Outcome, Progress, RenewError, Renewal, Renewed, renew};
