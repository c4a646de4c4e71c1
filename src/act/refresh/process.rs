//! Signals to the process that a pid file names, and to no other process that has the same number
//! meanwhile.

use super::RefreshError;
use crate::drivers::processes::{self, Process};
use crate::model::Signal;
use crate::sys::Root;

/// Sends a signal to a process.
///
/// # Errors
/// When the process no longer runs, or the system refuses.
pub fn send(root: &Root, process: Process, signal: Signal) -> Result<(), RefreshError> {
    let signal = match signal {
        Signal::Hup => processes::Signal::HUP,
        Signal::Usr1 => processes::Signal::USR1,
        Signal::Usr2 => processes::Signal::USR2,
        Signal::Term => processes::Signal::TERM,
    };
    Ok(process.signal(root, signal)?)
}
