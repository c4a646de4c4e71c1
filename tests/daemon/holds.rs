//! Reasons to wait: what has time waits, what has none does not, and everybody is told.

use std::time::{Duration, SystemTime};

use super::common::{ECDSA, Node, Run, now};
use super::harness::*;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-scheduler.yaml";

fn hold(node: &Node, until: &str) -> Run {
    node.run(&["hold", "--until", until, "--reason", "upgrade on Sunday"])
}

/// Everything is due, but one is urgent.
fn node() -> Node {
    let node = known(Node::due(), NEVER);
    node.age("admin.conf", 1);
    node
}

fn all_but_the_urgent(node: &Node) -> Vec<String> {
    all(node).into_iter().filter(|name| name != "admin.conf").collect()
}

#[test]
fn what_is_due_waits_for_a_hold_what_is_urgent_goes_ahead_and_the_end_frees_it() {
    let node = node();
    let daemon = Daemon::start(&node);
    daemon.settled();
    let run = hold(&node, "2100-01-01");
    assert_eq!(run.code, 0, "{}", run.text);
    let last = daemon.pass();
    assert_eq!(names(&last.renewed), ["admin.conf"]);
    assert_eq!(names(last.waiting.iter().map(|(name, _)| name)), all_but_the_urgent(&node));
    let reason =
        "an operator asked for it (kubecertd hold), until 2100-01-01T00:00:00Z: upgrade on Sunday";
    assert!(last.waiting.iter().all(|(_, why)| why == reason), "{last:?}");
    assert_eq!(last.holds, [reason]);
    assert_eq!(fresh(&node, 300), ["admin.conf"]);
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 3 && shown.text.contains(&format!("Held, unless it is urgent\n  {reason}\n")),
        "{}",
        shown.text
    );
    assert!(shown.text.contains("waiting   apiserver: "), "{}", shown.text);

    assert_eq!(node.run(&["hold", "--end"]).code, 0);
    assert!(!node.run(&["status"]).text.contains("Held, unless"), "it is no longer so");
    assert_eq!(names(&daemon.pass().renewed), all_but_the_urgent(&node));
    assert_eq!(fresh(&node, 300), all(&node));
    assert_eq!(node.run(&["status"]).code, 0);
}

/// Nobody has to ask: the daemon knows when the hold ends.
#[test]
fn a_hold_ends_by_itself() {
    let node = node();
    let end = now().plus(Duration::from_secs(6));
    assert_eq!(hold(&node, &end.to_string()).code, 0);
    let daemon = Daemon::start(&node);
    assert_eq!(names(&daemon.pass().renewed), ["admin.conf"]);
    assert!(
        daemon
            .status()
            .unwrap()
            .next_try
            .is_some_and(|next| next >= end && next.seconds_since(end) < 5)
    );
    let last = daemon.passed("tried again");
    assert!(last.began >= end);
    assert_eq!(names(&last.renewed), all_but_the_urgent(&node));
}

#[test]
fn a_hold_that_makes_no_sense_is_refused() {
    let node = node();
    let past = hold(&node, "2026-11-01");
    assert!(past.code == 2 && past.text.contains("has passed already"), "{}", past.text);
    assert_eq!(hold(&node, &now().to_string()).code, 2);
    for wrong in [
        &["hold"][..],
        &["hold", "--until", "2100-01-01"],
        &["hold", "--until", "soon", "--reason", "x"],
        &["hold", "--end", "--reason", "x"],
    ] {
        assert_eq!(node.run(wrong).code, 2, "{wrong:?}");
    }
    assert!(!node.path("var/lib/kubecertd/hold.json").exists());
    assert_eq!(node.run(&["hold", "--end"]).code, 0, "to end what is not there is fine");
}

#[test]
fn the_command_waits_too_and_force_does_not() {
    let node = node();
    assert_eq!(hold(&node, "2100-01-01").code, 0);
    let held = node.run(&["renew"]);
    assert!(
        held.code == 5 && held.text.contains("upgrade on Sunday"),
        "{}: {}",
        held.code,
        held.text
    );
    assert_eq!(fresh(&node, 300), ["admin.conf"]);
    assert_eq!(node.run(&["renew"]).code, 5, "still");
    assert_eq!(node.run(&["renew", "--force", "apiserver"]).code, 0);
    assert_eq!(fresh(&node, 300), ["admin.conf", "apiserver"]);
    assert_eq!(node.run(&["renew", "--force"]).code, 0);
    assert_eq!(fresh(&node, 300), all(&node));
}

#[test]
fn a_hold_ends_with_its_time_for_the_command_too() {
    let node = node();
    let end = now().plus(Duration::from_secs(3));
    assert_eq!(hold(&node, &end.to_string()).code, 0);
    until("the hold has ended", || (now() >= end).then_some(()));
    assert_eq!(node.run(&["renew"]).code, 0);
}

#[test]
fn a_manifest_that_was_changed_a_moment_ago_is_a_reason_to_wait() {
    let node = node();
    let changed = |ago: u64| {
        let file = std::fs::File::options().append(true).open(node.path(MANIFEST)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
    };
    changed(13 * 60);
    let daemon = Daemon::start(&node);
    let last = daemon.pass();
    assert_eq!(names(&last.renewed), ["admin.conf"]);
    assert!(
        last.holds.len() == 1 && last.holds[0].starts_with(&format!("/{MANIFEST} was changed at ")),
        "{last:?}"
    );
    let retry = daemon.status().unwrap().next_try.unwrap().seconds_since(now());
    assert!((30..=125).contains(&retry), "it settles in two minutes: {retry}");
    assert_eq!(node.run(&["renew"]).code, 5);

    changed(15 * 60 + 1);
    assert_eq!(names(&daemon.pass().renewed), all_but_the_urgent(&node));
}

#[test]
fn nothing_waits_on_a_node_where_nothing_is_due() {
    let node = known(Node::fresh(ECDSA), NEVER);
    assert_eq!(hold(&node, "2100-01-01").code, 0);
    assert_eq!(node.run(&["renew"]).code, 0);
    let daemon = Daemon::start(&node);
    let last = daemon.pass();
    assert_eq!((last.waiting.len(), last.holds.len()), (0, 1));
    assert_eq!(daemon.status().unwrap().next_try, None, "there is nothing to try again");
}
