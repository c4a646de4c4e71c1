//! Runs a program with arguments: no shell, a time limit, and only the beginning and end of its
//! output kept.
//!
//! This is the only module that starts programs from this process; [`super::outside`] has systemd
//! start them.

mod output;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

pub use output::Output;

/// The search path for programs that are named without a directory.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program over its limit may take to exit after SIGTERM.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// How long the last output is waited for when the program has exited but a child of it still holds
/// the pipe.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// A program and its arguments, taken literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv {
    program: String,
    arguments: Vec<String>,
}

/// Why a list of words is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgv {
    /// The first word is missing or empty.
    #[error("a command needs a program as its first word")]
    NoProgram,
    /// A word contains a zero byte, which the system can't pass.
    #[error("a command can't have a zero byte in a word")]
    ZeroByte,
}

impl Argv {
    /// Builds a command from the program's name or path and its arguments.
    ///
    /// # Errors
    /// [`InvalidArgv`], when the words can't be run.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidArgv> {
        let mut words = words.into_iter().map(Into::into);
        let program: String = words
            .next()
            .filter(|program: &String| !program.is_empty())
            .ok_or(InvalidArgv::NoProgram)?;
        let arguments: Vec<String> = words.collect();
        if std::iter::once(&program).chain(&arguments).any(|word| word.contains('\0')) {
            return Err(InvalidArgv::ZeroByte);
        }
        Ok(Self { program, arguments })
    }

    /// All words, the program first.
    pub(crate) fn words(&self) -> Vec<String> {
        std::iter::once(&self.program).chain(&self.arguments).cloned().collect()
    }

    /// The program, as it was named.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }
}

/// A program that has exited, successfully or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it exited.
    pub ending: Ending,
    /// Its output.
    pub output: Output,
}

/// How a program exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code; 0 means success.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// Why a program could not be run until it exited.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no program of this name.
    #[error("there is no program {0} (looked for in {SEARCH_PATH})")]
    NotFound(String),
    /// It can't be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It did not exit in time, and was killed with all its children that stayed in its process
    /// group.
    #[error("{program} did not finish within {} s and was killed", limit.as_secs_f32())]
    Limit {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// Its output until then.
        output: Output,
    },
    /// Following the program failed on this side.
    #[error("cannot follow {program}: {source}")]
    Follow {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Runs a program until it exits or its limit is over: in `/`, with nothing in its environment but
/// `PATH` and `LANG`, in a process group of its own.
///
/// A child that outlives it is left alone, even when it holds the output open: it may be a service
/// that was started. When the limit is over, the whole group gets SIGTERM, and SIGKILL two seconds
/// later. When the returned future is dropped, the group is killed at once.
///
/// Needs a tokio runtime with timers and I/O enabled; one thread is enough.
///
/// # Errors
/// [`CommandError`], when it can't be started, or does not exit in time. An exit code other than 0
/// is no error.
pub async fn run(
    argv: &Argv,
    stdin: Option<&[u8]>,
    limit: Duration,
) -> Result<Finished, CommandError> {
    let follow = |source| CommandError::Follow { program: argv.program.clone(), source };
    let (mut group, mut pipe) = start(argv, stdin.is_some())?;
    let feed = group.0.stdin.take().zip(stdin);
    let mut output = Output::default();
    let ended = timeout(limit, follow_until_exit(&mut group.0, feed, &mut pipe, &mut output)).await;
    if let Ok(status) = ended {
        let ending = ending(status.map_err(follow)?);
        // A timeout means that children still hold the pipe: their output is no longer relevant.
        let _ = timeout(DRAIN_TIMEOUT, read_all(&mut pipe, &mut output)).await;
        return Ok(Finished { ending, output });
    }
    group.end(&mut pipe, &mut output).await;
    Err(CommandError::Limit { program: argv.program.clone(), limit, output })
}

fn start(argv: &Argv, feeds: bool) -> Result<(Group, Receiver), CommandError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound(argv.program.clone()),
        _ => CommandError::Start { program: argv.program.clone(), source },
    };
    // One pipe for both outputs, so that the lines keep the order in which they were written.
    let (reader, writer) = io::pipe().map_err(failed)?;
    let pipe = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let child = {
        #[allow(clippy::disallowed_methods, reason = "this is the seam")]
        let mut command = Command::new(&argv.program);
        command.args(&argv.arguments).current_dir("/").process_group(0);
        command.env_clear().env("PATH", SEARCH_PATH).env("LANG", "C.UTF-8");
        command.stdin(if feeds { Stdio::piped() } else { Stdio::null() });
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        command.spawn().map_err(failed)?
    };
    Ok((Group(child), pipe))
}

/// Reads and writes at the same time, so that the program never waits for this side.
async fn follow_until_exit(
    child: &mut Child,
    feed: Option<(ChildStdin, &[u8])>,
    pipe: &mut Receiver,
    output: &mut Output,
) -> io::Result<ExitStatus> {
    let mut reads = std::pin::pin!(read_all(pipe, output));
    let mut writes = std::pin::pin!(write_all(feed));
    let (mut reading, mut writing) = (true, true);
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = &mut reads, if reading => reading = false,
            () = &mut writes, if writing => writing = false,
        }
    }
}

/// Reads until all writers have closed the pipe.
async fn read_all(pipe: &mut Receiver, output: &mut Output) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        output.push(buffer.get(..length).unwrap_or_default());
    }
}

/// Writes the input. A program need not read it.
async fn write_all(feed: Option<(ChildStdin, &[u8])>) {
    if let Some((mut stdin, bytes)) = feed {
        let _ = stdin.write_all(bytes).await;
    }
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or_else(|| Ending::Signal(status.signal().unwrap_or_default()), Ending::Code)
}

/// The program and the process group that it leads.
///
/// The group is signalled only until its leader has been waited for: until then the kernel does not
/// reuse its number.
struct Group(Child);

impl Group {
    /// Sends SIGTERM to the group, and SIGKILL when the grace is over.
    async fn end(&mut self, pipe: &mut Receiver, output: &mut Output) {
        self.signal(Signal::SIGTERM);
        let _ = timeout(TERMINATION_GRACE, async {
            read_all(pipe, output).await;
            while !self.leader_has_exited() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        self.signal(Signal::SIGKILL);
        let _ = timeout(TERMINATION_GRACE, self.0.wait()).await;
    }

    /// Whether the leader has exited. Does not reap it, which would release its number.
    fn leader_has_exited(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.leader()
            .is_none_or(|pid| !matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.leader() {
            let _ = killpg(group, signal);
        }
    }

    fn leader(&self) -> Option<Pid> {
        Some(Pid::from_raw(i32::try_from(self.0.id()?).ok()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
