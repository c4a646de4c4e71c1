//! Records the system calls of the program, and injects results.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Calls that change the content of the disk, make it durable, or wait for another process.
pub const WRITE_CALLS: [&str; 15] = [
    "mkdirat",
    "write",
    "pwrite64",
    "fchmod",
    "fchown",
    "fsetxattr",
    "fremovexattr",
    "renameat",
    "symlinkat",
    "unlinkat",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "flock",
];

/// Calls that change something only when they create a file.
pub const OPEN_CALLS: [&str; 2] = ["openat", "openat2"];

/// Calls that only read.
pub const READ_CALLS: [&str; 14] = [
    "read",
    "pread64",
    "close",
    "fcntl",
    "newfstatat",
    "statx",
    "getdents64",
    "lseek",
    "readlinkat",
    "flistxattr",
    "fgetxattr",
    "ioctl",
    "fstat",
    "fstatfs",
];

/// No run takes nearly as long.
const RUN_TIMEOUT: Duration = Duration::from_secs(180);

/// A recorded call.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// The index of the call among those of this name in this thread, as the injection counts them.
    pub number: usize,
    pub arguments: Vec<String>,
    pub result: i64,
    /// The file that was opened.
    pub opened: Option<PathBuf>,
    /// Whether the process's first thread made it.
    pub first_thread: bool,
}

impl Call {
    /// Returns the file of the descriptor in this argument.
    pub fn file(&self, argument: usize) -> PathBuf {
        descriptor_path(&self.arguments[argument])
            .unwrap_or_else(|| panic!("no descriptor: {self:?}"))
    }

    /// Returns the bytes of a string argument.
    pub fn bytes(&self, argument: usize) -> Vec<u8> {
        let text = self.arguments[argument]
            .split('"')
            .nth(1)
            .unwrap_or_else(|| panic!("no string: {self:?}"));
        decode_hex(text)
    }

    /// Returns the directory entry that two arguments name.
    pub fn entry(&self, dir: usize) -> PathBuf {
        self.file(dir).join(OsString::from_vec(self.bytes(dir + 1)))
    }

    /// Returns a number, which is octal when it begins with a zero.
    pub fn number(&self, argument: usize) -> u64 {
        let text = &self.arguments[argument];
        if text.starts_with('0') {
            u64::from_str_radix(text, 8).unwrap()
        } else {
            text.parse().unwrap()
        }
    }

    /// Whether the call concerns a file below this directory.
    pub fn is_below(&self, root: &Path) -> bool {
        let named = self
            .arguments
            .iter()
            .filter_map(|argument| descriptor_path(argument))
            .chain(self.opened.clone());
        named.into_iter().any(|path| path.starts_with(root))
    }

    pub fn creates(&self) -> bool {
        OPEN_CALLS.contains(&self.name.as_str())
            && self.arguments.iter().any(|argument| argument.contains("O_CREAT"))
    }

    /// Whether the call may change the disk.
    pub fn is_changing(&self) -> bool {
        WRITE_CALLS.contains(&self.name.as_str()) || self.creates()
    }
}

/// Runs the program to its end, successfully, and returns its calls.
pub fn record(root: &Path, arguments: &[&str]) -> Vec<Call> {
    record_ending_with(root, arguments, &[0])
}

/// Does the same, where the program ends with one of these codes.
pub fn record_ending_with(root: &Path, arguments: &[&str], codes: &[i32]) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = ["-y", "-xx", "-s", "2000000", "-e", "trace=%file,%desc,io_uring_setup"];
    let output = run_traced(log.path(), &options, root, arguments, 0);
    assert!(output.status.code().is_some_and(|code| codes.contains(&code)), "{output:?}");
    parse_log(&std::fs::read_to_string(log.path()).unwrap())
}

/// The result of a run with one injected result.
pub struct InjectedRun {
    /// `None` when the process was killed.
    pub code: Option<i32>,
    pub text: String,
    pub took: Duration,
    /// The call whose result was injected.
    pub hit: Option<String>,
}

