//! A daemon that runs for years: what it has open and how much memory it has do not grow with the
//! passes.

use std::fs;
use std::time::Duration;

use super::common::{ECDSA, Node};
use super::harness::*;

const PASSES: usize = 302;

/// From when on it has all that it needs.
const WARM: usize = 50;

/// A few MiB would be much; a leak of a certificate or a descriptor a pass would be more.
const MOST_GROWTH_KIB: i64 = 2048;

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

/// At rest: for a moment after the end of a pass, a file is open, and a watcher may be on its way.
fn measure(pid: u32) -> (usize, usize, i64) {
    std::thread::sleep(Duration::from_millis(1500));
    let files = (0..50).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        open_files(pid)
    });
    (files.min().unwrap(), threads(pid), anonymous_kib(pid))
}

#[test]
fn nothing_grows_with_the_passes() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    let mut before = (0, 0, 0);
    for pass in 0..PASSES {
        // Most passes find nothing to do, as in life; some renew.
        if pass % 20 == 19 {
            node.age("apiserver", 10);
        }
        let last = daemon.pass();
        assert_eq!(last.renewed.len(), usize::from(pass % 20 == 19), "pass {pass}: {last:?}");
        if pass == WARM {
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
    assert!(after.2 - before.2 < MOST_GROWTH_KIB, "memory: {before:?} {after:?}");
}
