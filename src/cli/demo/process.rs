//! The daemon of the demo: a process of this program on the node, and its log.

use std::fs::{File, create_dir_all};
use std::io::{self, Read as _};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::out;
use super::console::Console;
use super::stopped::DemoStopped;
use crate::model::Timestamp;
use crate::observe::{Config, Node};
use crate::report::Status;
use crate::sys::Root;

/// The daemon's log, below the root directory of the node.
const LOG: &str = "var/log/kubecertd.log";

/// The limit for an event, which includes a scheduled time (a minute) and the quiet time after a
/// change (half a minute).
const EVENT_TIMEOUT: Duration = Duration::from_secs(120);
/// The limit for the daemon's end: more than it gives its pass.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The time between two looks at the log and the status.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running daemon. It is stopped when the value is dropped.
pub(super) struct DaemonProcess<'a> {
    console: &'a Console<'a>,
    child: Child,
    log: File,
    /// The end of the log that is no whole line yet.
    partial_line: Vec<u8>,
    /// The beginning of the last pass that was waited for.
    last_pass: Option<Timestamp>,
}

impl<'a> DaemonProcess<'a> {
    /// Shows the command and starts the daemon.
    pub(super) fn start(console: &'a Console<'a>) -> Result<Self, DemoStopped> {
        let path = console.dir.join(LOG);
        let dir = path.parent().unwrap_or(console.dir);
        let files = create_dir_all(dir)
            .and_then(|()| Ok((File::create(&path)?, File::open(&path)?)))
            .map_err(|source| DemoStopped::File { path, source });
        let (written, log) = files?;
        let line = console.line(&["run"]);
        console.show(&format!("{line} &"));
        let started = console.program(&["run"]).and_then(|mut program| {
            // The services of this machine are not those of the node.
            program.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
            program.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
            program.stdout(Stdio::null()).stderr(written).spawn()
        });
        let child = started.map_err(|source| DemoStopped::NotStarted { command: line, source })?;
        Ok(Self { console, child, log, partial_line: Vec::new(), last_pass: None })
    }

    /// Prints the log until the daemon has reported a pass after which the node is as wanted.
    pub(super) fn wait_for_pass(
        &mut self,
        event: &'static str,
        is_as_wanted: impl Fn(&Node) -> bool,
    ) -> Result<(), DemoStopped> {
        let began = Instant::now();
        loop {
            let is_over = self.has_reported_new_pass()? && is_as_wanted(&self.node()?);
            self.print_log();
            if is_over {
                return Ok(());
            }
            self.console.check_interrupted()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(DemoStopped::DaemonEnded(status));
            }
            if began.elapsed() > EVENT_TIMEOUT {
                return Err(DemoStopped::TimedOut { event, limit: EVENT_TIMEOUT });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Shows the command that stops it, and prints the rest of its log.
    pub(super) fn stop(mut self) -> Result<(), DemoStopped> {
        self.console.show(&format!("kill {}", self.child.id()));
        let status = self.terminate()?;
        self.print_log();
        if status.success() { Ok(()) } else { Err(DemoStopped::DaemonEnded(status)) }
    }

    /// Whether the status is that after another pass. The daemon logs a pass before it publishes
    /// its status, so all of its log is there then.
    fn has_reported_new_pass(&mut self) -> Result<bool, DemoStopped> {
        let status = Status::read(&Root::open(self.console.dir)?).0;
        let pass = status.and_then(|status| status.last_pass).map(|pass| pass.began);
        let is_new = pass > self.last_pass;
        self.last_pass = self.last_pass.max(pass);
        Ok(is_new)
    }

    fn node(&self) -> Result<Node, DemoStopped> {
        Ok(Node::open(Root::open(self.console.dir)?, &Config::Usual)?)
    }

    fn print_log(&mut self) {
        // A log that can't be read now is printed by the next call.
        let _ = self.log.read_to_end(&mut self.partial_line);
        if let Some(end) = self.partial_line.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.partial_line.drain(..=end).collect();
            out::print(&String::from_utf8_lossy(&lines));
        }
    }

    fn terminate(&mut self) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for DaemonProcess<'_> {
    fn drop(&mut self) {
        // After its end no signal is sent: its process id may be that of another process.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.terminate();
        }
    }
}
