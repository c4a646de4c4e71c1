//! `kubecertd status` is true whether or not the daemon lives.

use super::common::{ECDSA, Node};
use super::harness::*;

#[test]
fn it_is_known_that_the_daemon_never_ran() {
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
    assert_eq!(before.differences(&node.snapshot()), [""; 0], "looking writes nothing");
}

#[test]
fn while_all_is_well_it_says_what_was_and_what_will_be_done() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    daemon.pass();
    let status = daemon.settled();
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 0, "{}", shown.text);
    assert!(
        shown.text.starts_with("All is well on ")
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
fn after_it_was_killed_that_is_said_and_what_needs_attention_is_from_the_files() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.pass();
    assert_eq!(node.run(&["status"]).code, 0);
    daemon.kill();
    assert!(node.path(STATUS).exists(), "it could not tidy up");
    node.age("apiserver", -1);
    node.age("admin.conf", 5);
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    assert!(
        shown.text.contains("\n\nkubecertd does not run; it last said something at "),
        "{}",
        shown.text
    );
    let table = shown.text.lines().skip_while(|line| !line.starts_with("CREDENTIAL ")).nth(1);
    assert!(
        table.is_some_and(|first| first.starts_with("apiserver ")),
        "the one that ends first comes first: {}",
        shown.text
    );
    for said in ["\nNeeds attention\n", "  apiserver: expired ", "  admin.conf: expires in "] {
        assert!(shown.text.contains(said), "{said:?} is not in:\n{}", shown.text);
    }
    assert!(!shown.text.contains("Next pass"), "nobody will make it:\n{}", shown.text);
}

#[test]
fn a_daemon_that_ended_does_not_run_though_all_is_well() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    assert_eq!(daemon.stop().code(), Some(0));
    let shown = node.run(&["status"]);
    assert!(shown.code == 3 && shown.text.contains("\n\nkubecertd does not run"), "{}", shown.text);
}

/// The process id in the file may be another process's by now: what counts is the lock.
#[test]
fn a_status_file_alone_proves_nothing() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let mut daemon = Daemon::start(&node);
    let pid = daemon.settled().pid;
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
fn a_wrong_configuration_without_a_daemon_is_said_as_ever() {
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
