//! A wrong configuration costs nothing but itself: the last right one goes on, and that is said.

use super::common::{ECDSA, Node};
use super::ears::Ears;
use super::harness::*;

const WRONG: &str = "[schedule]\ncron = \"never ever\"\n";

fn is_refused(node: &Node, daemon: &Daemon<'_>) {
    daemon.until("the status says that it is refused", |status| {
        status
            .configuration
            .as_ref()
            .is_some_and(|why| why.contains("/etc/kubecertd/kubecertd.toml:2"))
    });
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    for said in [
        "kubecertd runs since",
        "The configuration is refused, and an earlier one is in force: ",
        "/etc/kubecertd/kubecertd.toml:2",
    ] {
        assert!(shown.text.contains(said), "{said:?} is not in:\n{}", shown.text);
    }
}

fn goes_on(daemon: &Daemon<'_>) {
    let before = daemon.ears.passes();
    until("more passes by schedule", || (daemon.ears.passes() >= before + 2).then_some(()));
    daemon.passed("by schedule");
}

#[test]
fn a_wrong_one_is_refused_at_a_reload_and_the_old_one_goes_on() {
    let node = known(Node::due(), EVERY_SECOND);
    node.age_all(60);
    let daemon = Daemon::start(&node);
    goes_on(&daemon);
    assert_eq!(daemon.status().unwrap().configuration, None);
    node.write(CONFIG, WRONG);
    daemon.signal("HUP");
    is_refused(&node, &daemon);
    assert!(
        daemon.log().contains("ERROR the configuration is refused, and the old one goes on: "),
        "{}",
        daemon.log()
    );
    goes_on(&daemon);
    until("it is ready again", || (daemon.ears.values("READY").len() == 2).then_some(()));

    node.write(CONFIG, format!("{}\n[renewal]\nrenew_before = \"90d\"\n", schedule(EVERY_SECOND)));
    daemon.signal("HUP");
    daemon.until("the right one is taken", |status| status.configuration.is_none());
    daemon.until("the right one is in force", |_| fresh(&node, 300) == all(&node));
    assert!(!node.run(&["status"]).text.contains("refused"));
}

#[test]
fn a_right_one_is_in_force_after_a_reload() {
    let node = known(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    let before = daemon.settled().next_pass;
    node.write(CONFIG, schedule(EVERY_SECOND));
    assert_eq!(daemon.status().unwrap().next_pass, before);
    daemon.signal("HUP");
    goes_on(&daemon);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    daemon
        .until("the other schedule", |status| status.next_pass == before && status.line != AT_WORK);
}

#[test]
fn with_a_wrong_one_at_the_start_the_last_right_one_is_in_force() {
    let node = known(Node::due(), EVERY_SECOND);
    node.age_all(60);
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    assert_eq!(daemon.stop().code(), Some(0));

    node.age_all(10);
    node.write(CONFIG, WRONG);
    let daemon = Daemon::start(&node);
    is_refused(&node, &daemon);
    assert!(
        daemon
            .log()
            .contains("ERROR the configuration is refused, and the last good one is in force: "),
        "{}",
        daemon.log()
    );
    goes_on(&daemon);
    node.remove(CONFIG);
    assert_eq!(fresh(&node, 300), all(&node));
}

/// The drop-in of a right configuration was wrong, and is taken away: what is right is never
/// refused.
#[test]
fn a_wrong_drop_in_is_as_bad_and_its_removal_as_good() {
    let node = known(Node::fresh(ECDSA), EVERY_SECOND);
    let drop_in = "etc/kubecertd/kubecertd.d/50-own.toml";
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    node.write(drop_in, "[renewal]\nvalidity = \"1 fortnight\"\n");
    daemon.signal("HUP");
    daemon.until("it is refused", |status| {
        status.configuration.as_ref().is_some_and(|why| why.contains("50-own.toml:2"))
    });
    daemon.stop();

    let daemon = Daemon::start(&node);
    daemon.until("it is refused", |status| {
        status.configuration.as_ref().is_some_and(|why| why.contains("50-own.toml:2"))
    });
    node.remove(drop_in);
    daemon.signal("HUP");
    daemon.until("it is right", |status| status.configuration.is_none());
}

#[test]
fn with_a_wrong_one_and_no_earlier_one_it_does_not_start() {
    let node = Node::due();
    node.write(CONFIG, WRONG);
    let mut daemon = Daemon::start_with(&node, Ears::new(), &[]);
    assert_eq!(daemon.ended().code(), Some(78));
    until("it says why", || daemon.log().contains("/etc/kubecertd/kubecertd.toml:2").then_some(()));
    assert_eq!(daemon.ears.values("READY"), [""; 0], "it was never ready");
    node.remove(CONFIG);
    assert_eq!(fresh(&node, 300), [""; 0]);
}
