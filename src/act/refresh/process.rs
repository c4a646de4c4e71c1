//! Signals to processes.

use super::RefreshError;
use crate::drivers::processes::{self, Process};
use crate::model::Signal;
use crate::sys::Root;

/// Sends a signal to a process.
///
/// # Errors
/// When the process no longer runs, or the system refuses.
pub fn send(root: &Root, process: Process, signal: Signal) -> Result<(), RefreshError> {
    Ok(process.signal(root, number(signal))?)
}

/// The system's number of a signal.
pub fn number(signal: Signal) -> processes::Signal {
    match signal {
        Signal::Hup => processes::Signal::HUP,
        Signal::Usr1 => processes::Signal::USR1,
        Signal::Usr2 => processes::Signal::USR2,
        Signal::Term => processes::Signal::TERM,
    }
}
