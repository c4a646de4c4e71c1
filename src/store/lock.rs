//! One process at a time: an advisory lock that ends with the process that holds it, so that none is ever stale.

use std::ffi::OsStr;
use std::fs::File;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::StoreError;
use crate::sys::{Dir, FileError};

/// How often a lock that another process holds is tried again.
const PACE: Duration = Duration::from_millis(50);

const NAME: &str = "lock";

/// The lock, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held, not used")] Flock<File>);

impl Lock {
    /// Whether a process has the lock. Changes nothing.
    pub(crate) fn is_held(folder: &Dir) -> bool {
        let Ok(file) = folder.open(OsStr::new(NAME)) else { return false };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
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
        let mut file = folder.open_or_create(name)?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if began.elapsed() < wait => file = back,
                Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Err(StoreError::Busy { lock: path }),
                Err((_, errno)) => return Err(FileError::from_errno(path, "lock", errno).into()),
            }
            std::thread::sleep(PACE);
        }
    }
}
