//! The files in the state directory that are remembered from one pass to the next: passes, hold,
//! last good configuration, services, alarms, certificates, copies, and requests for an external
//! CA.
//!
//! Each file is optional and may be deleted without harm, except a request's private key, which
//! the answer needs. All of them are read, checked and written by [`mod@file`]. Memory only ever
//! holds an action back; it is never the reason for one.

mod alarms;
mod configuration;
mod copies;
pub(crate) mod file;
#[doc(hidden)]
pub mod fuzzing;
mod hold;
mod known;
mod passes;
mod requests;
mod rotation;
mod services;
mod untrusted;

pub use alarms::{AlarmState, read_alarms, update_alarms};
pub use configuration::{read_last_good_configuration, write_last_good_configuration};
pub use copies::Lineages;
pub use file::remove_drafts;
pub use hold::{read_hold, remove_hold, write_hold};
pub use known::KnownCertificates;
pub use passes::PassMemory;
pub use requests::{PendingRequest, forget_request, keep_request, pending_requests, requested_key};
pub use rotation::{KeptRotation, KeptStanding, rotation_file, rotation_key};
pub use services::{read_service_memory, write_service_memory};
pub use untrusted::untrusted_files;
