//! Runs a site's own program outside of this process's confinement: by systemd where it runs this
//! machine, else as a child.
//!
//! The confinement of this process would apply to its children too, and break scripts of the site.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::command::{self, Argv, CommandError, Ending, Finished, Output};
use super::systemd::{OneShot, Systemd, SystemdError, UnitResult};

/// How long systemd may take to answer.
const SYSTEMD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last output is waited for when the program has exited.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// systemd's exit code for a program that can't be started.
const EXEC_FAILED_STATUS: i32 = 203;

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// systemd, in a unit of its own.
    Systemd,
    /// This process.
    Child,
}

/// The purpose of a program, as systemctl shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It delivers an alarm.
    Alarm,
    /// It makes a service load a new credential.
    Refresh,
}

impl Purpose {
    fn description(self) -> &'static str {
        match self {
            Self::Alarm => "A command of the site that receives an alarm from kubecertd",
            Self::Refresh => "A command of the site that makes a service use a new credential",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Refresh => "refresh",
        }
    }
}

/// Why a program could not be run until it exited.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// Running it as a child failed.
    #[error(transparent)]
    Child(#[from] CommandError),
    /// Running it by systemd failed.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// systemd could not start it.
    #[error("systemd can't start {0}: does it exist, and is it executable?")]
    NoExec(String),
    /// It did not exit in time.
    #[error("{program} did not finish within {} s and was killed", limit.as_secs_f32())]
    Limit {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// Its input or output could not be prepared.
    #[error("its input and output can't be prepared: {0}")]
    Prepare(#[from] io::Error),
}

impl Runner {
    /// Returns systemd where it runs this machine, else a child.
    #[must_use]
    pub fn of_this_machine() -> Self {
        if Path::new("/run/systemd/system").is_dir() { Self::Systemd } else { Self::Child }
    }

    /// Runs a program until it exits or its limit is over, and keeps the beginning and end of its
    /// output.
    ///
    /// Needs a tokio runtime with timers and I/O enabled; one thread is enough.
    ///
    /// # Errors
    /// [`OutsideError`], when it can't be started, or does not exit in time. An exit code other
    /// than 0 is no error.
    pub async fn run(
        self,
        argv: &Argv,
        purpose: Purpose,
        stdin: &[u8],
        limit: Duration,
    ) -> Result<Finished, OutsideError> {
        match self {
            Self::Child => Ok(command::run(argv, Some(stdin), limit).await?),
            Self::Systemd => {
                by(&Systemd::connect(SYSTEMD_TIMEOUT).await?, argv, purpose, stdin, limit).await
            }
        }
    }
}

async fn by(
    systemd: &Systemd,
    argv: &Argv,
    purpose: Purpose,
    stdin: &[u8],
    limit: Duration,
) -> Result<Finished, OutsideError> {
    let (reader, writer) = io::pipe()?;
    let mut pipe = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let (unit, words) = (unit_name(purpose), argv.words());
    let description = purpose.description();
    let once = OneShot {
        unit: &unit,
        description,
        words: &words,
        stdin: prepared(stdin)?,
        output: writer.into(),
        limit,
    };
    let mut output = Output::default();
    let ended = {
        let mut reads = std::pin::pin!(read_all(&mut pipe, &mut output));
        let mut runs = std::pin::pin!(systemd.run_once(once));
        tokio::select! {
            ended = &mut runs => {
                // A child that it left may hold the output open.
                let _ = timeout(DRAIN_TIMEOUT, reads).await;
                ended?
            }
            () = &mut reads => runs.await?,
        }
    };
    judge(argv, ended, output, limit)
}

fn judge(
    argv: &Argv,
    ended: UnitResult,
    output: Output,
    limit: Duration,
) -> Result<Finished, OutsideError> {
    let program = argv.program().to_owned();
    let ending = match (ended.result.as_str(), ended.status) {
        ("timeout", _) => return Err(OutsideError::Limit { program, limit }),
        ("exit-code", EXEC_FAILED_STATUS) if output.is_empty() => {
            return Err(OutsideError::NoExec(program));
        }
        ("signal" | "core-dump", signal) => Ending::Signal(signal),
        ("success", code) => Ending::Code(code),
        (_, code) => Ending::Code(if code == 0 { 1 } else { code }),
    };
    Ok(Finished { ending, output })
}

async fn read_all(pipe: &mut Receiver, output: &mut Output) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        output.push(buffer.get(..length).unwrap_or_default());
    }
}

