//! A program run with arguments, for what no other driver reaches: no shell, a limit, and of its
//! output no more than is worth reading.
//!
//! This is the only place from where programs are started by this process; [`super::outside`] has
//! systemd start them.

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

/// Where programs are looked for that are named without a path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program that is over its limit may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How long what was written last is waited for when the program has ended but a child of its own
/// still holds the pipe.
const DRAIN: Duration = Duration::from_millis(200);

/// A program and its arguments, taken literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv {
    program: String,
    arguments: Vec<String>,
}

/// A list of words that is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgv {
    /// There is no first word, or an empty one.
    #[error("a command needs a program as its first word")]
    NoProgram,
    /// The system ends words at a zero byte.
    #[error("a command can't have a zero byte in a word")]
    ZeroByte,
}

impl Argv {
    /// From the program's name or path and its arguments.
    ///
    /// # Errors
    /// [`InvalidArgv`], when that can't be run.
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

/// A program that has ended by itself, well or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote.
    pub output: Output,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code; 0 means well.
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

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is none of this name.
    #[error("there is no program {0} (looked for in {PATH})")]
    NotFound(String),
    /// It can't be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It was not over in time, and was killed with all its children that stayed in its process
    /// group.
    #[error("{program} was not over after {} s and was killed", limit.as_secs_f32())]
    Limit {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// What it had written by then.
        output: Output,
    },
    /// Something between it and here.
    #[error("cannot follow {program}: {source}")]
    Follow {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Runs a program until it ends, or its limit does: in `/`, with nothing in its environment but
/// `PATH` and `LANG`, in a process group of its own.
///
/// A child of it that outlives it is left alone, also when it holds the output open: it may be a
/// service that was started. When the limit is over, the whole group is asked to end, and killed
/// two seconds later. So it is when the returned future is dropped, at once.
///
/// Needs a tokio runtime with its timers and its I/O enabled; one thread is enough.
///
/// # Errors
/// [`CommandError`], when it can't be started, or is not over in time. That it ended badly
/// is none.
pub async fn run(
    argv: &Argv,
    stdin: Option<&[u8]>,
    limit: Duration,
) -> Result<Finished, CommandError> {
    let follow = |source| CommandError::Follow { program: argv.program.clone(), source };
    let (mut group, mut pipe) = start(argv, stdin.is_some())?;
    let feed = group.0.stdin.take().zip(stdin);
    let mut output = Output::default();
    let ended = timeout(limit, until_ended(&mut group.0, feed, &mut pipe, &mut output)).await;
    if let Ok(status) = ended {
        let ending = ending(status.map_err(follow)?);
        // An error means that children still hold the pipe: what they write is no more of interest.
        let _ = timeout(DRAIN, read_all(&mut pipe, &mut output)).await;
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
    // One pipe for both, so that the lines come in the order in which they were written.
    let (reader, writer) = io::pipe().map_err(failed)?;
    let pipe = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let child = {
        #[allow(clippy::disallowed_methods, reason = "this is the seam")]
        let mut command = Command::new(&argv.program);
        command.args(&argv.arguments).current_dir("/").process_group(0);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command.stdin(if feeds { Stdio::piped() } else { Stdio::null() });
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        command.spawn().map_err(failed)?
    };
    Ok((Group(child), pipe))
}

/// Reads and writes as it goes, so that the program never waits for this side.
async fn until_ended(
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

/// Until nobody can write any more.
async fn read_all(pipe: &mut Receiver, output: &mut Output) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        output.push(buffer.get(..length).unwrap_or_default());
    }
}

/// A program need not read what it is given.
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
/// The group is signalled only as long as its leader has not been waited for: its number belongs to
/// nobody else until then.
struct Group(Child);

impl Group {
    /// Asks all to end, and kills what has not ended when the grace is over.
    async fn end(&mut self, pipe: &mut Receiver, output: &mut Output) {
        self.signal(Signal::SIGTERM);
        let _ = timeout(GRACE, async {
            read_all(pipe, output).await;
            while !self.leader_has_ended() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        self.signal(Signal::SIGKILL);
        let _ = timeout(GRACE, self.0.wait()).await;
    }

    /// Without waiting for it in the system's sense, which would give its number away.
    fn leader_has_ended(&self) -> bool {
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
