//! A pass that fails is tried again, later and later, and the daemon lives.

use std::fs;

use super::common::{Node, STATE};
use super::harness::*;

/// In how many seconds the next try is.
fn wait(daemon: &Daemon<'_>) -> i64 {
    let status = daemon.settled();
    status.next_try.unwrap().seconds_since(status.last_pass.unwrap().began)
}

#[test]
fn a_pass_that_can_not_be_made_is_tried_again_ever_later_and_the_daemon_lives() {
    let node = known(Node::due(), NEVER);
    let lock = node.path(STATE).join("lock");
    fs::create_dir(&lock).unwrap();
    let mut daemon = Daemon::start(&node);
    let last = daemon.pass();
    assert!(
        last.trouble.as_ref().is_some_and(|trouble| trouble.contains("/var/lib/kubecertd/lock")),
        "{last:?}"
    );
    assert!((47..=74).contains(&wait(&daemon)), "about a minute: {}", wait(&daemon));
    let line = daemon.status().unwrap().line;
    let next = daemon.status().unwrap().next_try.unwrap();
    assert!(
        line.ends_with(&format!("could not be made; next pass {next}")),
        "the retry comes before the schedule: {line}"
    );
    let shown = node.run(&["status"]);
    assert!(
        shown.code == 3
            && shown.text.contains("\nNext try:   ")
            && shown.text.contains("/var/lib/kubecertd/lock"),
        "{}",
        shown.text
    );
    assert!(
        daemon.log().contains("ERROR pass: ") && daemon.log().contains(": it is tried again in "),
        "{}",
        daemon.log()
    );

    daemon.pass();
    assert!((95..=146).contains(&wait(&daemon)), "about two minutes: {}", wait(&daemon));
    assert_eq!(
        daemon.log().matches("ERROR pass: ").count(),
        1,
        "the same trouble is said once:\n{}",
        daemon.log()
    );
    assert!(daemon.runs());
    assert_eq!(fresh(&node, 300), [""; 0]);

    fs::remove_dir(&lock).unwrap();
    assert_eq!(names(&daemon.pass().renewed), all(&node));
    assert_eq!(daemon.status().unwrap().next_try, None);
    assert_eq!(node.run(&["status"]).code, 0);

    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    daemon.pass();
    assert!(
        (47..=74).contains(&wait(&daemon)),
        "after a success it begins anew: {}",
        wait(&daemon)
    );
}

/// One credential can't be written; the others are renewed, and that one is tried again.
#[test]
fn a_credential_that_fails_is_tried_again_and_costs_only_itself() {
    let node = known(Node::due(), NEVER);
    // A name that is too long with the ending of a staged file, but not without.
    let long = "k".repeat(245);
    for end in ["crt", "key"] {
        node.write(
            &format!("etc/{long}.{end}"),
            node.read(&format!("etc/kubernetes/pki/front-proxy-client.{end}")),
        );
    }
    let own = format!(
        "[[credential]]\nname = \"own\"\nauthority = \"front-proxy-ca\"\ncertificate = \
         \"/etc/{long}.crt\"\nkey = \"/etc/{long}.key\"\n"
    );
    node.write(CONFIG, schedule(NEVER) + &own);
    let mut daemon = Daemon::start(&node);
    let last = daemon.pass();
    assert_eq!(names(last.failed.iter().map(|(name, _)| name)), ["own"], "{last:?}");
    let others: Vec<_> = all(&node).into_iter().filter(|name| name != "own").collect();
    assert_eq!(names(&last.renewed), others);
    assert!((47..=74).contains(&wait(&daemon)), "{}", wait(&daemon));
    assert!(daemon.runs());
    let state = remembered(&node);
    assert!(state.unfinished, "{state:?}");
}

/// No time mends what needs an operator: the change that does is seen, so trying again would only
/// be noise.
#[test]
fn what_needs_an_operator_is_not_tried_again() {
    let node = known(Node::due(), NEVER);
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    let daemon = Daemon::start(&node);
    let last = daemon.pass();
    assert_eq!(names(last.failed.iter().map(|(name, _)| name)), ["scheduler.conf"]);
    assert_eq!(daemon.status().unwrap().next_try, None);
    assert_eq!(node.run(&["status"]).code, 3);
}

/// The memory of the node is on a disk that can't be written: it costs the memory and not the
/// renewal.
#[test]
fn what_can_not_be_remembered_is_said() {
    let node = known(Node::due(), NEVER);
    node.remove("var/lib/kubecertd/state.json");
    fs::create_dir_all(node.path("var/lib/kubecertd/state.json/in-the-way")).unwrap();
    let daemon = Daemon::start(&node);
    daemon.settled();
    assert!(daemon.log().contains("WARN /var/lib/kubecertd/state.json: "), "{}", daemon.log());
    node.age("apiserver", 1);
    assert_eq!(names(&daemon.pass().renewed), ["apiserver"]);
    assert!(
        daemon.log().contains("what this pass should have remembered is forgotten"),
        "{}",
        daemon.log()
    );
}
