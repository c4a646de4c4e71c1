//! Other people's programs, started for a test.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a program is waited for, and what it should see.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Whether all of them are here. CI installs them, so that there nothing is passed over.
pub fn installed(names: &[&str]) -> bool {
    let is_there = |name: &&str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .any(|folder| folder.join(name).exists())
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "not installed: {missing:?}");
    if !missing.is_empty() {
        println!("passed over: not installed: {missing:?}");
    }
    missing.is_empty()
}

/// A program that is killed with the value.
pub struct Program(Child);

impl Program {
    pub fn start(name: &str, arguments: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free, as far as can be known.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Status, head and body of the answer to a request.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks over TCP. `None` where nobody answers.
pub fn ask(port: u16, request: &str) -> Option<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    exchange(stream, request)
}

/// The same over a unix socket.
pub fn ask_socket(path: &Path, request: &str) -> Option<Answer> {
    let stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    exchange(stream, request)
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, request: &str) -> Option<Answer> {
    write!(stream, "{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: unchunked(head, body) })
}

fn unchunked(head: &str, body: &str) -> String {
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    whole
}

/// What a page holds.
pub fn page(port: u16, path: &str) -> Option<String> {
    ask(port, &format!("GET {path} HTTP/1.1"))
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.body)
}

/// The samples that Prometheus has for a query.
pub fn query(port: u16, query: &str) -> Vec<Value> {
    let Some(text) = page(port, &format!("/api/v1/query?query={query}")) else { return Vec::new() };
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Looks until there is something to be seen.
pub fn until<T>(what: &str, log: &Path, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(began.elapsed() < LIMIT, "in vain: {what}; the log:\n{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}
