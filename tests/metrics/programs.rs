//! Other programs that the tests start or query.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The timeout of every wait for a program.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A running program, killed on drop.
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

/// Returns a TCP port that is free at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An HTTP response.
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends a request over TCP. `None` where there is no response.
pub fn request(port: u16, request: &str) -> Option<Response> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    exchange(stream, request)
}

/// Sends a request over a unix socket.
pub fn request_over_socket(path: &Path, request: &str) -> Option<Response> {
    let stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    exchange(stream, request)
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, request: &str) -> Option<Response> {
    write!(stream, "{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head: head.to_lowercase(), body: unchunked(head, body) })
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

/// Returns the body of a page, where the status is 200.
pub fn fetch_page(port: u16, path: &str) -> Option<String> {
    request(port, &format!("GET {path} HTTP/1.1"))
        .filter(|response| response.status == 200)
        .map(|response| response.body)
}

/// Returns the samples that Prometheus has for a query.
pub fn query(port: u16, query: &str) -> Vec<Value> {
    let Some(text) = fetch_page(port, &format!("/api/v1/query?query={query}")) else {
        return Vec::new();
    };
    let response: Value = serde_json::from_str(&text).unwrap();
    response["data"]["result"].as_array().unwrap().clone()
}

/// Polls until there is a value, and returns it.
pub fn wait_for<T>(event: &str, log: &Path, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(start.elapsed() < TIMEOUT, "timed out waiting for: {event}; log:\n{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}
