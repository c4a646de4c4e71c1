//! Killed at every call.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::{Node, STATE};
use crate::strace::{CHANGING, Call, LOOKING, OPENING, inject, on_each_core, record};
use crate::tree::{Copy, Tree};

/// One place to be hit at.
pub struct Point {
    pub call: String,
    pub number: usize,
    pub changing: bool,
}

/// Where a process can be hit: every call about the node's own files that this test is about.
pub fn points(calls: &[Call], copy: &Node, wanted: impl Fn(&Call) -> bool) -> Vec<Point> {
    let ours =
        calls.iter().filter(|call| call.first_thread && call.is_below(copy.root()) && wanted(call));
    ours.map(|call| Point {
        call: call.name.clone(),
        number: call.number,
        changing: call.is_changing(),
    })
    .collect()
}

fn killed_everywhere(
    tree: &Tree,
    start: &(dyn Fn() -> Copy + Sync),
    wanted: impl Fn(&Call) -> bool,
    what: &str,
) {
    let began = Instant::now();
    let recorded = start();
    let calls = record(recorded.node.root(), &["renew"]);
    tree.is_renewed(&recorded.node, "recorded");
    let points = points(&calls, &recorded.node, wanted);
    on_each_core(&points, |Point { call, number, changing }, core| {
        let case = format!("{what}, killed at {call} {number}");
        let copy = start();
        let run = inject(copy.node.root(), call, *number, "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        tree.holds_now(&copy.node, &case);
        // A call that only looks leaves the disk as the change before it did, after which the next
        // start was made already.
        if *changing {
            tree.next_start(&copy.node, &case);
        }
    });
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    points.iter().for_each(|point| *kinds.entry(&point.call).or_default() += 1);
    println!("{what}: killed at {} points in {:.0?}: {kinds:?}", points.len(), began.elapsed());
}

#[test]
fn killed_at_every_call_of_a_renewal() {
    let tree = Tree::small();
    killed_everywhere(&tree, &|| tree.copy(), |_| true, "three credentials");
}

/// The more there is to rename, the more can be left half done. The other calls are made for each
/// file alike, and are killed at with fewer of them.
#[test]
fn killed_at_every_rename_removal_and_sync_of_a_whole_node() {
    let tree = Tree::full();
    let wanted = ["renameat", "unlinkat", "pwrite64", "fdatasync", "fsync"];
    killed_everywhere(
        &tree,
        &|| tree.copy(),
        |call| wanted.contains(&call.name.as_str()),
        "a whole node",
    );
}

/// After the first rename of a change, so that there is something to be finished.
#[test]
fn killed_at_every_change_of_the_start_that_recovers() {
    let tree = Tree::small();
    let begun = || {
        let copy = tree.copy();
        // The first rename is the state file's.
        let run = inject(copy.node.root(), "renameat", 3, "signal=KILL", 0);
        assert_eq!(run.code, None);
        copy
    };
    let left = begun();
    let run = left.node.run(&["renew"]);
    assert!(run.text.contains("complete now"), "{}", run.text);
    killed_everywhere(&tree, &begun, Call::is_changing, "recovery");
}

/// The lists of this test stay complete: what is not in them is never called.
#[test]
fn no_other_call_is_made() {
    let copy = Tree::full().copy();
    let calls = record(copy.node.root(), &["renew"]);
    let known = |call: &&Call| {
        [&CHANGING[..], &OPENING, &LOOKING].iter().any(|list| list.contains(&call.name.as_str()))
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
