//! What a test needs besides the checkout and a temporary directory: programs, and rights. Where
//! something is missing, the test is skipped and says so; in CI (`CI` is set) it fails.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test program uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "tests run other programs")]

use std::io::Write as _;
use std::net::ToSocketAddrs as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The user is root.
pub const ROOT: &str = "root";

/// The user is root, and may mount file systems. Containers often don't allow that.
pub const MOUNTS: &str = "root with the right to mount";

/// A user namespace can be made, with inotify limits of its own. Containers often don't allow that.
pub const INOTIFY_LIMITS: &str = "user namespaces with inotify limits";

/// The name localhost has an address.
pub const LOCALHOST: &str = "localhost in /etc/hosts";

const PROGRAMS: &str = include_str!("../programs");

/// Returns from a test where one of these is missing: programs by their names, and the constants of
/// this module.
macro_rules! require {
    ($($requirement:expr),+ $(,)?) => {
        if !$crate::common::requirements::are_met(&[$($requirement),+]) {
            return;
        }
    };
}
pub(crate) use require;

/// Returns whether everything is there; otherwise the test is skipped.
pub fn are_met(requirements: &[&str]) -> bool {
    let missing: Vec<_> = requirements.iter().copied().filter(|one| !is_met(one)).collect();
    if !missing.is_empty() {
        skip(&describe(&missing));
    }
    missing.is_empty()
}

/// Says that the test of this thread is skipped, and why. In CI that is a failure.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {} {reason}\n", thread.name().unwrap_or("a test"));
    assert!(std::env::var_os("CI").is_none(), "{line}");
    // The output of print macros is shown only for tests that fail.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn is_met(requirement: &str) -> bool {
    match requirement {
        ROOT => nix::unistd::geteuid().is_root(),
        MOUNTS => *CAN_MOUNT,
        INOTIFY_LIMITS => succeeds(&["unshare", "-Ur", "sh", "-c", LIMIT_INOTIFY]),
        LOCALHOST => ("localhost", 0).to_socket_addrs().is_ok(),
        program => is_installed(program),
    }
}

const LIMIT_INOTIFY: &str = "echo 64 >/proc/sys/user/max_inotify_instances";

static CAN_MOUNT: LazyLock<bool> = LazyLock::new(|| {
    let mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"];
    nix::unistd::geteuid().is_root() && succeeds(&mount)
});

fn succeeds(command: &[&str]) -> bool {
    let mut run = Command::new(command[0]);
    run.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

fn is_installed(program: &str) -> bool {
    assert!(!packages(program).is_empty(), "tests/programs lacks {program}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// Returns the packages that have a program.
fn packages(program: &str) -> Vec<&'static str> {
    let lines = PROGRAMS.lines().map(|line| line.split_whitespace());
    let mut lines = lines.filter_map(|mut words| (words.next()? == program).then_some(words));
    lines.next().into_iter().flatten().collect()
}

/// Names what is missing, and the command that installs the programs among it.
pub fn describe(missing: &[&str]) -> String {
    let is_program = |one: &&&str| ![ROOT, MOUNTS, INOTIFY_LIMITS, LOCALHOST].contains(*one);
    let programs = missing.iter().filter(is_program);
    let mut packages: Vec<_> = programs.flat_map(|program| packages(program)).collect();
    packages.sort_unstable();
    packages.dedup();
    let text = format!("needs {}", missing.join(", "));
    if packages.is_empty() {
        return text;
    }
    format!("{text}: apt-get install {}", packages.join(" "))
}
