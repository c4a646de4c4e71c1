//! An invalid configuration is refused and reported; the last good one stays in force.

use super::common::{ECDSA, Node};
use super::harness::*;
use super::notify_socket::NotifySocket;

const WRONG: &str = "[schedule]\ncron = \"never ever\"\n";

fn assert_refused(node: &Node, daemon: &Daemon<'_>) {
    daemon.wait_for_status("the status shows the refused configuration", |status| {
        status
            .configuration
            .as_ref()
            .is_some_and(|why| why.contains("/etc/kubecertd/kubecertd.toml:2"))
    });
    let shown = node.run(&["status"]);
    assert_eq!(shown.code, 3, "{}", shown.text);
    for expected in [
        "kubecertd runs since",
        "The configuration is refused, and an earlier one is in force: ",
        "/etc/kubecertd/kubecertd.toml:2",
    ] {
        assert!(shown.text.contains(expected), "{expected:?} is not in:\n{}", shown.text);
    }
}

fn wait_for_scheduled_passes(daemon: &Daemon<'_>) {
    let before = daemon.notify_socket.completed_passes();
    wait_for("more passes by schedule", || {
        (daemon.notify_socket.completed_passes() >= before + 2).then_some(())
    });
    daemon.wait_for_pass("by schedule");
}

#[test]
fn invalid_configuration_at_reload_keeps_old_one() {
    let node = with_history(Node::due(), EVERY_SECOND);
    node.age_all(60);
    let daemon = Daemon::start(&node);
    wait_for_scheduled_passes(&daemon);
    assert_eq!(daemon.status().unwrap().configuration, None);
    node.write(CONFIG, WRONG);
    daemon.signal("HUP");
    assert_refused(&node, &daemon);
    assert!(
        daemon.log().contains("ERROR the configuration is refused, and the old one stays: "),
        "{}",
        daemon.log()
    );
    wait_for_scheduled_passes(&daemon);
    wait_for("it is ready again", || {
        (daemon.notify_socket.values("READY").len() == 2).then_some(())
    });

    node.write(CONFIG, format!("{}\n[renewal]\nrenew_before = \"90d\"\n", schedule(EVERY_SECOND)));
    daemon.signal("HUP");
    daemon.wait_for_status("the valid configuration is accepted", |status| {
        status.configuration.is_none()
    });
    daemon.wait_for_status("the valid configuration is in force", |_| {
        valid_longer_than(&node, 300) == all_credentials(&node)
    });
    assert!(!node.run(&["status"]).text.contains("refused"));
}

#[test]
fn valid_configuration_is_in_force_after_reload() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let daemon = Daemon::start(&node);
    let before = daemon.wait_until_idle().next_pass;
    node.write(CONFIG, schedule(EVERY_SECOND));
    assert_eq!(daemon.status().unwrap().next_pass, before);
    daemon.signal("HUP");
    wait_for_scheduled_passes(&daemon);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    daemon.wait_for_status("the other schedule", |status| {
        status.next_pass == before && status.line != PASS_IN_PROGRESS
    });
}

#[test]
fn invalid_configuration_at_start_falls_back_to_last_good() {
    let node = with_history(Node::due(), EVERY_SECOND);
    node.age_all(60);
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert_eq!(daemon.stop().code(), Some(0));

    node.age_all(10);
    node.write(CONFIG, WRONG);
    let daemon = Daemon::start(&node);
    assert_refused(&node, &daemon);
    assert!(
        daemon
            .log()
            .contains("ERROR the configuration is refused, and the last valid one is in force: "),
        "{}",
        daemon.log()
    );
    wait_for_scheduled_passes(&daemon);
    node.remove(CONFIG);
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}

/// A valid configuration with an invalid drop-in is refused. It is accepted without the drop-in.
#[test]
fn invalid_drop_in_is_refused_until_removed() {
    let node = with_history(Node::fresh(ECDSA), EVERY_SECOND);
    let drop_in = "etc/kubecertd/kubecertd.d/50-own.toml";
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    node.write(drop_in, "[renewal]\nvalidity = \"1 fortnight\"\n");
    daemon.signal("HUP");
    daemon.wait_for_status("the configuration is refused", |status| {
        status.configuration.as_ref().is_some_and(|why| why.contains("50-own.toml:2"))
    });
    daemon.stop();

    let daemon = Daemon::start(&node);
    daemon.wait_for_status("the configuration is refused", |status| {
        status.configuration.as_ref().is_some_and(|why| why.contains("50-own.toml:2"))
    });
    node.remove(drop_in);
    daemon.signal("HUP");
    daemon.wait_for_status("the configuration is valid", |status| status.configuration.is_none());
}

#[test]
fn invalid_configuration_without_last_good_prevents_start() {
    let node = Node::due();
    node.write(CONFIG, WRONG);
    let mut daemon = Daemon::start_with(&node, NotifySocket::new(), &[]);
    assert_eq!(daemon.wait_for_exit().code(), Some(78));
    wait_for("it logs the reason", || {
        daemon.log().contains("/etc/kubecertd/kubecertd.toml:2").then_some(())
    });
    assert_eq!(daemon.notify_socket.values("READY"), [""; 0], "it was never ready");
    node.remove(CONFIG);
    assert_eq!(valid_longer_than(&node, 300), [""; 0]);
}
