//! A daemon that runs for years: its open files, threads and memory do not grow with the passes.

use std::fs;
use std::time::Duration;

use super::common::requirements::{ROOT, require};
use super::common::{ECDSA, Node};
use super::harness::*;

const PASSES: usize = 302;

/// The pass after which the daemon has allocated everything that it keeps.
const WARM_UP_PASSES: usize = 50;

/// The limit for growth of memory. A leak of one certificate or descriptor per pass exceeds it.
const MAX_GROWTH_KIB: i64 = 2048;

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn anonymous_kib(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Measures open files, threads and anonymous KiB of an idle daemon. For a moment after a pass a
/// file is still open and a watcher may be starting.
fn measure(pid: u32) -> (usize, usize, i64) {
    std::thread::sleep(Duration::from_millis(1500));
    let files = (0..50).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        open_files(pid)
    });
    (files.min().unwrap(), threads(pid), anonymous_kib(pid))
}

#[test]
fn files_threads_and_memory_do_not_grow_with_passes() {
    // The files of the daemon in /proc belong to root: it is not dumpable.
    require!(ROOT);
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    let mut before = (0, 0, 0);
    for pass in 0..PASSES {
        // Most passes find nothing to do, as on a real node; some renew.
        if pass % 20 == 19 {
            node.age("apiserver", 10);
        }
        let last = daemon.request_pass();
        assert_eq!(last.renewed.len(), usize::from(pass % 20 == 19), "pass {pass}: {last:?}");
        if pass == WARM_UP_PASSES {
            before = measure(daemon.pid());
        }
    }
    let pid = daemon.pid();
    let after = measure(pid);
    println!("open files, threads and anonymous KiB: {before:?}, then {after:?}");
    assert_eq!(
        after.0,
        before.0,
        "open files: {:?}",
        fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|fd| fs::read_link(fd.unwrap().path()))
            .collect::<Vec<_>>()
    );
    assert!(after.1 <= before.1 + 1, "threads: {before:?} {after:?}");
    assert!(after.2 - before.2 < MAX_GROWTH_KIB, "memory: {before:?} {after:?}");
}
