//! One daemon per node, and commands beside it.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::common::{ECDSA, Node};
use super::harness::*;

#[test]
fn second_daemon_exits_and_first_keeps_running() {
    let node = with_history(Node::due(), NEVER);
    let mut first = Daemon::start(&node);
    first.wait_until_idle();
    let before = node.text(STATUS);
    let mut second = Daemon::start(&node);
    assert_eq!(second.wait_for_exit().code(), Some(75));
    wait_for("it logs the reason", || {
        second.log().contains("a kubecertd daemon runs already on this node").then_some(())
    });
    assert_eq!(second.notify_socket.values("READY"), [""; 0]);
    assert_eq!(node.text(STATUS), before, "the status is that of the first daemon");
    assert!(first.is_running());
    assert_eq!(names(&first.request_pass().renewed), all_credentials(&node));
    assert_eq!(first.stop().code(), Some(0));
    Daemon::start(&node).wait_until_idle();
}

/// `kubecertd status` tries the lock to see whether it is held. A daemon that starts at this moment
/// must not take that for another daemon.
#[test]
fn lock_query_does_not_prevent_start() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    node.write("run/kubecertd/lock", "");
    let query =
        Flock::lock(File::open(node.path("run/kubecertd/lock")).unwrap(), FlockArg::LockShared)
            .map_err(|(_, e)| e)
            .unwrap();
    let mut daemon = Daemon::start(&node);
    std::thread::sleep(Duration::from_millis(300));
    drop(query);
    daemon.wait_until_idle();
    assert!(daemon.is_running());
}

#[test]
fn unusable_lock_is_not_reported_as_second_daemon() {
    let node = with_history(Node::fresh(ECDSA), NEVER);
    std::fs::create_dir_all(node.path("run/kubecertd/lock")).unwrap();
    let mut daemon = Daemon::start(&node);
    assert_eq!(daemon.wait_for_exit().code(), Some(1));
    wait_for("it logs the error", || daemon.log().contains("/run/kubecertd/lock: ").then_some(()));
    assert!(!daemon.log().contains("runs already on this node"), "{}", daemon.log());
}

#[test]
fn renew_command_works_beside_daemon() {
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let renew = node.run(&["renew", "apiserver"]);
    assert_eq!(renew.code, 0, "{}", renew.text);
    assert_eq!(valid_longer_than(&node, 300), ["apiserver"]);
    let last = daemon.request_pass();
    assert_eq!(
        last.renewed.len(),
        all_credentials(&node).len() - 1,
        "the daemon does not repeat the command's renewal: {last:?}"
    );
    // The time of success may be a little after the start of the pass.
    let succeeded = read_state(&node).last_pass_succeeded.unwrap();
    assert!((0..=2).contains(&succeeded.seconds_since(last.began)), "{succeeded} {last:?}");
}

#[test]
fn concurrent_daemon_and_command_renew_each_once() {
    for _ in 0..5 {
        let node = with_history(Node::due(), NEVER);
        let daemon = Daemon::start(&node);
        daemon.wait_until_idle();
        daemon.signal("USR1");
        let renew = node.run(&["renew"]);
        let last = daemon.wait_for_pass("signal");
        assert!(renew.code == 0 && !last.is_bad(), "{} {last:?}", renew.text);
        let by_command = renew.text.lines().filter(|line| line.starts_with("renewed ")).count();
        assert_eq!(
            by_command + last.renewed.len(),
            all_credentials(&node).len(),
            "{} {last:?}",
            renew.text
        );
        assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
        assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
    }
}

/// The store is locked by another process while the schedule of the daemon occurs several times.
#[test]
fn scheduled_ticks_during_long_wait_do_not_accumulate() {
    let node = with_history(Node::due(), EVERY_SECOND);
    let store_lock = StoreLock::take(&node);
    let daemon = Daemon::start(&node);
    daemon.wait_for_status("a pass waits", |status| status.line == PASS_IN_PROGRESS);
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(daemon.notify_socket.completed_passes(), 0);
    drop(store_lock);
    daemon.wait_for_status("it is renewed", |_| {
        valid_longer_than(&node, 300) == all_credentials(&node)
    });
    let (from, began) = (daemon.notify_socket.completed_passes(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    daemon.wait_for_status("a scheduled pass", |_| daemon.notify_socket.completed_passes() > from);
    let more = daemon.notify_socket.completed_passes() - from;
    let elapsed = began.elapsed();
    assert!(u64::try_from(more).unwrap() <= elapsed.as_secs() + 2, "{more} in {elapsed:?}");
}
