//! Hostile owners: each file and directory that a pass opens, as a trace shows, is given to an
//! ordinary user, who puts something hostile there before or during the pass. The user gains
//! nothing by it, and everything else is renewed.
//!
//! - `opens`: the files and directories that a pass opens, and its calls
//! - `node`: the node that each combination gets a copy of
//! - `objects`: what the user puts there
//! - `before`, `during`, `service`: the combinations, by their moment; `service` runs the pass as
//!   on the node itself, with processes and signals
//! - `pass`: runs of the program
//! - `judge`: what must hold after each pass, by a `survey` of certificates and keys
//!
//! Every combination that violates something is one line, `FILE / object / moment: violations`.
//!
//! The guards that the combinations are about, each of which makes some of them fail when it is
//! switched off:
//!
//! - a walk follows no symlink, enters no mount and reads no hard link that others can have made
//! - a kubeconfig that others can write refers only to files beside it, of its own owner
//! - a credential that others can write is reissued only for the subject that it had, and only
//!   after the certificate that was judged
//! - a process is signalled only if it belongs to the owner of the pid file
//! - only the main process of kubelet's unit tells the name of the node
//! - configuration and state are used only if they and their directories belong to root
//! - files are read up to a limit, and pipes without waiting
//!
//! Others stand behind these, and show only where the first one is off: no target is a file of a
//! CA, the key of service accounts, or a file of another credential; a CA that others can write
//! signs nothing with the key of another CA; a process of another user than root names no node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../crash/strace.rs"]
mod strace;

mod before;
mod during;
mod judge;
mod node;
mod objects;
mod opens;
mod pass;
mod service;
mod survey;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use strace::run_on_each_core;

/// One combination: its kind, for the count, and its name.
trait Combination: Sync {
    fn kind(&self) -> String;
    fn name(&self) -> String;
    /// Makes a node, runs the pass, and returns what was violated.
    fn run(&self, core: usize) -> Vec<String>;
}

/// Runs all combinations, each core at its own. Reports the number of each kind, and fails with a
/// line for each combination that violates something.
fn run_all(moment: &str, combinations: &[impl Combination]) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let (counts, failures) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    run_on_each_core(combinations, |one, core| {
        let violated = catch_unwind(AssertUnwindSafe(|| one.run(core)));
        let violated = violated.unwrap_or_else(|_| vec!["the suite panicked".to_owned()]);
        *counts.lock().unwrap().entry(one.kind()).or_default() += 1;
        if !violated.is_empty() {
            failures.lock().unwrap().push(format!("{}: {}", one.name(), violated.join("; ")));
        }
    });
    let counts: BTreeMap<String, usize> = counts.into_inner().unwrap();
    let total: usize = counts.values().sum();
    println!("{moment}: {total} combinations in {:.0?}: {counts:#?}", began.elapsed());
    let mut failures: Vec<String> = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {total} combinations failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    counts
}
