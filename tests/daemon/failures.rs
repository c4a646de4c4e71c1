//! A failed pass is retried with exponential backoff, and the daemon keeps running.

use std::fs;

use super::common::{Node, STATE};
use super::harness::*;

/// Returns the seconds from the last pass to the next try.
fn retry_delay(daemon: &Daemon<'_>) -> i64 {
    let status = daemon.wait_until_idle();
    status.next_try.unwrap().seconds_since(status.last_pass.unwrap().began)
}

#[test]
fn impossible_pass_is_retried_with_backoff() {
    let node = with_history(Node::due(), NEVER);
    let lock = node.path(STATE).join("lock");
    fs::create_dir(&lock).unwrap();
    let mut daemon = Daemon::start(&node);
    let last = daemon.request_pass();
    assert!(
        last.trouble.as_ref().is_some_and(|trouble| trouble.contains("/var/lib/kubecertd/lock")),
        "{last:?}"
    );
    assert!((47..=74).contains(&retry_delay(&daemon)), "about a minute: {}", retry_delay(&daemon));
    let line = daemon.status().unwrap().line;
    let next = daemon.status().unwrap().next_try.unwrap();
    assert!(
        line.ends_with(&format!("could not be made; next pass {next}")),
        "the retry is earlier than the schedule: {line}"
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
        daemon.log().contains("ERROR pass: ") && daemon.log().contains(": it is retried in "),
        "{}",
        daemon.log()
    );

    daemon.request_pass();
    assert!(
        (95..=146).contains(&retry_delay(&daemon)),
        "about two minutes: {}",
        retry_delay(&daemon)
    );
    assert_eq!(
        daemon.log().matches("ERROR pass: ").count(),
        1,
        "the same error is logged once:\n{}",
        daemon.log()
    );
    assert!(daemon.is_running());
    assert_eq!(valid_longer_than(&node, 300), [""; 0]);

    fs::remove_dir(&lock).unwrap();
    assert_eq!(names(&daemon.request_pass().renewed), all_credentials(&node));
    assert_eq!(daemon.status().unwrap().next_try, None);
    assert_eq!(node.run(&["status"]).code, 0);

    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    daemon.request_pass();
    assert!(
        (47..=74).contains(&retry_delay(&daemon)),
        "a success resets the backoff: {}",
        retry_delay(&daemon)
    );
}

/// One credential can't be written. The others are renewed, and this one is retried.
#[test]
fn failed_credential_is_retried_and_others_are_renewed() {
    let node = with_history(Node::due(), NEVER);
    // The name is too long with the suffix of a staged file, but not without it.
    let long = "k".repeat(245);
    for end in ["crt", "key"] {
        node.write(
            &format!("etc/{long}.{end}"),
            node.read(&format!("etc/kubernetes/pki/front-proxy-client.{end}")),
        );
    }
    let own = format!(
        "[[credential]]\nname = \"own\"\nca = \"front-proxy-ca\"\ncertificate = \
         \"/etc/{long}.crt\"\nkey = \"/etc/{long}.key\"\n"
    );
    node.write(CONFIG, schedule(NEVER) + &own);
    let mut daemon = Daemon::start(&node);
    let last = daemon.request_pass();
    assert_eq!(names(last.failed.iter().map(|(name, _)| name)), ["own"], "{last:?}");
    let others: Vec<_> = all_credentials(&node).into_iter().filter(|name| name != "own").collect();
    assert_eq!(names(&last.renewed), others);
    assert!((47..=74).contains(&retry_delay(&daemon)), "{}", retry_delay(&daemon));
    assert!(daemon.is_running());
    let state = read_state(&node);
    assert!(state.unfinished, "{state:?}");
}

/// A retry can't repair a damaged file. The operator's repair is seen as a change of the file.
#[test]
fn failure_that_needs_operator_is_not_retried() {
    let node = with_history(Node::due(), NEVER);
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    let daemon = Daemon::start(&node);
    let last = daemon.request_pass();
    assert_eq!(names(last.failed.iter().map(|(name, _)| name)), ["super-admin.conf"]);
    assert_eq!(daemon.status().unwrap().next_try, None);
    assert_eq!(node.run(&["status"]).code, 3);
}

/// A state file that can't be written is reported, and credentials are renewed all the same.
#[test]
fn unwritable_state_is_reported_and_renewal_works() {
    let node = with_history(Node::due(), NEVER);
    node.remove("var/lib/kubecertd/state.json");
    fs::create_dir_all(node.path("var/lib/kubecertd/state.json/in-the-way")).unwrap();
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert!(daemon.log().contains("WARN /var/lib/kubecertd/state.json: "), "{}", daemon.log());
    node.age("apiserver", 1);
    assert_eq!(names(&daemon.request_pass().renewed), ["apiserver"]);
    assert!(daemon.log().contains("the state of this pass was not saved"), "{}", daemon.log());
}
