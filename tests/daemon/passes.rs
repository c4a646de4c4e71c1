//! What makes a pass: a signal, the schedule, and what was missed or cut short before the start.

use std::time::Duration;

use super::common::{ECDSA, Node, now};
use super::harness::*;
use kubecertd::model::days;

#[test]
fn a_signal_makes_a_pass_and_without_one_there_is_none() {
    let node = known(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.settled().last_pass, None);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        (daemon.ears.passes(), fresh(&node, 300)),
        (0, Vec::new()),
        "nothing asked for a pass"
    );
    let last = daemon.pass();
    assert_eq!(last.why, "asked for by a signal");
    assert_eq!(names(&last.renewed), all(&node));
    assert_eq!(fresh(&node, 300), all(&node));
}

/// The second one may come while the first is served.
#[test]
fn a_signal_during_a_pass_makes_another_one_after_it() {
    let node = known(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.settled();
    let taken = StoreTaken::on(&node);
    daemon.signal("USR1");
    until("a pass is made", || daemon.status().filter(|status| status.line == AT_WORK));
    for _ in 0..5 {
        daemon.signal("USR1");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(taken);
    // The first has renewed everything, so that the last word of the second is that there was
    // nothing to do.
    until("the second pass", || {
        daemon
            .ears
            .values("STATUS")
            .last()
            .is_some_and(|line| line.contains("nothing to do"))
            .then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.ears.passes(), 1, "one more pass looks at what all of them asked for");
}

#[test]
fn the_schedule_makes_passes_and_what_is_due_is_renewed() {
    let node = known(Node::due(), EVERY_OTHER_SECOND);
    let daemon = Daemon::start(&node);
    let first = daemon.passed("by schedule");
    until("three more passes", || (daemon.ears.passes() >= 4).then_some(()));
    let last = daemon.settled().last_pass.unwrap();
    assert_eq!(last.why, "by schedule");
    assert!(
        last.began.seconds_since(first.began) >= 4,
        "every other second: {} {}",
        first.began,
        last.began
    );
    assert!(last.began.seconds() % 2 == 0 || last.began.seconds_since(first.began) < 60);
    assert_eq!(fresh(&node, 300), all(&node));
    let text = daemon.log();
    for name in all(&node) {
        assert_eq!(
            text.matches(&format!(" {name}: renewed until ")).count(),
            1,
            "{name} is renewed once:\n{text}"
        );
    }
}

#[test]
fn a_pass_that_was_missed_is_caught_up_at_the_start_and_only_once() {
    let node = known(Node::due(), "0 0 0 * * *");
    remember(&node, &well_until(now().minus(days(3))));
    let mut daemon = Daemon::start(&node);
    let last = daemon.passed("missed");
    let missed = now().civil().date().checked_sub(jiff::ToSpan::days(2)).unwrap();
    assert!(
        last.why.starts_with("by schedule, missed at ") && last.why.ends_with("T00:00:00Z"),
        "{}",
        last.why
    );
    assert!(
        last.why.contains(&missed.to_string()) || now().civil().hour() == 0,
        "the first that was missed, on {missed}: {}",
        last.why
    );
    assert_eq!(fresh(&node, 300), all(&node));
    assert_eq!(daemon.stop().code(), Some(0));

    let daemon = Daemon::start(&node);
    daemon.settled();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(daemon.status().unwrap().last_pass, None, "nothing was missed since");
}

/// A disk that comes from elsewhere, or a battery that was empty: no scheduled pass was missed, and
/// all the same nothing can wait.
#[test]
fn what_has_ended_or_is_broken_at_the_start_is_renewed_at_once() {
    let broken: [fn(&Node); 2] =
        [|node| node.age("apiserver", -30), |node| node.remove("etc/kubernetes/pki/apiserver.key")];
    for broken in broken {
        let node = known(Node::fresh(ECDSA), NEVER);
        broken(&node);
        let daemon = Daemon::start(&node);
        let last = daemon.passed("a credential is expired or broken");
        assert_eq!(names(&last.renewed), ["apiserver"]);
    }
}

#[test]
fn a_pass_that_failed_before_the_start_is_made_again() {
    let node = known(Node::due(), NEVER);
    let state = remembered(&node);
    remember(&node, &kubecertd::store::State { unfinished: true, ..state });
    let daemon = Daemon::start(&node);
    daemon.passed("the last pass before the start failed");
    assert_eq!(fresh(&node, 300), all(&node));
}

/// The process was killed between two renames of one pair. Nobody else finishes it, and
/// kube-apiserver would not start.
#[test]
fn what_was_cut_short_is_finished_at_the_start() {
    let node = known(Node::due(), NEVER);
    remember(&node, &well_until(now().minus(days(1))));
    let whole = all(&node);
    let mut torn = false;
    for number in 1..40 {
        node.fill(Node::files_due());
        let status = std::process::Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=renameat",
                "-e",
                &format!("inject=renameat:signal=KILL:when={number}"),
            ])
            .args([
                env!("CARGO_BIN_EXE_kubecertd"),
                "--root",
                node.root().to_str().unwrap(),
                "renew",
            ])
            .output()
            .expect("strace is installed")
            .status;
        assert_ne!(status.code(), Some(0), "there is no rename that tears a pair");
        if all(&node) != whole {
            torn = true;
            break;
        }
        assert_eq!(node.run(&["renew"]).code, 0);
        remember(&node, &well_until(now().minus(days(1))));
    }
    assert!(torn);
    // Whatever is remembered: the journal itself tells.
    remember(&node, &well_until(now()));
    let daemon = Daemon::start(&node);
    let last = daemon.passed("the last pass before the start failed");
    assert!(!last.is_bad(), "{last:?}");
    assert_eq!(all(&node), whole);
    assert!(
        daemon.log().contains("its renewal was cut short earlier, and is complete now"),
        "{}",
        daemon.log()
    );
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

#[test]
fn the_log_tells_each_renewal_once_with_its_end_and_reason() {
    let node = known(Node::fresh(ECDSA), NEVER);
    node.age("apiserver", 10);
    let daemon = Daemon::start(&node);
    daemon.pass();
    daemon.pass();
    let end = node.certificate("apiserver").not_after;
    let log = daemon.log();
    assert_eq!(
        log.matches(&format!(" INFO apiserver: renewed until {end}, serial ")).count(),
        1,
        "{log}"
    );
    assert!(log.contains(": expires in 10 days"), "{log}");
    assert!(!log.contains("PRIVATE KEY"));
}
