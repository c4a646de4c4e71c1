//! Reports: journal lines, alarms and their delivery, metrics, and the status file.
//!
//! The room takes the results of passes and changes nothing on the node but its own memory. Nothing
//! below calls it, and no failure in it delays a renewal.

pub mod alarms;
mod finished;
mod json;
mod ledger;
pub mod line;
pub mod log;
mod messages;
pub mod metrics;
pub mod nodes;
mod reporter;
pub mod sinks;
pub mod status;

pub use finished::FinishedPass;
pub use json::AlarmJson;
pub use ledger::AlarmLedger;
pub use line::{Line, PassId};
pub use log::PassEvents;
pub use messages::Message;
pub use reporter::Reporter;
pub use status::{PassSummary, Status};
