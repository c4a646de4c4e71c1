//! The first start on a node: kubecertd observes until the first scheduled pass, so that the
//! installation of a package renews nothing unexpectedly.

use std::time::Duration;

use super::common::{ECDSA, Node, now};
use super::harness::*;
use kubecertd::model::days;
use kubecertd::state::PassMemory;

fn node() -> Node {
    let node = Node::fresh(ECDSA);
    node.age("apiserver", 10);
    node.age("etcd/server", 14);
    node.age("admin.conf", 1);
    node.age("front-proxy-client", -1);
    node
}

#[test]
fn first_start_renews_only_urgent_credentials() {
    let node = node();
    node.write(CONFIG, schedule(NEVER));
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass("first start on this node");
    assert_eq!(names(&last.renewed), ["admin.conf", "front-proxy-client"]);
    assert_eq!(names(last.waiting.iter().map(|(name, _)| name)), ["apiserver", "etcd/server"]);
    let next = daemon.status().unwrap().next_pass.unwrap();
    let reason = format!("kubecertd is new on this node and only checks until {next}");
    assert!(last.waiting.iter().all(|(_, why)| *why == reason), "{last:?}");
    let waiting: Vec<_> = all_credentials(&node)
        .into_iter()
        .filter(|name| name != "apiserver" && name != "etcd/server")
        .collect();
    assert_eq!(valid_longer_than(&node, 20), waiting);

    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    for expected in ["kubecertd runs since", &reason, "apiserver: expires in "] {
        assert!(shown.text.contains(expected), "{expected:?} is not in:\n{}", shown.text);
    }
    // A signal requests a pass; it does not end the observation.
    assert_eq!(names(&daemon.request_pass().renewed), [""; 0]);
}

#[test]
fn first_scheduled_pass_renews() {
    let node = node();
    let time = now().plus(Duration::from_secs(8));
    node.write(CONFIG, schedule(&at(time)));
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.wait_for_pass("first start").waiting.len(), 2, "{}", daemon.log());
    assert!(now() < time, "this machine is too slow for this test");
    let last = daemon.wait_for_pass("by schedule");
    assert!(last.began >= time);
    assert_eq!(
        (names(&last.renewed), last.waiting),
        (vec!["apiserver".to_owned(), "etcd/server".to_owned()], Vec::new())
    );
    assert_eq!(valid_longer_than(&node, 20), all_credentials(&node));
}

#[test]
fn restart_does_not_change_observation_period() {
    let node = node();
    let time = now().plus(Duration::from_secs(600));
    node.write(CONFIG, schedule(&at(time)));
    let mut daemon = Daemon::start(&node);
    let first = daemon.wait_for_pass("first start");
    assert_eq!(read_state(&node).observing_until, Some(time));
    assert_eq!(daemon.stop().code(), Some(0));

    // A later time of another schedule does not move the end of the observation.
    node.write(CONFIG, schedule(NEVER));
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let last = daemon.request_pass();
    assert_eq!((last.renewed.len(), &last.waiting), (0, &first.waiting));
    assert_eq!(read_state(&node).observing_until, Some(time));
    assert_eq!(daemon.stop().code(), Some(0));

    // It never lasts beyond the next time of the schedule.
    let sooner = now().plus(Duration::from_secs(300));
    node.write(CONFIG, schedule(&at(sooner)));
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert_eq!(daemon.request_pass().renewed.len(), 0);
    assert_eq!(read_state(&node).observing_until, Some(sooner));
}

/// The end that a clock set which was two years ahead, as an earlier daemon left it.
#[test]
fn first_scheduled_pass_ends_observation_whatever_its_end() {
    let node = node();
    let time = now().plus(Duration::from_secs(4));
    node.write(CONFIG, schedule(&at(time)));
    let far = Some(now().plus(days(730)));
    write_state(&node, &PassMemory { observing_until: far, ..successful_state(now()) });
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass("by schedule");
    assert_eq!((last.waiting, valid_longer_than(&node, 20)), (Vec::new(), all_credentials(&node)));
    assert_eq!(read_state(&node).observing_until, None);
}

#[test]
fn first_start_changes_nothing_on_fresh_node() {
    let node = Node::fresh(ECDSA);
    let before = node.snapshot();
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass("first start");
    assert_eq!((last.renewed.len(), last.failed.len(), last.waiting.len()), (0, 0, 0), "{last:?}");
    for (path, entry) in
        before.0.iter().filter(|(path, entry)| path.starts_with("etc") && entry.is_file())
    {
        assert_eq!(node.snapshot().0.get(path), Some(entry), "{}", path.display());
    }
}
