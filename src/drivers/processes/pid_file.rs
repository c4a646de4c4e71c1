//! Pid files: the process that one names, and no other that has its number now.
//!
//! The rule is that of systemd for `PIDFile=`: what others than root can write names only processes
//! that they may signal themselves, or those of the unit that the configuration names.

use std::fmt;
use std::time::Duration;

use super::{Process, ProcessError, Signal};
use crate::model::{AbsolutePath, Timestamp};
use crate::sys::{Clock, FileContent, FileError, Root};

/// A pid file holds one number.
const MAX_BYTES: u64 = 64;

/// Both times are known to a second only, and the clock may have been slewed between them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// A pid file, as the configuration has it.
#[derive(Clone, Copy, Debug)]
pub struct PidFile<'p> {
    /// Its path.
    pub path: &'p AbsolutePath,
    /// The unit whose processes it may name where others than root can write it.
    pub unit: Option<&'p str>,
}

/// Why a pid file leads to no process.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// It can't be read.
    #[error("its pid file: {0}")]
    File(#[from] FileError),
    /// Its content is not a number.
    #[error("its pid file {0} does not hold the number of a process and nothing else")]
    NoPid(AbsolutePath),
    /// Its process has exited.
    #[error("its pid file {path} names process {pid}, which does not run")]
    Ended {
        /// The file.
        path: AbsolutePath,
        /// The number in it.
        pid: u32,
    },
    /// The number belongs to another process now.
    #[error(
        "its pid file {path} is older than process {pid}, so this is another process with the \
         same number: restart the service, which writes the file again"
    )]
    Reused {
        /// The file.
        path: AbsolutePath,
        /// The number in it.
        pid: u32,
    },
    /// It names another process than before.
    #[error("its pid file {path} does not name process {pid} any more")]
    Changed {
        /// The file.
        path: AbsolutePath,
        /// The process that it named.
        pid: u32,
    },
    /// Others than root can write it, and the process may not be theirs.
    #[error("{0}")]
    NotTrusted(Box<NotTrusted>),
    /// /proc can't be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A pid file that others than root can write, and a process that it may not name.
#[derive(Debug)]
pub struct NotTrusted {
    path: AbsolutePath,
    owner: u32,
    pid: u32,
    users: [u32; 4],
    unit: Option<String>,
}

impl fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, owner, pid, users, unit } = self;
        let [real, effective, saved, files] = users;
        write!(f, "its pid file {path} (owner: user {owner}) ")?;
        write!(f, "or a directory on the way to it is writable by others than root, ")?;
        write!(f, "and names process {pid} of ")?;
        if users.iter().all(|user| user == real) {
            write!(f, "user {real}")?;
        } else {
            write!(f, "the users {real}, {effective}, {saved} and {files}")?;
        }
        match unit {
            Some(unit) => write!(f, ", which does not belong to {unit}")?,
            None if *owner == 0 => {}
            None => write!(f, ", not of its owner")?,
        }
        f.write_str(
            ": the file and its directories must be owned by root and not writable by others, or \
             the service needs unit = \"NAME.service\", the unit that its process belongs to",
        )
    }
}

impl PidFile<'_> {
    /// Returns the process that the file names.
    ///
    /// A process writes its number after it has started; one that started after the file was
    /// written has only reused the number.
    ///
    /// # Errors
    /// When there is none, it is another one, or the file may not name it.
    pub fn find(self, root: &Root, clock: &dyn Clock) -> Result<Process, PidFileError> {
        let path = self.path;
        let (file, root_only) = read(root, path)?;
        let pid = parse(file.bytes.expose()).ok_or_else(|| PidFileError::NoPid(path.clone()))?;
        let process = Process::find(root, pid)?
            .ok_or_else(|| PidFileError::Ended { path: path.clone(), pid })?;
        let written = Timestamp::from_seconds(file.stat.st_mtime);
        if process.started_at(clock)?.minus(CLOCK_TOLERANCE) > written {
            return Err(PidFileError::Reused { path: path.clone(), pid });
        }
        if !root_only {
            self.check_process(root, file.stat.st_uid, process)?;
        }
        Ok(process)
    }

    /// Sends a signal to the process that the file named before, if it still names it and may.
    ///
    /// # Errors
    /// As [`Self::find`]; when the file names another process now; or when the system refuses.
    pub fn signal(
        self,
        root: &Root,
        clock: &dyn Clock,
        process: Process,
        signal: Signal,
    ) -> Result<(), PidFileError> {
        // From here on no other process gets the number, so the checks are of the one that is
        // signalled.
        let pinned = process.pin(root)?;
        if self.find(root, clock)? != process {
            return Err(PidFileError::Changed { path: self.path.clone(), pid: process.pid });
        }
        Ok(pinned.signal(signal)?)
    }

    /// Checks that a file that others can write may name this process.
    fn check_process(self, root: &Root, owner: u32, process: Process) -> Result<(), PidFileError> {
        let users = process.users(root)?;
        if owner != 0 && users == [owner; 4] {
            return Ok(());
        }
        if let Some(unit) = self.unit
            && process.cgroup(root)?.unit.as_deref() == Some(unit)
        {
            return Ok(());
        }
        Err(PidFileError::NotTrusted(Box::new(NotTrusted {
            path: self.path.clone(),
            owner,
            pid: process.pid,
            users,
            unit: self.unit.map(ToOwned::to_owned),
        })))
    }
}

/// The content of a pid file, and whether only root can have written it. A sticky directory such as
/// /tmp keeps the files of root, but others can link them there.
fn read(root: &Root, path: &AbsolutePath) -> Result<(FileContent, bool), FileError> {
    match root.read_root_only(path, MAX_BYTES) {
        Ok(file) if file.stat.st_nlink == 1 || !root.is_writable_by_others(path)? => {
            Ok((file, true))
        }
        Err(e) if !e.is_not_trusted() => Err(e),
        _ => Ok((root.read(path, MAX_BYTES)?, false)),
    }
}

/// Parses digits, and at most one line end. Process 1 is init, which no service is.
fn parse(content: &[u8]) -> Option<u32> {
    let text = str::from_utf8(content).ok()?;
    let digits = text.strip_suffix('\n').unwrap_or(text);
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|pid| all_digits && *pid > 1)
}

#[cfg(test)]
#[path = "pid_file_tests.rs"]
mod tests;
