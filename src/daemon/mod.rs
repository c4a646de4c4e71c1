//! The long-running process: when passes are made, and what else it listens to.

pub mod watch;
