//! The program is killed at every change.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::requirements::{ROOT, require};
use crate::common::{Node, STATE};
use crate::strace::{Call, OPEN_CALLS, READ_CALLS, WRITE_CALLS, inject, record, run_on_each_core};
use crate::tree::{Tree, TreeCopy};

/// A call at which a process is hit.
pub struct Point {
    pub call: String,
    pub number: usize,
    pub changing: bool,
}

/// Returns the calls on the node's files that are wanted.
pub fn list_points(
    calls: &[Call],
    copy: &Node,
    mut wanted: impl FnMut(&Call) -> bool,
) -> Vec<Point> {
    let ours =
        calls.iter().filter(|call| call.first_thread && call.is_below(copy.root()) && wanted(call));
    ours.map(|call| Point {
        call: call.name.clone(),
        number: call.number,
        changing: call.is_changing(),
    })
    .collect()
}

fn kill_at_every_point(
    tree: &Tree,
    start: &(dyn Fn() -> TreeCopy + Sync),
    wanted: impl FnMut(&Call) -> bool,
    what: &str,
) {
    let began = Instant::now();
    let recorded = start();
    let calls = record(recorded.node.root(), &["renew"]);
    tree.assert_renewed(&recorded.node, "recorded");
    let points = list_points(&calls, &recorded.node, wanted);
    run_on_each_core(&points, |Point { call, number, changing }, core| {
        let case = format!("{what}, killed at {call} {number}");
        let copy = start();
        let run = inject(copy.node.root(), call, *number, "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        tree.assert_invariants(&copy.node, &case);
        // A read leaves the disk as the change before it did, and that state was tested already.
        if *changing {
            tree.restart_and_check(&copy.node, &case);
        }
    });
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    points.iter().for_each(|point| *kinds.entry(&point.call).or_default() += 1);
    println!("{what}: killed at {} points in {:.0?}: {kinds:?}", points.len(), began.elapsed());
}

/// Before each change, and after it, at the next call. The disk is the same at all calls between
/// two changes.
#[test]
fn renewal_survives_kill_at_every_change() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::small();
    let mut after_change = true;
    let wanted = |call: &Call| {
        let is_change = call.is_changing();
        std::mem::replace(&mut after_change, is_change) || is_change
    };
    kill_at_every_point(&tree, &|| tree.copy(), wanted, "three credentials");
}

/// More renames allow more incomplete states. The other calls are the same for each file, and the
/// smaller test covers them.
#[test]
fn full_renewal_survives_kill_at_rename_removal_and_sync() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::full();
    let wanted = ["renameat", "unlinkat", "pwrite64", "fdatasync", "fsync"];
    kill_at_every_point(
        &tree,
        &|| tree.copy(),
        |call| wanted.contains(&call.name.as_str()),
        "a whole node",
    );
}

/// Begins after the first rename of a transaction, so that there is something to complete.
#[test]
fn recovery_survives_kill_at_every_change() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::small();
    let begun = || {
        let copy = tree.copy();
        // The first renames are those of two state files and of two backups.
        let run = inject(copy.node.root(), "renameat", 5, "signal=KILL", 0);
        assert_eq!(run.code, None);
        copy
    };
    let left = begun();
    let run = left.node.run(&["renew"]);
    assert!(run.text.contains("its interrupted renewal was completed"), "{}", run.text);
    kill_at_every_point(&tree, &begun, Call::is_changing, "recovery");
}

/// Checks that the lists of calls are complete.
#[test]
fn renewal_makes_only_listed_calls() {
    require!(ROOT, "strace", "taskset");
    let copy = Tree::full().copy();
    let calls = record(copy.node.root(), &["renew"]);
    let known = |call: &&Call| {
        [&WRITE_CALLS[..], &OPEN_CALLS, &READ_CALLS]
            .iter()
            .any(|list| list.contains(&call.name.as_str()))
    };
    let unknown: Vec<_> =
        calls.iter().filter(|call| call.is_below(copy.node.root()) && !known(call)).collect();
    assert!(unknown.is_empty(), "not known to this test: {unknown:?}");
    let changing =
        calls.iter().filter(|call| call.is_below(copy.node.root()) && call.is_changing());
    let elsewhere: Vec<_> = changing.filter(|call| !call.first_thread).collect();
    assert!(elsewhere.is_empty(), "not made by the first thread: {elsewhere:?}");
    assert!(
        calls
            .iter()
            .all(|call| call.name != "io_uring_setup" && call.name != "execve" || call.number == 1)
    );
    assert!(copy.node.path(STATE).exists());
}
