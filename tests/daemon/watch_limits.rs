//! The system's limits of inotify: the daemon works without a watch, and has it again when the
//! limit allows it.

use std::process::Command;

use super::common::requirements::{INOTIFY_LIMITS, ROOT, are_met};
use super::common::{ECDSA, Node};
use super::harness::*;
use super::notify_socket::NotifySocket;

/// Sets the limit of inotify instances of a user namespace, then runs a program in it.
const LIMITED: &str = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
/// Raises it.
const RAISE: &str = "echo 64 >/proc/sys/user/max_inotify_instances";

const UNWATCHED: &str = "files are not watched";
const RESTORED: &str = "all files are watched again";

/// Starts a daemon that can have no inotify instance. `None` where that can't be arranged.
fn start_limited(node: &Node) -> Option<Daemon<'_>> {
    if !can_watch() || !are_met(&[ROOT, "unshare", "nsenter", INOTIFY_LIMITS]) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", LIMITED, env!("CARGO_BIN_EXE_kubecertd")]);
    let daemon = Daemon::start_command(node, NotifySocket::new(), &[], command);
    daemon.wait_until_idle();
    wait_for("the note", || daemon.log().contains(UNWATCHED).then_some(()));
    Some(daemon)
}

fn raise_limit(daemon: &Daemon<'_>) {
    let pid = daemon.pid().to_string();
    let mut raise = Command::new("nsenter");
    raise.args(["--target", &pid, "--user", "sh", "-c", RAISE]);
    assert!(raise.status().unwrap().success());
}

#[test]
fn watch_returns_by_itself_when_limit_allows_it() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let Some(daemon) = start_limited(&node) else { return };
    raise_limit(&daemon);
    wait_for("the watch", || daemon.log().contains(RESTORED).then_some(()));
    let log = daemon.log();
    assert_eq!((log.matches(UNWATCHED).count(), log.matches(RESTORED).count()), (1, 1), "{log}");
    node.write("etc/kubernetes/pki/apiserver.key", "other");
    daemon.wait_for_pass("/etc/kubernetes/pki/apiserver.key changed");
}

#[test]
fn daemon_without_watch_makes_passes_and_tries_again_after_each() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    let Some(daemon) = start_limited(&node) else { return };
    node.age("apiserver", 10);
    assert_eq!(names(&daemon.request_pass().renewed), ["apiserver"]);
    raise_limit(&daemon);
    daemon.request_pass();
    wait_for("the watch", || daemon.log().contains(RESTORED).then_some(()));
    assert_eq!(daemon.log().matches(UNWATCHED).count(), 1, "{}", daemon.log());
}
