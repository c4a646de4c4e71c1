//! What operators and other programs are told of a pass: alarms, those that are told of them, and
//! the lines of the journal.
//!
//! It takes what a pass found and did, and changes nothing on the node but its own memory. Nothing
//! below calls it, and nothing that goes wrong in it holds up a renewal.

pub mod alarms;
mod json;
mod ledger;
pub mod line;
mod messages;
pub mod metrics;
pub mod sinks;

pub use json::AlarmJson;
pub use ledger::Ledger;
pub use line::{Line, PassId};
pub use messages::Message;
