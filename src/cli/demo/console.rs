//! The headings of the demo, and its commands: each is shown as an operator types it, and run.

use std::fs::{File, create_dir_all};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::Exit;
use super::super::out::{self, HEADING, QUIET, paint};
use super::stopped::DemoStopped;

/// Shows and runs commands on the node of the demo.
pub(super) struct Console<'a> {
    /// The root directory of the node.
    pub(super) dir: &'a Path,
    /// Whether a signal asked the demo to stop.
    pub(super) interrupted: &'a AtomicBool,
}

impl Console<'_> {
    /// Prints a heading.
    ///
    /// # Errors
    /// When the demo was interrupted.
    pub(super) fn heading(&self, text: &str) -> Result<(), DemoStopped> {
        self.check_interrupted()?;
        out::print(&format!("\n{}\n", paint(HEADING, text)));
        Ok(())
    }

    /// Prints a command line, before its output.
    pub(super) fn show(&self, command: &str) {
        out::print(&format!("{}\n\n", paint(QUIET, &format!("$ {command}"))));
    }

    /// The command line of this program with these arguments.
    pub(super) fn line(&self, arguments: &[&str]) -> String {
        format!("kubecertd --root {} {}", self.dir.display(), arguments.join(" "))
    }

    /// Shows and runs this program with these arguments.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), DemoStopped> {
        let line = self.line(arguments);
        self.show(&line);
        finish(self.program(arguments), line)
    }

    /// Shows and runs this program with these arguments, and writes its output to a new file.
    pub(super) fn run_into(&self, file: &Path, arguments: &[&str]) -> Result<(), DemoStopped> {
        let line = format!("{} > {}", self.line(arguments), file.display());
        self.show(&line);
        let failed = |source| DemoStopped::File { path: file.to_owned(), source };
        let output = File::create_new(file).map_err(failed)?;
        finish(
            self.program(arguments).map(|mut program| {
                program.stdout(output);
                program
            }),
            line,
        )
    }

    /// Shows a command that copies a file over another, and does the same.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<(), DemoStopped> {
        self.show(&format!("cp {} {}", from.display(), to.display()));
        std::fs::copy(from, to)
            .map(drop)
            .map_err(|source| DemoStopped::File { path: to.to_owned(), source })
    }

    /// Shows a new file, and writes it.
    pub(super) fn write(&self, file: &Path, text: &str) -> Result<(), DemoStopped> {
        self.show(&format!("cat {}", file.display()));
        write_new(file, text.as_bytes())?;
        out::print(&format!("{text}\n"));
        Ok(())
    }

    /// This program with these arguments, to be started.
    #[allow(clippy::disallowed_methods, reason = "no other program: this one, as operators run it")]
    pub(super) fn program(&self, arguments: &[&str]) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--root").arg(self.dir).args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Fails when the demo was interrupted.
    pub(super) fn check_interrupted(&self) -> Result<(), DemoStopped> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(DemoStopped::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Writes a new file, and makes its directory.
pub(super) fn write_new(file: &Path, content: &[u8]) -> Result<(), DemoStopped> {
    file.parent()
        .map_or(Ok(()), create_dir_all)
        .and_then(|()| File::create_new(file)?.write_all(content))
        .map_err(|source| DemoStopped::File { path: file.to_owned(), source })
}

/// Runs a command to its end.
fn finish(command: io::Result<Command>, line: String) -> Result<(), DemoStopped> {
    match command.and_then(|mut command| command.status()) {
        Ok(status) if is_fine(status) => Ok(()),
        Ok(status) => Err(DemoStopped::Failed { command: line, status }),
        Err(source) => Err(DemoStopped::NotStarted { command: line, source }),
    }
}

/// Something on the node that needs attention is no failure of the command that shows it.
fn is_fine(status: ExitStatus) -> bool {
    let attention = i32::from(Exit::Attention as u8);
    status.code().is_some_and(|code| code == 0 || code == attention)
}
