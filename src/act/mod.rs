//! Carries out a plan: renewal, copies, trials, rollback, the refresh of services, and kubelet's
//! own certificate.

mod back;
mod ca_certificate;
mod copy;
mod first_request;
mod job;
pub mod kubelet;
mod lost;
mod peer_identity;
pub mod refresh;
mod renew;
mod rotation;
mod trial;
mod trust;

pub use back::{RollBackError, RolledBack, Suspect, roll_back};
pub use ca_certificate::{CaReplacement, replace_ca_certificate};
pub use copy::{Copied, CopyError, Following, follow};
pub use first_request::make_first_request;
pub use job::{Issuer, Job, Progress, RenewError, RenewOutcome, Renewal, Renewed};
pub use peer_identity::{PeerIdentityError, peer_identity};
pub use renew::{algorithm, renew};
pub use rotation::{CaFiles, RotationFiles, RotationKeys, RotationStepError, Written};
pub use trial::{New, Refusal, try_one};
pub use trust::{KubeconfigFile, NewIssuer, Trust, trust_besides, trust_in_renewals};
