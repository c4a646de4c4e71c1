//! One daemon a node, and commands beside it.

use std::fs::File;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::common::{ECDSA, Node};
use super::harness::*;

#[test]
fn a_second_daemon_does_not_start_and_the_first_goes_on() {
    let node = known(Node::due(), NEVER);
    let mut first = Daemon::start(&node);
    first.settled();
    let before = node.text(STATUS);
    let mut second = Daemon::start(&node);
    assert_eq!(second.ended().code(), Some(75));
    until("it says why", || {
        second.log().contains("a kubecertd daemon runs already on this node").then_some(())
    });
    assert_eq!(second.ears.values("READY"), [""; 0]);
    assert_eq!(node.text(STATUS), before, "the status is the first one's");
    assert!(first.runs());
    assert_eq!(names(&first.pass().renewed), all(&node));
    assert_eq!(first.stop().code(), Some(0));
    Daemon::start(&node).settled();
}

/// `kubecertd status` asks whether the lock is held by trying it: a daemon that starts at this
/// moment is not alone with it.
#[test]
fn somebody_who_only_asks_does_not_keep_it_from_starting() {
    let node = known(Node::fresh(ECDSA), NEVER);
    node.write("run/kubecertd/lock", "");
    let asking =
        Flock::lock(File::open(node.path("run/kubecertd/lock")).unwrap(), FlockArg::LockShared)
            .map_err(|(_, e)| e)
            .unwrap();
    let mut daemon = Daemon::start(&node);
    std::thread::sleep(Duration::from_millis(300));
    drop(asking);
    daemon.settled();
    assert!(daemon.runs());
}

#[test]
fn a_lock_that_can_not_be_taken_is_not_another_daemon() {
    let node = known(Node::fresh(ECDSA), NEVER);
    std::fs::create_dir_all(node.path("run/kubecertd/lock")).unwrap();
    let mut daemon = Daemon::start(&node);
    assert_eq!(daemon.ended().code(), Some(1));
    until("it says what is wrong", || daemon.log().contains("/run/kubecertd/lock: ").then_some(()));
    assert!(!daemon.log().contains("runs already on this node"), "{}", daemon.log());
}

#[test]
fn the_command_works_beside_the_daemon() {
    let node = known(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.settled();
    let renew = node.run(&["renew", "apiserver"]);
    assert_eq!(renew.code, 0, "{}", renew.text);
    assert_eq!(fresh(&node, 300), ["apiserver"]);
    let last = daemon.pass();
    assert_eq!(last.renewed.len(), all(&node).len() - 1, "what the command did is done: {last:?}");
    // It took the time once more after it had begun.
    let succeeded = remembered(&node).last_pass_succeeded.unwrap();
    assert!((0..=2).contains(&succeeded.seconds_since(last.began)), "{succeeded} {last:?}");
}

#[test]
fn at_the_same_time_both_do_their_part_and_nothing_is_done_twice() {
    for _ in 0..5 {
        let node = known(Node::due(), NEVER);
        let daemon = Daemon::start(&node);
        daemon.settled();
        daemon.signal("USR1");
        let renew = node.run(&["renew"]);
        let last = daemon.passed("signal");
        assert!(renew.code == 0 && !last.is_bad(), "{} {last:?}", renew.text);
        let by_command = renew.text.lines().filter(|line| line.starts_with("renewed ")).count();
        assert_eq!(by_command + last.renewed.len(), all(&node).len(), "{} {last:?}", renew.text);
        assert_eq!(fresh(&node, 300), all(&node));
        assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
    }
}

/// The command holds the store; the daemon's schedule comes again and again meanwhile.
#[test]
fn ticks_during_a_long_wait_for_the_command_do_not_pile_up() {
    let node = known(Node::due(), EVERY_SECOND);
    let taken = StoreTaken::on(&node);
    let daemon = Daemon::start(&node);
    daemon.until("a pass waits", |status| status.line == AT_WORK);
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(daemon.ears.passes(), 0);
    drop(taken);
    daemon.until("it is renewed", |_| fresh(&node, 300) == all(&node));
    let from = daemon.ears.passes();
    std::thread::sleep(Duration::from_secs(2));
    let more = daemon.ears.passes() - from;
    assert!((1..=4).contains(&more), "{more} passes in two seconds");
}
