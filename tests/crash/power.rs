//! The power fails after every call: undurable changes are lost, or not.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::requirements::{ROOT, require};
use crate::disk::{Disk, DiskState};
use crate::strace::{inject, record, run_on_each_core};
use crate::tree::{Tree, TreeCopy, empty_tree};

/// Replays a renewal, and starts the program on every state that a power loss may leave after this
/// number of writes to the journal.
fn cut_power_everywhere(tree: &Tree, start: TreeCopy, journaled: usize, what: &str) {
    let began = Instant::now();
    let root = start.node.root();
    let mut disk = Disk::read(root);
    let calls = record(root, &["renew"]);
    let changes: Vec<_> = calls
        .iter()
        .filter(|call| {
            call.result >= 0 && call.is_below(root) && (call.is_changing() || call.name == "openat")
        })
        .collect();
    let mut states: BTreeMap<u64, (String, DiskState)> = BTreeMap::new();
    let mut found = 0;
    let mut writes = 0;
    for (number, call) in changes.iter().enumerate() {
        disk.apply(call);
        writes += usize::from(call.name == "pwrite64");
        if !call.is_changing() || writes < journaled {
            continue;
        }
        for state in disk.possible_states() {
            found += 1;
            states.entry(state.digest()).or_insert_with(|| {
                (format!("{what}, power lost after call {number}, {}", call.name), state)
            });
        }
    }
    let states: Vec<_> = states.into_values().collect();
    println!("{what}: {} changes, {found} remains, {} different ones", changes.len(), states.len());
    run_on_each_core(&states, |(case, state), _| {
        let copy = empty_tree();
        state.write_to(copy.node.root());
        tree.assert_invariants(&copy.node, case);
        tree.restart_and_check(&copy.node, case);
    });
    println!("{what}: {} states after a loss of power in {:.0?}", states.len(), began.elapsed());
}

#[test]
fn renewal_survives_power_loss_after_every_change() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::plain();
    cut_power_everywhere(&tree, tree.copy(), 0, "a renewal");
}

/// The backup is removed after the journal is cleared. The earlier states equal those of a renewal
/// without removal.
#[test]
fn backup_removal_survives_power_loss() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::plain().with_one_backup();
    cut_power_everywhere(&tree, tree.copy(), 2, "the removal of a backup");
}

#[test]
fn recovery_survives_power_loss_after_every_change() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::plain();
    let copy = tree.copy();
    assert_eq!(inject(copy.node.root(), "renameat", 5, "signal=KILL", 0).code, None);
    cut_power_everywhere(&tree, copy, 0, "a recovery");
}
