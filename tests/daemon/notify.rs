//! Notifications to systemd.

use std::time::{Duration, Instant};

use super::common::{ECDSA, Node};
use super::harness::*;
use super::notify_socket::{Datagram, NotifySocket};

/// Units that wait for the daemon do not wait for renewals: READY=1 is sent first. Here systemd
/// does not read the socket for a while, and nothing is renewed until it does.
#[test]
fn daemon_is_ready_before_renewal() {
    let node = Node::fresh(ECDSA);
    node.age_all(-1);
    node.write(CONFIG, schedule(NEVER));
    let notify_socket = NotifySocket::unread();
    notify_socket.fill_queue();
    let mut daemon = Daemon::start_with(&node, notify_socket, &[]);
    wait_for("it has loaded its configuration", || {
        node.path("var/lib/kubecertd/last-good-configuration.json").exists().then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.is_running(), "{}", daemon.log());
    assert_eq!(valid_longer_than(&node, 0), [""; 0], "renewed before it was ready");

    daemon.notify_socket.start_reading();
    daemon.wait_for_pass("first start");
    let first = &daemon.notify_socket.datagrams()[0];
    assert_eq!(first.value("READY"), Some("1"), "{first:?}");
    assert!(first.value("STATUS").is_some_and(|line| line.starts_with("next pass ")), "{first:?}");
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}

#[test]
fn status_lines_show_activity_result_and_next_pass() {
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    let next = daemon.wait_until_idle().next_pass.unwrap();
    let first = daemon.request_pass();
    let second = daemon.request_pass();
    let expected = [
        format!("next pass {next}"),
        PASS_IN_PROGRESS.to_owned(),
        format!(
            "last pass {}: {} renewed; next pass {next}",
            first.began,
            all_credentials(&node).len()
        ),
        PASS_IN_PROGRESS.to_owned(),
        format!("last pass {}: nothing to do; next pass {next}", second.began),
    ];
    let mut lines = daemon.notify_socket.values("STATUS");
    lines.dedup();
    assert_eq!(lines, expected);
}

#[test]
fn status_line_shows_failed_and_deferred_credentials() {
    let node = with_history(Node::due(), NEVER);
    node.age("admin.conf", 1);
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    assert_eq!(node.run(&["hold", "--until", "2100-01-01", "--reason", "a test"]).code, 0);
    let daemon = Daemon::start(&node);
    let rest = all_credentials(&node).len() - 1;
    let expected = format!(": 1 renewed, 1 failed, {rest} deferred; next pass ");
    wait_for("the status line of the pass at the start", || {
        let line = daemon.notify_socket.values("STATUS").pop()?;
        line.contains(&expected).then_some(())
    });
}

#[test]
fn reload_notifies_begin_time_and_end() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let reloads = || -> Vec<Datagram> {
        daemon
            .notify_socket
            .datagrams()
            .into_iter()
            .filter(|datagram| datagram.value("RELOADING").is_some())
            .collect()
    };
    let microseconds =
        |datagram: &Datagram| -> u64 { datagram.value("MONOTONIC_USEC").unwrap().parse().unwrap() };
    let began = Instant::now();
    daemon.signal("HUP");
    let first = wait_for("the first reload", || reloads().first().cloned());
    let between = Instant::now();
    std::thread::sleep(Duration::from_millis(100));
    let waited = between.elapsed();
    daemon.signal("HUP");
    let second = wait_for("the second reload", || reloads().get(1).cloned());
    let passed = Duration::from_micros(microseconds(&second) - microseconds(&first));
    assert!(
        waited <= passed && passed <= began.elapsed(),
        "{passed:?} is not the time between: {waited:?} to {:?}",
        began.elapsed()
    );
    assert_eq!(first.value("RELOADING"), Some("1"));

    wait_for("it is ready after the last reload", || {
        (daemon.notify_socket.values("READY").len() == 3).then_some(())
    });
    let notified: Vec<_> = daemon
        .notify_socket
        .datagrams()
        .into_iter()
        .filter(|datagram| {
            datagram.value("RELOADING").is_some() || datagram.value("READY").is_some()
        })
        .collect();
    let order: Vec<_> = notified.iter().map(|datagram| datagram.value("READY").is_some()).collect();
    assert_eq!(order, [true, false, true, false, true]);
    // A READY in the datagram of a RELOADING would end that reload for systemd.
    assert!(
        notified
            .iter()
            .all(|datagram| datagram.value("RELOADING").is_none()
                || datagram.value("READY").is_none())
    );
}

#[test]
fn stop_is_notified_and_exits_with_success() {
    for name in ["TERM", "INT"] {
        let node = with_history(Node::fresh(ECDSA), NEVER);
        let mut daemon = Daemon::start(&node);
        daemon.wait_until_idle();
        daemon.signal(name);
        assert_eq!(daemon.wait_for_exit().code(), Some(0), "SIG{name}: {}", daemon.log());
        let last = wait_for("it notifies that it stops", || {
            daemon.notify_socket.datagrams().pop().filter(|last| last.value("STOPPING").is_some())
        });
        assert_eq!(last.value("STOPPING"), Some("1"));
    }
}

#[test]
fn watchdog_is_notified_twice_per_timeout_during_pass() {
    let node = with_history(Node::due(), NEVER);
    let store_lock = StoreLock::take(&node);
    let limit = Duration::from_secs(1);
    let daemon = Daemon::start_with(
        &node,
        NotifySocket::new(),
        &[("WATCHDOG_USEC", &limit.as_micros().to_string())],
    );
    daemon.wait_until_idle();
    daemon.signal("USR1");
    wait_for("a pass is in progress", || {
        daemon
            .notify_socket
            .values("STATUS")
            .last()
            .is_some_and(|line| line == PASS_IN_PROGRESS)
            .then_some(())
    });
    let from = Instant::now();
    let watchdog_times = || -> Vec<_> {
        daemon
            .notify_socket
            .datagrams()
            .iter()
            .filter(|datagram| datagram.at > from && datagram.value("WATCHDOG") == Some("1"))
            .map(|datagram| datagram.at)
            .collect()
    };
    let times = wait_for("watchdog notifications", || {
        Some(watchdog_times()).filter(|times| times.len() >= 6)
    });
    assert_eq!(daemon.notify_socket.completed_passes(), 0, "the pass is still in progress");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = gaps.iter().max().unwrap();
    assert!(*longest < limit, "systemd would have killed it: {gaps:?}");
    let whole = times[5] - times[0];
    assert!(whole >= limit * 2, "much more often than needed: {gaps:?}");
    drop(store_lock);
    assert_eq!(names(&daemon.wait_for_pass("signal").renewed), all_credentials(&node));
}

#[test]
fn no_watchdog_sends_no_notification() {
    let node = with_history(Node::fresh(ECDSA), EVERY_SECOND);
    let daemon = Daemon::start(&node);
    wait_for("some passes", || (daemon.notify_socket.completed_passes() >= 2).then_some(()));
    assert_eq!(daemon.notify_socket.values("WATCHDOG"), [""; 0]);
}
