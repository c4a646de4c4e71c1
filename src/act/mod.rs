//! Carries out a plan: renewal, copies, trials, rollback, the refresh of services, and kubelet's
//! own certificate.

mod back;
mod copy;
mod job;
mod kubelet;
mod lost;
pub mod refresh;
mod renew;
mod trial;

pub use back::{RollBackError, RolledBack, Suspect, roll_back};
pub use copy::{Copied, CopyError, Following, follow};
pub use job::{Job, Progress, RenewError, RenewOutcome, Renewal, Renewed};
pub use renew::{algorithm, renew};
pub use trial::{Refusal, try_one};
