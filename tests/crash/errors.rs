//! Refused at every call: the pass says so, nothing is half done, and the next pass succeeds.

use std::time::{Duration, Instant};

use crate::points::{Point, points};
use crate::strace::{Injected, inject, on_each_core, record};
use crate::tree::{Copy, Tree};

/// What a disk may say at any call that changes something.
const REFUSALS: [&str; 3] = ["ENOSPC", "EIO", "EINTR"];
/// Of these, one at each in turn: the program makes no difference between them and the second of
/// the others.
const FORBIDDEN: [&str; 2] = ["EROFS", "EACCES"];
/// What it may say at a call that looks.
const MISREADINGS: [&str; 3] = ["EIO", "EACCES", "EINTR"];
/// Longer than any run takes, and shorter than the patience with another process.
const LONG: Duration = Duration::from_secs(25);

/// How an answer of the system is told.
const TOLD: &str = "os error";

struct Case {
    call: String,
    number: usize,
    error: &'static str,
    changing: bool,
}

/// Refusals of changes that need not be told, since nothing is missing for them: room that can't be
/// reserved is filled with zeros instead, and what was interrupted is asked again.
fn is_harmless(Case { call, error, .. }: &Case) -> bool {
    let asked_again = ["write", "pwrite64", "ftruncate", "fsync", "fdatasync", "flock"];
    call == "fallocate" || (*error == "EINTR" && asked_again.contains(&call.as_str()))
}

fn cases(points: Vec<Point>) -> Vec<Case> {
    let case = |point: &Point, error| Case {
        call: point.call.clone(),
        number: point.number,
        error,
        changing: point.changing,
    };
    // Nothing is asked of these that could matter: what a descriptor is, and where it stands.
    // Nobody hears of a failed close.
    let asked = points
        .iter()
        .filter(|point| !["close", "fcntl", "lseek", "ioctl"].contains(&point.call.as_str()));
    let each = asked.flat_map(|point| match point.changing {
        true => {
            let forbidden = FORBIDDEN[point.number % FORBIDDEN.len()];
            REFUSALS
                .into_iter()
                .chain([forbidden])
                .map(|error| case(point, error))
                .collect::<Vec<_>>()
        }
        false => vec![case(point, MISREADINGS[point.number % MISREADINGS.len()])],
    });
    each.collect()
}

#[test]
fn refused_at_every_call_it_says_so_and_the_next_pass_succeeds() {
    let began = Instant::now();
    let tree = Tree::small();
    let recorded = tree.copy();
    let calls = record(recorded.node.root(), &["renew"]);
    let cases = cases(points(&calls, &recorded.node, |_| true));
    on_each_core(&cases, |refused, core| {
        let Case { call, number, error, changing } = refused;
        let copy = tree.copy();
        let run = inject(copy.node.root(), call, *number, &format!("error={error}"), core);
        let hit = run.hit.clone().unwrap_or_else(|| panic!("{call} {number}: was not made"));
        let case = format!("{error} at {call} {number}, {hit}");
        ended_well(&run, &case);
        tree.holds_now(&copy.node, &case);
        if run.code == Some(0) && !run.text.contains(TOLD) {
            assert!(!changing || is_harmless(refused), "{case}: is not told: {}", run.text);
            tree.is_renewed(&copy.node, &format!("{case}: is not told"));
        }
        is_whole_or_told(&tree, &copy, &run, &case);
        tree.next_start(&copy.node, &case);
    });
    println!("refused at {} calls in {:.0?}", cases.len(), began.elapsed());
}

fn ended_well(run: &Injected, case: &str) {
    assert!(run.code.is_some(), "{case}: it was killed, or took too long");
    assert!(run.took < LONG, "{case}: took {:?}", run.took);
    assert!(
        !run.text.contains("panicked") && !run.text.contains("a fault in kubecertd"),
        "{case}: {}",
        run.text
    );
}

/// Old or new, but not a part of each, unless it is said that the next pass has to finish it.
fn is_whole_or_told(tree: &Tree, copy: &Copy, run: &Injected, case: &str) {
    let whole = copy.node.whole();
    assert!(
        whole.len() == tree.credentials() || run.text.contains("half made"),
        "{case}: {} are whole: {}",
        whole.len(),
        run.text
    );
}
