//! Killed in the middle and started again, it finishes: the real program, killed at every rename and sync that it makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own, and ask other programs")]

mod common;

use common::Node;

const STRACE: &str = "strace";

/// Runs a renewal that is killed at the N-th call of this kind. `false` when it ended before there was an N-th.
fn killed_at(node: &Node, call: &str, number: usize) -> bool {
    let status = std::process::Command::new(STRACE)
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=KILL:when={number}")])
        .arg(env!("CARGO_BIN_EXE_kubecertd"))
        .arg("--root")
        .arg(node.root())
        .arg("renew")
        .output()
        .expect("strace is installed")
        .status;
    status.code() != Some(0)
}

#[test]
fn killed_at_every_rename_sync_and_creation_it_finishes_at_the_next_start() {
    let names: Vec<_> = Node::due().whole().into_keys().collect();
    for call in ["renameat", "fsync", "fdatasync", "mkdirat", "unlinkat", "pwrite64"] {
        let mut points = 0;
        for number in 1.. {
            let node = Node::due();
            if !killed_at(&node, call, number) {
                break;
            }
            points += 1;
            let run = node.run(&["renew"]);
            assert_eq!(run.code, 0, "{call} {number}: {}", run.text);
            assert_eq!(node.whole().keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>(), "{call} {number}");
            assert_eq!(node.run(&["check"]).code, 0, "{call} {number}: nothing is left to do");
            let left: Vec<_> = node.dot_files();
            assert!(left.is_empty(), "{call} {number}: {left:?}");
        }
        println!("{call}: {points} points");
        assert!(points > 0 || call == "unlinkat", "{call} is never made: is the test still about what the program does?");
    }
}