/// Returns a file in memory, so that no task has to write while the program reads.
fn prepared(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"kubecertd-stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

fn unit_name(purpose: Purpose) -> String {
    let mut bytes = [0_u8; 8];
    // Without random numbers, systemd refuses the second of two concurrent units, and it is tried
    // again.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("kubecertd-{}-{:016x}.service", purpose.word(), u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(result: &str, status: i32) -> Result<Ending, String> {
        let argv = Argv::new(["/usr/bin/thing"]).unwrap();
        let judged = judge(
            &argv,
            UnitResult { result: result.to_owned(), status },
            Output::default(),
            Duration::from_secs(1),
        );
        judged.map(|finished| finished.ending).map_err(|e| e.to_string())
    }

    #[test]
    fn systemd_results_are_parsed() {
        assert_eq!(ended("success", 0), Ok(Ending::Code(0)));
        assert_eq!(ended("exit-code", 255), Ok(Ending::Code(255)));
        assert_eq!(ended("signal", 9), Ok(Ending::Signal(9)));
        assert_eq!(ended("oom-kill", 0), Ok(Ending::Code(1)), "never a success");
        assert_eq!(
            ended("timeout", 15),
            Err("/usr/bin/thing did not finish within 1 s and was killed".to_owned())
        );
        assert_eq!(
            ended("exit-code", 203),
            Err("systemd can't start /usr/bin/thing: does it exist, and is it executable?"
                .to_owned())
        );
    }

    #[test]
    fn input_is_read_from_its_beginning() {
        use std::io::Read as _;
        let mut text = String::new();
        File::from(prepared(b"an alarm").unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "an alarm");
    }

    /// For manual runs on a machine whose pid 1 is systemd: `kubecertd-...::real_systemd
    /// --ignored`.
    #[tokio::test(flavor = "current_thread")]
    #[ignore = "needs a systemd to run programs with"]
    async fn real_systemd_runs_programs_in_separate_units() {
        let run = async |words: &[&str], limit: u64| {
            let argv = Argv::new(words.iter().copied()).unwrap();
            Runner::Systemd
                .run(&argv, Purpose::Alarm, b"{\"an\": \"alarm\"}\n", Duration::from_secs(limit))
                .await
        };
        let told = run(
            &[
                "/bin/sh",
                "-c",
                "cat; cat /proc/self/cgroup; echo \"$1\" >&2",
                "sh",
                "a $HOME ${HOME} $$ %n word",
            ],
            5,
        )
        .await
        .unwrap();
        assert_eq!(told.ending, Ending::Code(0));
        let text = told.output.to_string();
        assert!(
            text.starts_with("{\"an\": \"alarm\"}\n")
                && text.contains("/kubecertd-alarm-")
                && text.ends_with("a $HOME ${HOME} $$ %n word\n"),
            "{text}"
        );
        assert_eq!(
            run(&["/bin/sh", "-c", "echo not found; exit 255"], 5).await.unwrap().ending,
            Ending::Code(255)
        );
        assert_eq!(
            run(&["/bin/sh", "-c", "kill -KILL $$"], 5).await.unwrap().ending,
            Ending::Signal(9)
        );
        let began = std::time::Instant::now();
        let error = run(&["/bin/sh", "-c", "sleep 60 & sleep 60"], 1).await.unwrap_err();
        assert!(
            matches!(error, OutsideError::Limit { .. }) && began.elapsed() < Duration::from_secs(6),
            "{error}"
        );
        let error = run(&["/nonexistent/program"], 5).await.unwrap_err();
        assert!(matches!(error, OutsideError::NoExec(_)), "{error}");
        let large = run(&["/bin/sh", "-c", "head -c 300000 /dev/zero"], 5).await.unwrap();
        assert_eq!((large.ending, large.output.omitted()), (Ending::Code(0), 300_000 - 8192));
        let left = run(
            &[
                "/bin/sh",
                "-c",
                "systemctl list-units --all 'kubecertd-alarm-*' --no-legend | wc -l",
            ],
            5,
        )
        .await
        .unwrap();
        assert_eq!(left.output.to_string().trim(), "1", "only its own unit is there");
    }
}
