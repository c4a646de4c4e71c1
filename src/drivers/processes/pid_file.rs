//! Pid files: the process that one names, and no other that has its number now.

use std::time::Duration;

use super::{Process, ProcessError};
use crate::model::{AbsolutePath, Timestamp};
use crate::sys::{Clock, FileError, Root};

/// A pid file holds one number.
const MAX_BYTES: u64 = 64;

/// Both times are known to a second only, and the clock may have been slewed between them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

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
        "its pid file {path} is older than process {pid}, which must be another one that has its \
         number now: restart the service, which writes the file anew"
    )]
    Reused {
        /// The file.
        path: AbsolutePath,
        /// The number in it.
        pid: u32,
    },
    /// /proc can't be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Returns the process that a pid file names.
///
/// A process writes its number after it has started; one that started after the file was written
/// has only reused the number.
///
/// # Errors
/// When there is none, or it is another one.
pub fn of_pid_file(
    root: &Root,
    clock: &dyn Clock,
    path: &AbsolutePath,
) -> Result<Process, PidFileError> {
    let content = root.read(path, MAX_BYTES)?;
    let pid = parse(content.bytes.expose()).ok_or_else(|| PidFileError::NoPid(path.clone()))?;
    let process =
        Process::find(root, pid)?.ok_or_else(|| PidFileError::Ended { path: path.clone(), pid })?;
    let written = Timestamp::from_seconds(content.stat.st_mtime);
    if process.started_at(clock)?.minus(CLOCK_TOLERANCE) > written {
        return Err(PidFileError::Reused { path: path.clone(), pid });
    }
    Ok(process)
}

/// Parses digits, and at most one line end. Process 1 is init, which no service is.
fn parse(content: &[u8]) -> Option<u32> {
    let text = str::from_utf8(content).ok()?;
    let digits = text.strip_suffix('\n').unwrap_or(text);
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|pid| all_digits && *pid > 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::super::Signal;
    use super::*;
    use crate::sys::SystemClock;

    struct Sleeper(Child);

    impl Sleeper {
        #[allow(clippy::disallowed_methods, reason = "a process to send signals to")]
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[allow(clippy::disallowed_methods, reason = "what a service writes by itself")]
    fn pid_file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, AbsolutePath) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pid");
        std::fs::write(&path, content).unwrap();
        (dir, AbsolutePath::new(path.to_str().unwrap()).unwrap())
    }

    fn host() -> Root {
        Root::open(Path::new("/")).unwrap()
    }

    #[test]
    fn pid_file_must_contain_a_number() {
        for (content, pid) in
            [("12", Some(12)), ("12\n", Some(12)), ("4294967295\n", Some(u32::MAX))]
        {
            assert_eq!(parse(content.as_bytes()), pid, "{content:?}");
        }
        for content in [
            "",
            "\n",
            "0",
            "1",
            "-5",
            "+5",
            " 5",
            "5 ",
            "5\n\n",
            "5\n6",
            "5\r\n",
            "0x5",
            "4294967296",
            "\u{661}",
        ] {
            assert_eq!(parse(content.as_bytes()), None, "{content:?}");
        }
        assert_eq!(parse(b"\xff"), None);
    }

    #[test]
    fn process_named_in_the_file_is_signalled() {
        let mut sleeper = Sleeper::start();
        let (_dir, path) = pid_file(format!("{}\n", sleeper.0.id()));
        let process = of_pid_file(&host(), &SystemClock, &path).unwrap();
        process.signal(&host(), Signal::USR1).unwrap();
        assert_eq!(
            sleeper.0.wait().unwrap().signal(),
            Some(nix::sys::signal::Signal::SIGUSR1 as i32)
        );
    }

    #[test]
    fn process_younger_than_the_file_is_refused() {
        let sleeper = Sleeper::start();
        let (dir, path) = pid_file(sleeper.0.id().to_string());
        let file = std::fs::File::options().write(true).open(dir.path().join("a.pid")).unwrap();
        let age = |seconds| {
            std::time::UNIX_EPOCH
                + Duration::from_secs(u64::try_from(SystemClock.now().seconds()).unwrap() - seconds)
        };
        file.set_modified(age(60)).unwrap();
        let error = of_pid_file(&host(), &SystemClock, &path).unwrap_err();
        assert!(
            matches!(error, PidFileError::Reused { pid, .. } if pid == sleeper.0.id()),
            "{error}"
        );
        file.set_modified(age(2)).unwrap();
        of_pid_file(&host(), &SystemClock, &path).unwrap();
    }

    #[test]
    fn exited_process_and_invalid_file_are_distinguished() {
        let sleeper = Sleeper::start();
        let pid = sleeper.0.id();
        drop(sleeper);
        let (_dir, path) = pid_file(pid.to_string());
        let error = of_pid_file(&host(), &SystemClock, &path).unwrap_err();
        assert!(matches!(error, PidFileError::Ended { .. }), "{error}");
        let (_dir, path) = pid_file("eleven");
        let error = of_pid_file(&host(), &SystemClock, &path).unwrap_err();
        assert!(matches!(error, PidFileError::NoPid(_)), "{error}");
        let missing = AbsolutePath::new("/run/kubecertd-no-such.pid").unwrap();
        let error = of_pid_file(&host(), &SystemClock, &missing).unwrap_err();
        assert!(matches!(error, PidFileError::File(_)), "{error}");
    }
}
