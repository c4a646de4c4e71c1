//! One process at a time: an advisory lock that ends with the process that holds it, so that none
//! is ever stale.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::StoreError;
use crate::sys::{Dir, FileError};

/// How often a lock that another process holds is tried again.
const PACE: Duration = Duration::from_millis(50);

const NAME: &str = "lock";

/// The lock, for as long as the value lives: closing the file lets it go.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Whether a process has the lock. Changes nothing.
    pub(crate) fn is_held(folder: &Dir) -> bool {
        let Ok(file) = folder.open(OsStr::new(NAME)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Takes the lock, waiting at most `wait` for another process to let it go.
    pub(crate) fn take(folder: &Dir, wait: Duration) -> Result<Self, StoreError> {
        Self::take_named(folder, NAME, wait)
    }

    /// The same for a lock of another name.
    pub(super) fn take_named(folder: &Dir, name: &str, wait: Duration) -> Result<Self, StoreError> {
        let name = OsStr::new(name);
        let path = folder.path().join(name);
        let began = Instant::now();
        let file = folder.open_or_create(name)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Interrupted => {
                    return Err(FileError::from_io(path, "lock", e).into());
                }
                Err(_) if began.elapsed() < wait => {}
                Err(_) => return Err(StoreError::Busy { lock: path }),
            }
            std::thread::sleep(PACE);
        }
    }
}
