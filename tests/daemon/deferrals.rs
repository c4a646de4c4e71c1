//! Reasons to wait: due credentials are deferred, urgent ones are not, and the reason is shown.

use std::time::{Duration, SystemTime};

use super::common::{ECDSA, Node, Run, now};
use super::harness::*;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-scheduler.yaml";

fn hold(node: &Node, until: &str) -> Run {
    node.run(&["hold", "--until", until, "--reason", "upgrade on Sunday"])
}

/// Returns a node on which every credential is due and one is urgent.
fn node_with_one_urgent() -> Node {
    let node = with_history(Node::due(), NEVER);
    node.age("admin.conf", 1);
    node
}

fn all_but_urgent(node: &Node) -> Vec<String> {
    all_credentials(node).into_iter().filter(|name| name != "admin.conf").collect()
}

#[test]
fn hold_defers_due_but_not_urgent_credentials() {
    let node = node_with_one_urgent();
    let run = hold(&node, "2100-01-01");
    assert_eq!(run.code, 0, "{}", run.text);
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass(URGENT);
    assert_eq!(names(&last.renewed), ["admin.conf"]);
    assert_eq!(names(last.waiting.iter().map(|(name, _)| name)), all_but_urgent(&node));
    let reason = "hold (operator) until 2100-01-01T00:00:00Z: upgrade on Sunday";
    assert!(last.waiting.iter().all(|(_, why)| why == reason), "{last:?}");
    assert_eq!(last.holds, [reason]);
    assert_eq!(valid_longer_than(&node, 300), ["admin.conf"]);
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 3
            && shown.text.contains(&format!(
                "Hold (urgent renewals are made)\n  \
            {reason}\n"
            )),
        "{}",
        shown.text
    );
    assert!(shown.text.contains("deferred  apiserver: "), "{}", shown.text);

    assert_eq!(node.run(&["hold", "--end"]).code, 0);
    assert!(!node.run(&["status"]).text.contains("Hold ("), "the hold has been removed");
    assert_eq!(names(&daemon.request_pass().renewed), all_but_urgent(&node));
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    assert_eq!(node.run(&["status"]).code, 0);
}

/// The daemon makes a pass by itself when the hold expires.
#[test]
fn expired_hold_makes_pass() {
    let node = node_with_one_urgent();
    let end = now().plus(Duration::from_secs(6));
    assert_eq!(hold(&node, &end.to_string()).code, 0);
    let daemon = Daemon::start(&node);
    assert_eq!(names(&daemon.wait_for_pass(URGENT).renewed), ["admin.conf"]);
    assert!(
        daemon
            .status()
            .unwrap()
            .next_try
            .is_some_and(|next| next >= end && next.seconds_since(end) < 5)
    );
    let last = daemon.wait_for_pass("tried again");
    assert!(last.began >= end);
    assert_eq!(names(&last.renewed), all_but_urgent(&node));
}

#[test]
fn invalid_hold_is_refused() {
    let node = node_with_one_urgent();
    let past = hold(&node, "2026-11-01");
    assert!(past.code == 2 && past.text.contains("this time has passed"), "{}", past.text);
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
    assert_eq!(node.run(&["hold", "--end"]).code, 0, "removing no hold succeeds");
}

#[test]
fn renew_command_respects_hold_without_force() {
    let node = node_with_one_urgent();
    assert_eq!(hold(&node, "2100-01-01").code, 0);
    let held = node.run(&["renew"]);
    assert!(
        held.code == 5 && held.text.contains("upgrade on Sunday"),
        "{}: {}",
        held.code,
        held.text
    );
    assert_eq!(valid_longer_than(&node, 300), ["admin.conf"]);
    assert_eq!(node.run(&["renew"]).code, 5, "the hold stays in force");
    assert_eq!(node.run(&["renew", "--force", "apiserver"]).code, 0);
    assert_eq!(valid_longer_than(&node, 300), ["admin.conf", "apiserver"]);
    assert_eq!(node.run(&["renew", "--force"]).code, 0);
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}

#[test]
fn expired_hold_does_not_defer_renew_command() {
    let node = node_with_one_urgent();
    let end = now().plus(Duration::from_secs(3));
    assert_eq!(hold(&node, &end.to_string()).code, 0);
    wait_for("the hold expires", || (now() >= end).then_some(()));
    assert_eq!(node.run(&["renew"]).code, 0);
}

#[test]
fn recently_changed_manifest_defers_renewal() {
    let node = node_with_one_urgent();
    let changed = |ago: u64| {
        let file = std::fs::File::options().append(true).open(node.path(MANIFEST)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
    };
    changed(13 * 60);
    let daemon = Daemon::start(&node);
    let last = daemon.wait_for_pass(URGENT);
    assert_eq!(names(&last.renewed), ["admin.conf"]);
    assert!(
        last.holds.len() == 1 && last.holds[0].starts_with(&format!("/{MANIFEST} was changed at ")),
        "{last:?}"
    );
    let retry = daemon.status().unwrap().next_try.unwrap().seconds_since(now());
    assert!(
        (30..=125).contains(&retry),
        "the retry is when the manifest has settled, in two minutes: {retry}"
    );
    assert_eq!(node.run(&["renew"]).code, 5);

    changed(15 * 60 + 1);
    assert_eq!(names(&daemon.request_pass().renewed), all_but_urgent(&node));
}

#[test]
fn hold_defers_nothing_on_fresh_node() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    assert_eq!(hold(&node, "2100-01-01").code, 0);
    assert_eq!(node.run(&["renew"]).code, 0);
    let daemon = Daemon::start(&node);
    let last = daemon.request_pass();
    assert_eq!((last.waiting.len(), last.holds.len()), (0, 1));
    assert_eq!(daemon.status().unwrap().next_try, None, "there is nothing to retry");
}
