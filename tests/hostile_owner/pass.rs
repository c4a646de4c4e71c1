//! Runs of the program, to their end, with a time limit.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any pass takes, in seconds: also one that waits a minute for a service.
const TIME_LIMIT: &str = "120";
/// The code of `timeout` when it killed a program.
const KILLED: i32 = 137;

/// A finished pass.
pub struct Pass {
    /// `None` when it was killed, after the time limit.
    pub code: Option<i32>,
    /// The output, and the log of `strace` where it stopped the pass.
    pub text: String,
}

/// Returns a command for these words, which is killed after the time limit.
pub fn limited(words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", TIME_LIMIT]).args(words);
    command
}

impl Pass {
    pub fn run(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Self { code: code(output.status), text }
    }

    /// Runs a command that has `strace -f -o '|cat'` stop the program, and calls `act` each time
    /// when it is stopped.
    pub fn run_stopped(mut command: Command, mut act: impl FnMut()) -> Self {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let command = command.stdout(Stdio::piped()).stderr(errors.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((pid, _)) = line.split_once(" --- stopped by SIGSTOP") {
                act();
                kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGCONT).unwrap();
            }
            text += &(line + "\n");
        }
        let code = code(child.wait().unwrap());
        text += &std::fs::read_to_string(errors.path()).unwrap();
        Self { code, text }
    }
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code().filter(|code| *code != KILLED && status.signal().is_none())
}
