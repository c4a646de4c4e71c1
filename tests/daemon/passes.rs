//! The triggers of a pass: a signal, the schedule, and a missed or interrupted pass at the start.

use std::time::Duration;

use super::common::requirements::require;
use super::common::{ECDSA, Node, now};
use super::harness::*;
use kubecertd::model::days;
use kubecertd::report::Status;

#[test]
fn pass_is_made_only_after_signal() {
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.wait_until_idle().last_pass, None);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        (daemon.notify_socket.completed_passes(), valid_longer_than(&node, 300)),
        (0, Vec::new()),
        "no pass was requested"
    );
    let last = daemon.request_pass();
    assert_eq!(last.why, "asked for by a signal");
    assert_eq!(names(&last.renewed), all_credentials(&node));
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}

/// A second signal may come during the pass of the first.
#[test]
fn signals_during_pass_make_one_more_pass() {
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let store_lock = StoreLock::take(&node);
    daemon.signal("USR1");
    wait_for("a pass is in progress", || {
        daemon.status().filter(|status| status.line == PASS_IN_PROGRESS)
    });
    for _ in 0..5 {
        daemon.signal("USR1");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(store_lock);
    // The first pass renews everything, so the second reports that there is nothing to do.
    wait_for("the second pass", || {
        daemon
            .notify_socket
            .values("STATUS")
            .last()
            .is_some_and(|line| line.contains("nothing to do"))
            .then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        daemon.notify_socket.completed_passes(),
        1,
        "one more pass serves all these signals"
    );
}

/// Has the schedule occur at least once, by a reload, and never again by another one.
fn tick(node: &Node, daemon: &Daemon<'_>) {
    let next_pass = |status: &Status| status.next_pass.unwrap();
    let soon = now().plus(Duration::from_secs(3_600));
    node.write(CONFIG, schedule(EVERY_SECOND));
    daemon.signal("HUP");
    let first = daemon.wait_for_status("the new schedule", |status| next_pass(status) < soon);
    daemon.wait_for_status("a tick", |status| next_pass(status) > next_pass(&first));
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    daemon.wait_for_status("the old schedule", |status| next_pass(status) > soon);
}

/// The requested pass and the scheduled one are one, which remembers the schedule.
#[test]
fn tick_while_a_requested_pass_waits_is_not_lost() {
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let store_lock = StoreLock::take(&node);
    daemon.signal("USR1");
    wait_for("a pass is in progress", || {
        daemon.status().filter(|status| status.line == PASS_IN_PROGRESS)
    });
    daemon.signal("USR1");
    let began = now();
    tick(&node, &daemon);
    drop(store_lock);
    daemon.wait_for_pass("by schedule");
    assert!(read_state(&node).scheduled_until.is_some_and(|until| until >= began));
}

/// A daemon that is new on a node only observes until its first scheduled pass, also where that
/// one's time comes during the very first pass.
#[test]
fn tick_during_first_pass_ends_observation() {
    let node = Node::due();
    node.write(CONFIG, schedule(NEVER));
    std::fs::create_dir_all(node.path("var/lib/kubecertd")).unwrap();
    let store_lock = StoreLock::take(&node);
    let daemon = Daemon::start(&node);
    wait_for("the first pass is in progress", || {
        daemon.status().filter(|status| status.line == PASS_IN_PROGRESS)
    });
    tick(&node, &daemon);
    drop(store_lock);
    let pass = daemon.wait_for_pass("by schedule");
    assert_eq!(pass.renewed.len(), all_credentials(&node).len(), "{pass:?}");
}

#[test]
fn scheduled_passes_renew_due_credentials_once() {
    let node = with_history(Node::due(), EVERY_OTHER_SECOND);
    let daemon = Daemon::start(&node);
    let first = daemon.wait_for_pass("by schedule");
    wait_for("three more passes", || (daemon.notify_socket.completed_passes() >= 4).then_some(()));
    let last = daemon.wait_until_idle().last_pass.unwrap();
    assert_eq!(last.why, "by schedule");
    assert!(
        last.began.seconds_since(first.began) >= 4,
        "every other second: {} {}",
        first.began,
        last.began
    );
    assert!(last.began.seconds() % 2 == 0 || last.began.seconds_since(first.began) < 60);
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    let text = daemon.log();
    for name in all_credentials(&node) {
        assert_eq!(
            text.matches(&format!(" {name}: renewed until ")).count(),
            1,
            "{name} is renewed once:\n{text}"
        );
    }
}

#[test]
fn missed_pass_is_made_once_at_start() {
    let node = with_history(Node::due(), "0 0 0 * * *");
    write_state(&node, &successful_state(now().minus(days(3))));
    let mut daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass("missed");
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
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    assert_eq!(daemon.stop().code(), Some(0));

    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(daemon.status().unwrap().last_pass, None, "nothing was missed since");
}

/// A restored disk or a wrong clock: no scheduled pass was missed, but the renewal can't wait.
#[test]
fn urgent_or_broken_credential_is_renewed_at_start() {
    let broken: [fn(&Node); 3] = [
        |node| node.age("apiserver", 2),
        |node| node.age("apiserver", -30),
        |node| node.remove("etc/kubernetes/pki/apiserver.key"),
    ];
    for broken in broken {
        let node = with_history(Node::fresh(ECDSA), NEVER);
        broken(&node);
        let daemon = Daemon::start(&node);
        let last = daemon.wait_for_pass(URGENT);
        assert_eq!(names(&last.renewed), ["apiserver"]);
    }
}

/// Nothing can be renewed on a machine that was off for years, and that is alarmed at once.
#[test]
fn expired_ca_is_alarmed_at_start() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    node.expire_cas(-3);
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass(URGENT);
    assert!(last.renewed.is_empty(), "{last:?}");
    let shown = node.run(&["alarms"]).text;
    assert!(shown.contains("CRITICAL expired (500.210) on system.certificate.etcd-ca"), "{shown}");
}

/// Due, and left to the schedule, until it is urgent.
#[test]
fn daemon_makes_a_pass_when_a_credential_becomes_urgent() {
    // Where the start takes longer than that, the pass is one of the start: then once more.
    let last = [5, 30, 120].into_iter().find_map(|seconds| {
        let node = with_history(Node::due(), NEVER);
        node.age_seconds("apiserver", 3 * 86_400 + seconds);
        let daemon = Daemon::start(&node);
        let status = daemon.wait_for_status("a pass", |status| status.last_pass.is_some());
        status.last_pass.filter(|last| last.why != URGENT)
    });
    let last = last.expect("the daemon takes two minutes to start");
    assert_eq!(last.why, "apiserver becomes urgent");
    assert!(names(&last.renewed).contains(&"apiserver".to_owned()));
}

/// What is not renewed here is alarmed when it expires.
#[test]
fn daemon_makes_a_pass_when_a_certificate_expires() {
    let last = [5, 30, 120].into_iter().find_map(|seconds| {
        let node = with_history(Node::fresh(ECDSA), NEVER);
        node.add_kubelet_certificate(1);
        node.age_seconds("kubelet-client", seconds);
        let daemon = Daemon::start(&node);
        let status = daemon.wait_for_status("a pass", |status| status.last_pass.is_some());
        status.last_pass.filter(|last| last.why != URGENT)
    });
    let last = last.expect("the daemon takes two minutes to start");
    assert_eq!(last.why, "kubelet-client expires");
}

#[test]
fn failed_pass_is_repeated_at_start() {
    let node = with_history(Node::due(), NEVER);
    let state = read_state(&node);
    write_state(&node, &kubecertd::state::PassMemory { unfinished: true, ..state });
    let daemon = Daemon::start(&node);
    daemon.wait_for_pass("the last pass before the start failed");
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}

/// The process was killed between two renames of one pair. Without recovery, kube-apiserver would
/// not start.
#[test]
fn interrupted_transaction_is_completed_at_start() {
    require!("strace");
    let node = with_history(Node::due(), NEVER);
    write_state(&node, &successful_state(now().minus(days(1))));
    let whole = all_credentials(&node);
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
            .unwrap()
            .status;
        assert_ne!(status.code(), Some(0), "there is no rename that tears a pair");
        if all_credentials(&node) != whole {
            torn = true;
            break;
        }
        assert_eq!(node.run(&["renew"]).code, 0);
        write_state(&node, &successful_state(now().minus(days(1))));
    }
    assert!(torn);
    // The state is irrelevant: the journal records the transaction.
    write_state(&node, &successful_state(now()));
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass("the last pass before the start failed");
    assert!(!last.is_bad(), "{last:?}");
    assert_eq!(all_credentials(&node), whole);
    assert!(daemon.log().contains("its interrupted renewal was completed"), "{}", daemon.log());
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

#[test]
fn log_has_each_renewal_once_with_expiry_and_reason() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    node.age("apiserver", 10);
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    daemon.request_pass();
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