/// Runs `renew`, and injects `signal=KILL` or `error=EIO` at the N-th call of this name in each
/// thread.
pub fn inject(root: &Path, call: &str, number: usize, answer: &str, core: usize) -> InjectedRun {
    inject_into(root, &["renew"], (call, number), answer, core)
}

/// Does the same to a program with other arguments.
pub fn inject_into(
    root: &Path,
    arguments: &[&str],
    (call, number): (&str, usize),
    answer: &str,
    core: usize,
) -> InjectedRun {
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = [
        "-y".to_owned(),
        "-e".to_owned(),
        format!("trace={call}"),
        "-e".to_owned(),
        format!("inject={call}:{answer}:when={number}"),
    ];
    let began = Instant::now();
    let output =
        run_traced(log.path(), &options.each_ref().map(String::as_str), root, arguments, core);
    let took = began.elapsed();
    let log = std::fs::read_to_string(log.path()).unwrap();
    let hit = log.lines().find(|line| line.contains("(INJECTED)")).map(str::to_owned);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    InjectedRun { code: output.status.code(), text, took, hit }
}

fn run_traced(
    log: &Path,
    options: &[&str],
    root: &Path,
    arguments: &[&str],
    core: usize,
) -> std::process::Output {
    let mut command = assert_cmd::Command::new("taskset");
    command.args(["-c", &core.to_string(), "strace", "-f", "-qq", "-o"]).arg(log).args(options);
    command.arg(env!("CARGO_BIN_EXE_kubecertd")).arg("--root").arg(root).args(arguments);
    command.timeout(RUN_TIMEOUT).output().unwrap()
}

/// Checks all cases in parallel, each thread on a core of its own. Reports the number of failures
/// at the end.
pub fn run_on_each_core<T: Sync>(cases: &[T], check: impl Fn(&T, usize) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cores = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for core in 0..cores {
            let (next, failed, check) = (&next, &failed, &check);
            scope.spawn(move || {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The message of the panic is printed already.
                    if catch_unwind(AssertUnwindSafe(|| check(case, core))).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, 0, "{failed} of {} cases failed", cases.len());
}

/// Returns the calls in a log of `strace -f -y -xx`.
pub fn parse_log(log: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    let mut calls = Vec::new();
    let first = log.split_whitespace().next().unwrap_or_default();
    for line in log.lines() {
        let (thread, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        let whole = if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, begun);
            continue;
        } else if let Some(rest) = text.strip_prefix("<... ") {
            let rest = rest.split_once("resumed>").unwrap().1;
            unfinished.remove(thread).unwrap().to_owned() + rest
        } else if text.starts_with("+++") || text.starts_with("---") {
            continue;
        } else {
            text.to_owned()
        };
        let name = whole.split('(').next().unwrap().to_owned();
        let count = counts.entry((thread.to_owned(), name.clone())).or_default();
        *count += 1;
        let (arguments, result) = split_call(&whole[name.len() + 1..]);
        let opened = descriptor_path(result).filter(|_| OPEN_CALLS.contains(&name.as_str()));
        let result = result.split([' ', '<']).next().unwrap().parse().unwrap_or(-1);
        calls.push(Call {
            name,
            number: *count,
            arguments,
            result,
            opened,
            first_thread: thread == first,
        });
    }
    calls
}

/// Splits `a, b) = c` into arguments and result. Strings and paths are hex, and contain no
/// delimiters.
fn split_call(text: &str) -> (Vec<String>, &str) {
    let mut depth = 0;
    let mut arguments = vec![String::new()];
    for (at, sign) in text.char_indices() {
        match sign {
            ')' if depth == 0 => {
                return (arguments, text[at + 1..].trim_start().trim_start_matches("= "));
            }
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ' ' if arguments.last().unwrap().is_empty() => continue,
            _ => {}
        }
        arguments.last_mut().unwrap().push(sign);
    }
    panic!("a call without an end: {text}")
}

/// Returns the path in `3<\x2f\x65>`.
fn descriptor_path(text: &str) -> Option<PathBuf> {
    let hex = text.split_once('<')?.1.split('>').next()?;
    hex.starts_with("\\x").then(|| OsString::from_vec(decode_hex(hex)).into())
}

fn decode_hex(hex: &str) -> Vec<u8> {
    hex.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
