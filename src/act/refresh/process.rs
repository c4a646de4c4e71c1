//! A signal to a process: to the one that a pid file names, and to no other that has its number by
//! now.

use super::RefreshError;
use crate::drivers::processes::{self, Process};
use crate::model::Signal;
use crate::sys::Root;

/// Sends it.
///
/// # Errors
/// When the process has ended, or the system refuses.
pub fn send(root: &Root, process: Process, signal: Signal) -> Result<(), RefreshError> {
    let signal = match signal {
        Signal::Hup => processes::Signal::HUP,
        Signal::Usr1 => processes::Signal::USR1,
        Signal::Usr2 => processes::Signal::USR2,
        Signal::Term => processes::Signal::TERM,
    };
    Ok(process.signal(root, signal)?)
}
