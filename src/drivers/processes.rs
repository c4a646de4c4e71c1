//! Other processes, as /proc describes them: identity, start time, sockets, container, the files
//! that they see; and signals to them.
//!
//! A number alone does not identify a process: the kernel reuses it when the process exits.
//! Everything here is about a [`Process`], identified by its number and its start time, and a
//! result is discarded when it turns out to be about another process.

mod cgroup;
mod pid_file;
mod stat;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use cgroup::Cgroup;
pub use pid_file::{PidFile, PidFileError};
pub use rustix::process::Signal;

use crate::model::{AbsolutePath, Timestamp};
use crate::sys::{Clock, FileContent, FileError, FileProblem, Root};

/// The size limit of files in /proc; those read here hold a few lines.
const MAX_PROC_FILE_BYTES: u64 = 64 * 1024;

/// A process, and no other one that gets its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks after boot. Not valid after a reboot.
    pub start_ticks: u64,
}

/// Why a fact about a process is not known, or a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It has exited, though another process may have its number now.
    #[error("process {0} has exited")]
    Ended(u32),
    /// /proc can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// /proc does not say which users it has.
    #[error("/proc does not say which users process {0} has")]
    NoUsers(u32),
    /// The system does not return the boot-time clock.
    #[error("the system's clock for processes can't be read: {0}")]
    Clock(#[source] io::Error),
    /// The signal was refused.
    #[error("process {pid} can't be sent a signal: {source}")]
    Signal {
        /// Its number.
        pid: u32,
        /// The system's reason.
        source: io::Error,
    },
}

impl ProcessError {
    fn from_errno(pid: u32, errno: rustix::io::Errno) -> Self {
        match Errno::from_raw(errno.raw_os_error()) {
            Errno::ESRCH => Self::Ended(pid),
            errno => Self::Signal { pid, source: errno.into() },
        }
    }
}

/// A process by a descriptor: its number belongs to no other process while this value exists.
struct PinnedProcess {
    pid: u32,
    descriptor: OwnedFd,
}

impl PinnedProcess {
    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        pidfd_send_signal(&self.descriptor, signal)
            .map_err(|errno| ProcessError::from_errno(self.pid, errno))
    }
}

/// Lists the processes. One that exits meanwhile may be among them or not.
///
/// # Errors
/// When /proc can't be read.
pub fn all(root: &Root) -> Result<Vec<Process>, FileError> {
    list(root, |_| true)
}

/// Lists the processes of root with this name. Any user can give a process any name.
///
/// # Errors
/// When /proc can't be read.
pub fn of_root(root: &Root, name: &str) -> Result<Vec<Process>, FileError> {
    let mut named = list(root, |own| own == name.as_bytes())?;
    named.retain(|process| process.users(root).is_ok_and(|users| users == [0; 4]));
    Ok(named)
}

