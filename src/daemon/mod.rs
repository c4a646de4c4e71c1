//! The long-running process: when passes are made, and what else it listens to.

mod backoff;
pub mod schedule;
mod signals;
mod supervisor;

pub use backoff::Backoff;
pub use signals::{Signals, Wish};
pub use supervisor::Supervisor;
