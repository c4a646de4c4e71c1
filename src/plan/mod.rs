//! Decisions: what the facts mean, what is to be done, and why.
//!
//! Everything here is a function of its arguments: no file is opened, no clock asked, nothing waited for. That is what
//! makes a dry run and a real pass decide alike, and the decisions testable by the thousand.

mod judge;
mod patience;
mod steps;
mod words;

pub use judge::{action, judge, judge_authority};
pub use patience::{RELEASED, believe, defer, holds, last_seen, policy_by};
pub use steps::{Judged, Plan, Request, Step, Terms, plan};
pub use words::{remaining, span};