fn list(root: &Root, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Process>, FileError> {
    let names = root.open_dir(Path::new("/proc"))?.names()?;
    let pids = names.iter().filter_map(|name| name.to_str()?.parse().ok());
    let found = |pid| Process::find_named(root, pid, &is_wanted).ok().flatten();
    Ok(pids.filter_map(found).collect())
}

/// Returns the processes that have the socket with this number, such as
/// [`super::sockets::Listener::inode`]. There are several where one has inherited it from another.
///
/// # Errors
/// When /proc can't be read; or when no process is found, and the descriptors of some processes are
/// not readable, so that one of them may have it.
pub fn owners_of(root: &Root, socket: u64) -> Result<Vec<Process>, FileError> {
    let target = PathBuf::from(format!("socket:[{socket}]"));
    let mut owners = Vec::new();
    let mut hidden = None;
    for process in all(root)? {
        match process.has_open(root, &target) {
            Ok(true) => owners.push(process),
            Ok(false) => {}
            Err(e) => hidden = hidden.or(Some(e)),
        }
    }
    match hidden {
        Some(e) if owners.is_empty() => Err(e),
        _ => Ok(owners),
    }
}

impl Process {
    /// Returns the process that has this number now; `None` when there is none, or it is a zombie.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn find(root: &Root, pid: u32) -> Result<Option<Self>, FileError> {
        Self::find_named(root, pid, |_| true)
    }

    fn find_named(
        root: &Root,
        pid: u32,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Self>, FileError> {
        let path = proc_file(pid, "stat")?;
        let text = match root.read(&path, MAX_PROC_FILE_BYTES) {
            Ok(content) => content,
            Err(e) if is_ended(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let alive =
            stat::parse(text.bytes.expose()).filter(|stat| !stat.ended && is_wanted(stat.name));
        Ok(alive.map(|stat| Self { pid, start_ticks: stat.start_ticks }))
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn runs(self, root: &Root) -> Result<bool, FileError> {
        Ok(Self::find(root, self.pid)? == Some(self))
    }

    /// How long it has existed, including the time that the machine was suspended, whatever steps
    /// the wall clock made.
    ///
    /// # Errors
    /// When the system does not return the time.
    pub fn age(self) -> Result<Duration, ProcessError> {
        let failed = |errno: Errno| ProcessError::Clock(errno.into());
        let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(failed)?);
        Ok(since_boot.saturating_sub(self.since_boot()?))
    }

    /// How long after boot it was started: always the same for one process.
    ///
    /// # Errors
    /// When the system does not return the time.
    pub fn since_boot(self) -> Result<Duration, ProcessError> {
        let failed = |errno: Errno| ProcessError::Clock(errno.into());
        let ticks = sysconf(SysconfVar::CLK_TCK)
            .map_err(failed)?
            .and_then(|ticks| u32::try_from(ticks).ok());
        let ticks = ticks.filter(|ticks| *ticks > 0).ok_or_else(|| failed(Errno::EINVAL))?;
        Ok(stat::since_boot(self.start_ticks, ticks))
    }

    /// When it was started, to about a second, by the present wall clock: where the clock was set
    /// since, not the time that it showed then.
    ///
    /// # Errors
    /// When the system does not return the time.
    pub fn started_at(self, clock: &dyn Clock) -> Result<Timestamp, ProcessError> {
        Ok(clock.now().minus(self.age()?))
    }

    /// Its container and systemd unit, by its control group.
    ///
    /// # Errors
    /// When it has exited, or /proc can't be read.
    pub fn cgroup(self, root: &Root) -> Result<Cgroup, ProcessError> {
        let content = self.checked_afterwards(root, || {
            root.read(&proc_file(self.pid, "cgroup")?, MAX_PROC_FILE_BYTES)
        })?;
        Ok(Cgroup::parse(&String::from_utf8_lossy(content.bytes.expose())))
    }

    /// Its name: up to 15 bytes, which it can set itself.
    ///
    /// # Errors
    /// When it has exited, or /proc can't be read.
    pub fn name(self, root: &Root) -> Result<String, ProcessError> {
        let content = self.checked_afterwards(root, || {
            root.read(&proc_file(self.pid, "comm")?, MAX_PROC_FILE_BYTES)
        })?;
        Ok(String::from_utf8_lossy(content.bytes.expose()).trim_end().to_owned())
    }

    /// Its command line: the program and its arguments, each with a zero byte at its end. It can
    /// overwrite them itself.
    ///
    /// # Errors
    /// When it has exited, or /proc can't be read.
    pub fn command_line(self, root: &Root) -> Result<String, ProcessError> {
        let content = self.checked_afterwards(root, || {
            root.read(&proc_file(self.pid, "cmdline")?, MAX_PROC_FILE_BYTES)
        })?;
        Ok(String::from_utf8_lossy(content.bytes.expose()).into_owned())
    }

    /// The sockets that it has open, by the numbers that [`owners_of`] takes.
    ///
    /// # Errors
    /// When it has exited, or its descriptors are not readable.
    pub fn sockets(self, root: &Root) -> Result<BTreeSet<u64>, ProcessError> {
        let number = |target: PathBuf| {
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        };
        self.checked_afterwards(root, || {
            Ok(self.open_files(root)?.into_iter().filter_map(number).collect())
        })
    }

    /// Reads a file as the process sees it: below its own root directory, through its own mounts.
    /// Symlinks are followed there and don't lead out of it.
    ///
    /// # Errors
    /// When it has exited, or the file can't be read.
    pub fn read_in(
        self,
        root: &Root,
        path: &AbsolutePath,
        limit: u64,
    ) -> Result<FileContent, ProcessError> {
        // The link is the kernel's own: it leads to the directory itself and not to a directory of
        // the same name here, and only opening it by its plain path follows it.
        let link = root.shown().join(format!("proc/{}/root", self.pid));
        self.checked_afterwards(root, || Root::open(&link)?.read_through_any_links(path, limit))
    }

    /// Its users: real, effective, saved, and for files.
    ///
    /// # Errors
    /// When it has exited, or /proc can't be read.
    pub fn users(self, root: &Root) -> Result<[u32; 4], ProcessError> {
        let content = self.checked_afterwards(root, || {
            root.read(&proc_file(self.pid, "status")?, MAX_PROC_FILE_BYTES)
        })?;
        let users = stat::users(&String::from_utf8_lossy(content.bytes.expose()));
        users.ok_or(ProcessError::NoUsers(self.pid))
    }

    /// Sends a signal, to this process or to none.
    ///
    /// # Errors
    /// When it has exited, or the system refuses.
    pub fn signal(self, root: &Root, signal: Signal) -> Result<(), ProcessError> {
        self.pin(root)?.signal(signal)
    }

    /// Opens a descriptor that stands for this process and for no other one.
    ///
    /// # Errors
    /// When it has exited, or the system refuses.
    fn pin(self, root: &Root) -> Result<PinnedProcess, ProcessError> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(ProcessError::Ended(self.pid))?;
        // From here on the descriptor stands for one process, which may already be another one: so
        // the identity is checked afterwards.
        let descriptor = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|errno| ProcessError::from_errno(self.pid, errno))?;
        if !self.runs(root)? {
            return Err(ProcessError::Ended(self.pid));
        }
        Ok(PinnedProcess { pid: self.pid, descriptor })
    }

    /// Runs `work` by the number, and verifies afterwards that it still belongs to this process.
    fn checked_afterwards<T>(
        self,
        root: &Root,
        work: impl FnOnce() -> Result<T, FileError>,
    ) -> Result<T, ProcessError> {
        let result = work();
        if !self.runs(root)? {
            return Err(ProcessError::Ended(self.pid));
        }
        Ok(result?)
    }

    fn has_open(self, root: &Root, target: &Path) -> Result<bool, FileError> {
        match self.checked_afterwards(root, || self.lists_open(root, target)) {
            Ok(found) => Ok(found),
            Err(ProcessError::File(e)) => Err(e),
            Err(_) => Ok(false),
        }
    }

    fn lists_open(self, root: &Root, target: &Path) -> Result<bool, FileError> {
        Ok(self.open_files(root)?.iter().any(|found| found == target))
    }

    /// The targets of its descriptors. With some capabilities they can be listed but not read,
    /// which is an error.
    fn open_files(self, root: &Root) -> Result<Vec<PathBuf>, FileError> {
        let dir = root.open_dir(proc_file(self.pid, "fd")?.as_path())?;
        let mut targets = Vec::new();
        for name in dir.names()? {
            match dir.link_target(&name) {
                Ok(target) => targets.extend(target),
                // A descriptor that is closed meanwhile does not count.
                Err(e) if is_ended(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(targets)
    }
}

fn proc_file(pid: u32, name: &str) -> Result<AbsolutePath, FileError> {
    let path = format!("/proc/{pid}/{name}");
    AbsolutePath::new(&path)
        .map_err(|_| FileError { path: path.into(), problem: FileProblem::NotFound })
}

/// Whether the process has exited. Reading fails with "no such process" where it exits between
/// opening and reading.
fn is_ended(error: &FileError) -> bool {
    let no_process = |source: &io::Error| source.raw_os_error() == Some(Errno::ESRCH as i32);
    error.is_not_found()
        || matches!(&error.problem, FileProblem::Io { source, .. } if no_process(source))
}
