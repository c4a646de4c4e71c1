//! An advisory lock for one process at a time. The kernel releases it when the process exits, so
//! that no lock is stale.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::StoreError;
use crate::sys::{Dir, FileError};

/// The time between attempts to take a lock that another process holds.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

const NAME: &str = "lock";

/// A lock that is held. Dropping it closes the file, which releases the lock.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Whether a process holds the lock. Changes nothing.
    pub(crate) fn is_held(dir: &Dir) -> bool {
        let Ok(file) = dir.open(OsStr::new(NAME)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Takes the lock, and waits at most `wait` for another process to release it.
    pub(crate) fn take(dir: &Dir, wait: Duration) -> Result<Self, StoreError> {
        Self::take_named(dir, NAME, wait)
    }

    /// Takes a lock of another name in the same way.
    pub(crate) fn take_named(dir: &Dir, name: &str, wait: Duration) -> Result<Self, StoreError> {
        let name = OsStr::new(name);
        let path = dir.path().join(name);
        let began = Instant::now();
        let file = dir.open_or_create(name)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Interrupted => {
                    return Err(FileError::from_io(path, "lock", e).into());
                }
                Err(_) if began.elapsed() < wait => {}
                Err(_) => return Err(StoreError::Busy { lock: path }),
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
    }
}
