//! An error is injected at every call: the pass reports it, nothing is left incomplete, and the
//! next pass succeeds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::requirements::{ROOT, require};
use crate::points::{Point, list_points};
use crate::strace::{Call, InjectedRun, inject, record, run_on_each_core};
use crate::tree::{Tree, TreeCopy};

/// Errors of calls that change something.
const WRITE_ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EINTR"];
/// Permission errors. Each call gets one of them in turn, since the program handles them as EIO.
const PERMISSION_ERRORS: [&str; 2] = ["EROFS", "EACCES"];
/// Errors of calls that only read.
const READ_ERRORS: [&str; 3] = ["EIO", "EACCES", "EINTR"];
/// Longer than any run takes, and shorter than the lock timeout.
const MAX_RUN_TIME: Duration = Duration::from_secs(25);

/// The text of every error of the system.
const SYSTEM_ERROR: &str = "os error";

struct Case {
    call: String,
    number: usize,
    error: &'static str,
    changing: bool,
}

/// Whether an error needs no report, since nothing is missing: space that can't be reserved is
/// filled with zeros instead, and interrupted calls are repeated.
fn is_harmless(Case { call, error, .. }: &Case) -> bool {
    let repeated = ["write", "pwrite64", "ftruncate", "fsync", "fdatasync", "flock"];
    call == "fallocate" || (*error == "EINTR" && repeated.contains(&call.as_str()))
}

fn list_cases(points: Vec<Point>) -> Vec<Case> {
    let case = |point: &Point, error| Case {
        call: point.call.clone(),
        number: point.number,
        error,
        changing: point.changing,
    };
    // These calls are left out: they ask for the kind or offset of a descriptor, or close it, and
    // their errors have no effect.
    let tested = points
        .iter()
        .filter(|point| !["close", "fcntl", "lseek", "ioctl"].contains(&point.call.as_str()));
    let each = tested.flat_map(|point| match point.changing {
        true => {
            let permission_error = PERMISSION_ERRORS[point.number % PERMISSION_ERRORS.len()];
            WRITE_ERRORS
                .into_iter()
                .chain([permission_error])
                .map(|error| case(point, error))
                .collect::<Vec<_>>()
        }
        false => vec![case(point, READ_ERRORS[point.number % READ_ERRORS.len()])],
    });
    each.collect()
}

/// Every change, and of the reads with the same arguments the first two.
fn first_alike() -> impl FnMut(&Call) -> bool {
    let mut seen: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
    move |call| {
        let alike = seen.entry((call.name.clone(), call.arguments.clone())).or_default();
        *alike += 1;
        call.is_changing() || *alike <= 2
    }
}

#[test]
fn error_at_every_call_is_reported_and_next_pass_succeeds() {
    require!(ROOT, "strace", "taskset");
    let began = Instant::now();
    let tree = Tree::small();
    let recorded = tree.copy();
    let calls = record(recorded.node.root(), &["renew"]);
    let cases = list_cases(list_points(&calls, &recorded.node, first_alike()));
    run_on_each_core(&cases, |failing, core| {
        let Case { call, number, error, changing } = failing;
        let copy = tree.copy();
        let run = inject(copy.node.root(), call, *number, &format!("error={error}"), core);
        let hit = run.hit.clone().unwrap_or_else(|| panic!("{call} {number}: was not made"));
        let case = format!("{error} at {call} {number}, {hit}");
        assert_clean_exit(&run, &case);
        tree.assert_invariants(&copy.node, &case);
        if run.code == Some(0) && !run.text.contains(SYSTEM_ERROR) {
            assert!(!changing || is_harmless(failing), "{case}: is not reported: {}", run.text);
            tree.assert_renewed(&copy.node, &format!("{case}: is not reported"));
        }
        assert_whole_or_reported(&tree, &copy, &run, &case);
        tree.restart_and_check(&copy.node, &case);
    });
    println!("refused at {} calls in {:.0?}", cases.len(), began.elapsed());
}

fn assert_clean_exit(run: &InjectedRun, case: &str) {
    assert!(run.code.is_some(), "{case}: it was killed, or took too long");
    assert!(run.took < MAX_RUN_TIME, "{case}: took {:?}", run.took);
    assert!(
        !run.text.contains("panicked") && !run.text.contains("a bug in kubecertd"),
        "{case}: {}",
        run.text
    );
}

/// Asserts that every credential is old or new, but no mixture, unless the report says that the
/// next pass completes it.
fn assert_whole_or_reported(tree: &Tree, copy: &TreeCopy, run: &InjectedRun, case: &str) {
    let whole = copy.node.usable_credentials();
    assert!(
        whole.len() == tree.credentials() || run.text.contains("the change is incomplete"),
        "{case}: {} are whole: {}",
        whole.len(),
        run.text
    );
}
