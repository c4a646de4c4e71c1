//! The power goes after every call: what was not made durable is lost, or not.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::disk::{Disk, Remains};
use crate::strace::{inject, on_each_core, record};
use crate::tree::{Copy, Tree, blank};

/// Replays a renewal, and starts the program on all that the disk may hold when the power goes in
/// the middle, after so many writes to the journal.
fn power_lost_everywhere(tree: &Tree, start: Copy, journaled: usize, what: &str) {
    let began = Instant::now();
    let root = start.node.root();
    let mut disk = Disk::of(root);
    let calls = record(root, &["renew"]);
    let changes: Vec<_> = calls
        .iter()
        .filter(|call| {
            call.result >= 0 && call.is_below(root) && (call.is_changing() || call.name == "openat")
        })
        .collect();
    let mut states: BTreeMap<u64, (String, Remains)> = BTreeMap::new();
    let mut found = 0;
    let mut writes = 0;
    for (number, call) in changes.iter().enumerate() {
        disk.apply(call);
        writes += usize::from(call.name == "pwrite64");
        if !call.is_changing() || writes < journaled {
            continue;
        }
        for remains in disk.remains() {
            found += 1;
            states.entry(remains.digest()).or_insert_with(|| {
                (format!("{what}, power lost after call {number}, {}", call.name), remains)
            });
        }
    }
    let states: Vec<_> = states.into_values().collect();
    println!("{what}: {} changes, {found} remains, {} different ones", changes.len(), states.len());
    on_each_core(&states, |(case, remains), _| {
        let copy = blank();
        remains.put(copy.node.root());
        tree.holds_now(&copy.node, case);
        tree.next_start(&copy.node, case);
    });
    println!("{what}: {} states after a loss of power in {:.0?}", states.len(), began.elapsed());
}

#[test]
fn power_lost_after_every_change_of_a_renewal() {
    let tree = Tree::plain();
    power_lost_everywhere(&tree, tree.copy(), 0, "a renewal");
}

/// Which it does after it has cleared the journal; what is before is the same as without.
#[test]
fn power_lost_while_an_old_backup_is_removed() {
    let tree = Tree::plain().with_a_backup();
    power_lost_everywhere(&tree, tree.copy(), 2, "the removal of a backup");
}

#[test]
fn power_lost_after_every_change_of_a_recovery() {
    let tree = Tree::plain();
    let copy = tree.copy();
    assert_eq!(inject(copy.node.root(), "renameat", 4, "signal=KILL", 0).code, None);
    power_lost_everywhere(&tree, copy, 0, "a recovery");
}
