//! The first start on a node: it only looks, so that nobody is surprised by what a package did when
//! it was installed.

use std::time::Duration;

use super::common::{ECDSA, Node, now};
use super::harness::*;

fn node() -> Node {
    let node = Node::fresh(ECDSA);
    node.age("apiserver", 10);
    node.age("etcd/server", 14);
    node.age("admin.conf", 1);
    node.age("front-proxy-client", -1);
    node
}

#[test]
fn what_has_time_waits_for_the_first_scheduled_pass_and_what_has_none_does_not() {
    let node = node();
    node.write(CONFIG, schedule(NEVER));
    let daemon = Daemon::start(&node);
    let last = daemon.passed("first start on this node");
    assert_eq!(names(&last.renewed), ["admin.conf", "front-proxy-client"]);
    assert_eq!(names(last.waiting.iter().map(|(name, _)| name)), ["apiserver", "etcd/server"]);
    let next = daemon.status().unwrap().next_pass.unwrap();
    let reason = format!("kubecertd is new on this node and only looks until {next}");
    assert!(last.waiting.iter().all(|(_, why)| *why == reason), "{last:?}");
    let waiting: Vec<_> = all(&node)
        .into_iter()
        .filter(|name| name != "apiserver" && name != "etcd/server")
        .collect();
    assert_eq!(fresh(&node, 20), waiting);

    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    for said in ["kubecertd runs since", &reason, "apiserver: expires in "] {
        assert!(shown.text.contains(said), "{said:?} is not in:\n{}", shown.text);
    }
    // A signal is no licence: it says when to look, not what to do.
    assert_eq!(names(&daemon.pass().renewed), [""; 0]);
}

#[test]
fn at_the_first_scheduled_time_it_renews() {
    let node = node();
    let time = now().plus(Duration::from_secs(8));
    node.write(CONFIG, schedule(&at(time)));
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.passed("first start").waiting.len(), 2, "{}", daemon.log());
    assert!(now() < time, "this machine is too slow for this test");
    let last = daemon.passed("by schedule");
    assert!(last.began >= time);
    assert_eq!(
        (names(&last.renewed), last.waiting),
        (vec!["apiserver".to_owned(), "etcd/server".to_owned()], Vec::new())
    );
    assert_eq!(fresh(&node, 20), all(&node));
}

#[test]
fn a_restart_neither_ends_nor_prolongs_the_looking() {
    let node = node();
    let time = now().plus(Duration::from_secs(600));
    node.write(CONFIG, schedule(&at(time)));
    let mut daemon = Daemon::start(&node);
    let first = daemon.passed("first start");
    assert_eq!(remembered(&node).observing_until, Some(time));
    assert_eq!(daemon.stop().code(), Some(0));

    // Another schedule does not move what was promised.
    node.write(CONFIG, schedule(NEVER));
    let daemon = Daemon::start(&node);
    daemon.settled();
    let last = daemon.pass();
    assert_eq!((last.renewed.len(), &last.waiting), (0, &first.waiting));
    assert_eq!(remembered(&node).observing_until, Some(time));
}

#[test]
fn a_node_with_nothing_due_is_only_looked_at() {
    let node = Node::fresh(ECDSA);
    let before = node.snapshot();
    let daemon = Daemon::start(&node);
    let last = daemon.passed("first start");
    assert_eq!((last.renewed.len(), last.failed.len(), last.waiting.len()), (0, 0, 0), "{last:?}");
    for (path, entry) in
        before.0.iter().filter(|(path, entry)| path.starts_with("etc") && entry.is_file())
    {
        assert_eq!(node.snapshot().0.get(path), Some(entry), "{}", path.display());
    }
}
