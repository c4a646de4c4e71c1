//! `kubecertd status` is correct with and without a running daemon.

use super::common::{ECDSA, Node};
use super::harness::*;

#[test]
fn status_reports_daemon_that_never_ran() {
    let node = Node::fresh(ECDSA);
    let before = node.snapshot();
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 3
            && shown.text.contains(
                "\n\nkubecertd does not run, and has not run since the node was booted.\n"
            ),
        "{}",
        shown.text
    );
    assert_eq!(before.differences(&node.snapshot()), [""; 0], "status writes nothing");
}

#[test]
fn status_of_healthy_node_shows_last_and_next_pass() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    let status = daemon.wait_until_idle();
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 0, "{}", shown.text);
    assert!(
        shown.text.starts_with("No problems on ")
            && shown.text.contains("\n\nkubecertd runs since ")
            && shown.text.contains(&format!("(process {}): ", daemon.pid())),
        "{}",
        shown.text
    );
    assert!(shown.text.contains(&status.line), "{}", shown.text);
    assert!(
        shown.text.contains("(asked for by a signal)") && shown.text.contains("\nNext pass:  "),
        "{}",
        shown.text
    );
    assert!(
        !shown.text.contains("Needs attention") && !shown.text.contains("Next try"),
        "{}",
        shown.text
    );
}

#[test]
fn status_after_kill_is_read_from_credential_files() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(node.run(&["status"]).code, 0);
    daemon.kill();
    assert!(node.path(STATUS).exists(), "a killed daemon can't remove it");
    node.age("apiserver", -1);
    node.age("admin.conf", 5);
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    assert!(
        shown.text.contains("\n\nkubecertd does not run; its last status is of "),
        "{}",
        shown.text
    );
    let table = shown.text.lines().skip_while(|line| !line.starts_with("CREDENTIAL ")).nth(1);
    assert!(
        table.is_some_and(|first| first.starts_with("apiserver ")),
        "the first to expire is listed first: {}",
        shown.text
    );
    for expected in ["\nNeeds attention\n", "  apiserver: expired ", "  admin.conf: expires in "] {
        assert!(shown.text.contains(expected), "{expected:?} is not in:\n{}", shown.text);
    }
    assert!(!shown.text.contains("Next pass"), "no daemon makes another pass:\n{}", shown.text);
}

#[test]
fn status_reports_stopped_daemon_on_healthy_node() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert_eq!(daemon.stop().code(), Some(0));
    let shown = node.run(&["status"]);
    assert!(shown.code == 3 && shown.text.contains("\n\nkubecertd does not run"), "{}", shown.text);
}

/// The process id in the file may belong to another process by now. The lock decides.
#[test]
fn status_file_without_lock_proves_nothing() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    let pid = daemon.wait_until_idle().pid;
    daemon.kill();
    node.edit(STATUS, &format!("\"pid\": {pid}"), &format!("\"pid\": {}", std::process::id()));
    assert!(node.run(&["status"]).text.contains("\n\nkubecertd does not run"));
    node.write(STATUS, "{ torn");
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 3 && shown.text.contains("/run/kubecertd/status.json: "),
        "{}",
        shown.text
    );
}

#[test]
fn status_reports_invalid_configuration_without_daemon() {
    let node = Node::fresh(ECDSA);
    node.write(CONFIG, "[schedule]\ncron = 7\n");
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 78 && shown.text.contains("/etc/kubecertd/kubecertd.toml:2"),
        "{}: {}",
        shown.code,
        shown.text
    );
}
