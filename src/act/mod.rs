//! What is done about a plan. Kubelet's own certificate gets its room here beside the renewal and
//! the refresh of services.

mod back;
mod copy;
mod job;
mod kubelet;
pub mod refresh;
mod renew;
mod trial;

pub use back::{RollBackError, RolledBack, Suspect, roll_back};
pub use copy::{Copied, CopyError, Following, follow};
pub use job::{Job, Progress, RenewError, RenewOutcome, Renewal, Renewed};
pub use renew::{algorithm, renew};
pub use trial::{Refusal, try_one};
