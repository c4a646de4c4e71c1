//! What systemd is told.

use std::time::{Duration, Instant};

use super::common::{ECDSA, Node};
use super::ears::{Ears, Heard};
use super::harness::*;

/// Whoever has to wait for the daemon to be ready is not kept waiting for renewals: here systemd is
/// slow to listen, and until it does nothing is renewed.
#[test]
fn it_is_ready_before_anything_is_renewed() {
    let node = Node::fresh(ECDSA);
    node.age_all(-1);
    node.write(CONFIG, schedule(NEVER));
    let ears = Ears::deaf();
    ears.stop_up();
    let mut daemon = Daemon::start_with(&node, ears, &[]);
    until("it has read its configuration", || {
        node.path("var/lib/kubecertd/last-good-configuration.json").exists().then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.runs(), "{}", daemon.log());
    assert_eq!(fresh(&node, 0), [""; 0], "renewed before it was ready");

    daemon.ears.listen();
    daemon.passed("first start");
    let first = &daemon.ears.heard()[0];
    assert_eq!(first.value("READY"), Some("1"), "{first:?}");
    assert!(first.value("STATUS").is_some_and(|line| line.starts_with("next pass ")), "{first:?}");
    assert_eq!(fresh(&node, 300), all(&node));
}

#[test]
fn status_lines_say_what_is_done_what_came_of_it_and_when_the_next_pass_is() {
    let node = known(Node::due(), NEVER);
    node.age("apiserver", 1);
    let daemon = Daemon::start(&node);
    let next = daemon.settled().next_pass.unwrap();
    let first = daemon.pass();
    let second = daemon.pass();
    let expected = [
        format!("next pass {next}"),
        AT_WORK.to_owned(),
        format!("last pass {}: {} renewed; next pass {next}", first.began, all(&node).len()),
        AT_WORK.to_owned(),
        format!("last pass {}: nothing to do; next pass {next}", second.began),
    ];
    let mut lines = daemon.ears.values("STATUS");
    lines.dedup();
    assert_eq!(lines, expected);
}

#[test]
fn a_pass_that_left_something_says_so_in_the_status_line() {
    let node = known(Node::due(), NEVER);
    node.age("admin.conf", 1);
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    assert_eq!(node.run(&["hold", "--until", "2100-01-01", "--reason", "a test"]).code, 0);
    let daemon = Daemon::start(&node);
    daemon.pass();
    let line = daemon.ears.values("STATUS").pop().unwrap();
    let rest = all(&node).len() - 1;
    assert!(line.contains(&format!(": 1 renewed, 1 failed, {rest} waiting; next pass ")), "{line}");
}

#[test]
fn a_reload_is_told_with_its_time_and_when_it_is_over() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    daemon.settled();
    let reloads = || -> Vec<Heard> {
        daemon.ears.heard().into_iter().filter(|heard| heard.value("RELOADING").is_some()).collect()
    };
    let microseconds =
        |heard: &Heard| -> u64 { heard.value("MONOTONIC_USEC").unwrap().parse().unwrap() };
    let began = Instant::now();
    daemon.signal("HUP");
    let first = until("the first reload", || reloads().first().cloned());
    let between = Instant::now();
    std::thread::sleep(Duration::from_millis(100));
    let waited = between.elapsed();
    daemon.signal("HUP");
    let second = until("the second reload", || reloads().get(1).cloned());
    let passed = Duration::from_micros(microseconds(&second) - microseconds(&first));
    assert!(
        waited <= passed && passed <= began.elapsed(),
        "{passed:?} is not the time between: {waited:?} to {:?}",
        began.elapsed()
    );
    assert_eq!(first.value("RELOADING"), Some("1"));

    until("it is ready after the last reload", || {
        (daemon.ears.values("READY").len() == 3).then_some(())
    });
    let told: Vec<_> = daemon
        .ears
        .heard()
        .into_iter()
        .filter(|heard| heard.value("RELOADING").is_some() || heard.value("READY").is_some())
        .collect();
    let order: Vec<_> = told.iter().map(|heard| heard.value("READY").is_some()).collect();
    assert_eq!(order, [true, false, true, false, true]);
    // So that systemd does not take the old end for the new one's.
    assert!(
        told.iter()
            .all(|heard| heard.value("RELOADING").is_none() || heard.value("READY").is_none())
    );
}

#[test]
fn it_says_that_it_stops_and_ends_well() {
    for name in ["TERM", "INT"] {
        let node = known(Node::fresh(ECDSA), NEVER);
        let mut daemon = Daemon::start(&node);
        daemon.settled();
        daemon.signal(name);
        assert_eq!(daemon.ended().code(), Some(0), "SIG{name}: {}", daemon.log());
        let last = until("it says that it stops", || {
            daemon.ears.heard().pop().filter(|last| last.value("STOPPING").is_some())
        });
        assert_eq!(last.value("STOPPING"), Some("1"));
    }
}

#[test]
fn the_watchdog_is_fed_twice_in_its_time_also_while_a_pass_is_made() {
    let node = known(Node::due(), NEVER);
    let taken = StoreTaken::on(&node);
    let limit = Duration::from_secs(1);
    let daemon = Daemon::start_with(
        &node,
        Ears::new(),
        &[("WATCHDOG_USEC", &limit.as_micros().to_string())],
    );
    daemon.settled();
    daemon.signal("USR1");
    until("a pass is made", || {
        daemon.ears.values("STATUS").last().is_some_and(|line| line == AT_WORK).then_some(())
    });
    let from = Instant::now();
    let fed = || -> Vec<_> {
        daemon
            .ears
            .heard()
            .iter()
            .filter(|heard| heard.at > from && heard.value("WATCHDOG") == Some("1"))
            .map(|heard| heard.at)
            .collect()
    };
    let times = until("it is fed", || Some(fed()).filter(|times| times.len() >= 6));
    assert_eq!(daemon.ears.passes(), 0, "the pass has ended meanwhile");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = gaps.iter().max().unwrap();
    assert!(*longest < limit, "systemd would have killed it: {gaps:?}");
    let whole = times[5] - times[0];
    assert!(whole >= limit * 2, "much more often than needed: {gaps:?}");
    drop(taken);
    assert_eq!(names(&daemon.passed("signal").renewed), all(&node));
}

#[test]
fn without_a_watchdog_there_is_nothing_to_feed() {
    let node = known(Node::fresh(ECDSA), EVERY_SECOND);
    let daemon = Daemon::start(&node);
    until("some passes", || (daemon.ears.passes() >= 2).then_some(()));
    assert_eq!(daemon.ears.values("WATCHDOG"), [""; 0]);
}
