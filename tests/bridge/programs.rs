//! Runs of other programs, with limits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::table::Verifier;

/// The limit of everything that is waited for. A busy machine needs some of it.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Returns a command that is killed after the limit.
pub fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal", "KILL", &LIMIT.as_secs().to_string(), program]);
    command.stdin(Stdio::null());
    command
}

/// Whether a program accepts a certificate: it exits with 0, or with another status and this text.
pub fn accepted(output: &Output, refusal: &str) -> bool {
    if output.status.success() {
        return true;
    }
    let said = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(said.contains(refusal), "no verdict: {}\n{said}", output.status);
    false
}

/// A server that runs until it is dropped.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The port on which it listens for IPv4, once it does.
    pub fn port(&self) -> u16 {
        let begin = Instant::now();
        loop {
            if let Some(port) = listening_port(self.0.id()) {
                return port;
            }
            assert!(begin.elapsed() < LIMIT, "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listening_port(pid: u32) -> Option<u16> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets: Vec<String> =
        targets.filter_map(|target| Some(inode_of(&target)?.to_owned())).collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_listener = words[3] == "0A" && sockets.iter().any(|inode| inode == words[9]);
        let port = words[1].split(':').nth(1).unwrap();
        is_listener.then(|| u16::from_str_radix(port, 16).unwrap())
    })
}

fn inode_of(target: &Path) -> Option<&str> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')
}

/// A program beside this file, which reads its task as JSON and answers with a line of JSON.
pub struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _dir: tempfile::TempDir,
}

impl Helper {
    /// Starts the program of a verifier, with this list of things to do.
    pub fn start(verifier: Verifier, kind: &str, list: &impl serde::Serialize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = match verifier {
            Verifier::Go => limited(build_go(dir.path()).to_str().unwrap()),
            _ => limited("python3"),
        };
        if verifier != Verifier::Go {
            command.args(["-c", include_str!("verify.py")]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let task = serde_json::json!({
            "strict": verifier.is_strict(), "limit": LIMIT.as_secs(), kind: list,
        });
        writeln!(input, "{task}").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input: Some(input), output, _dir: dir }
    }

    pub fn answer<T: serde::de::DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// Ends its input, on which it exits.
impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.output.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}

/// Builds the program in Go into a directory.
fn build_go(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bridge/verify.go");
    let mut build = limited("go");
    build.args(["build", "-o", "verify"]).arg(source).current_dir(dir);
    build.env("GOCACHE", dir.join("cache")).env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    dir.join("verify")
}

/// Does something with each item, on several threads.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(4).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(size)
            .map(|part| scope.spawn(|| part.iter().map(&run).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}
