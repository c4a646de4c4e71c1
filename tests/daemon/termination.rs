//! The daemon exits or is killed at any moment. After the next pass every file is whole.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use super::common::{Node, now};
use super::harness::*;
use kubecertd::model::days;

/// A pseudo-random generator with the same numbers in every run.
struct Random(u64);

impl Random {
    fn next_below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Starts the daemon and sends it a signal, `count` times. Everything is due and the last pass was
/// long ago, so there is work from the start and every second. Half of the signals come at a random
/// time after the start, the others at a random time after the start of a pass.
fn signal_repeatedly(signal: &str, seed: u64, count: usize) {
    let node = with_history(Node::due(), EVERY_SECOND);
    let names = all_credentials(&node);
    let mut random = Random(seed);
    let mut counts = [0; 3];
    for round in 0..count {
        node.fill(Node::files_due());
        let long_ago = successful_state(now().minus(days(1)));
        write_state(&node, &long_ago);
        let mut daemon = Daemon::start(&node);
        let delay = if round % 2 == 0 {
            Duration::from_millis(random.next_below(401))
        } else {
            wait_for("a pass has started", || {
                (read_state(&node).last_pass_began != long_ago.last_pass_began).then_some(())
            });
            Duration::from_millis(random.next_below(81))
        };
        std::thread::sleep(delay);
        daemon.signal(signal);
        let ended = daemon.wait_for_exit();
        let context =
            format!("SIG{signal}, round {round}, after {delay:?}: {ended}: {}", daemon.log());
        let early = !daemon.log().contains("kubecertd ends") && ended.signal() == Some(15);
        assert!(signal == "KILL" || ended.code() == Some(0) || early, "{context}");
        let renewed = valid_longer_than(&node, 300).len();
        counts[if renewed == 0 { 0 } else { 1 + usize::from(renewed == names.len()) }] += 1;
        if signal == "TERM" {
            assert_eq!(
                all_credentials(&node),
                names,
                "SIGTERM leaves no incomplete credential: {context}"
            );
        }
        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, 0, "{context}\n{}", renew.text);
        assert_eq!(valid_longer_than(&node, 300), names, "{context}");
        let hidden = node.dot_files();
        // A temporary state file is overwritten by the next write.
        let is_temporary = |path: &std::path::Path| {
            path.ends_with(".status.json.new")
                || path.ends_with(".last-good-configuration.json.new")
        };
        assert!(hidden.iter().all(|path| is_temporary(path)), "{hidden:?}: {context}");
        assert!(signal == "KILL" || hidden.is_empty(), "{hidden:?}: {context}");
    }
    println!("SIG{signal}: nothing, a part, and all was renewed in {counts:?} rounds");
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

#[test]
fn sigterm_at_any_moment_leaves_credentials_whole() {
    signal_repeatedly("TERM", 1, 26);
}

#[test]
fn next_pass_completes_after_sigkill_at_any_moment() {
    signal_repeatedly("KILL", 2, 16);
}

#[test]
fn sigterm_during_pass_leaves_rest_to_next_start() {
    let node = with_history(Node::due(), NEVER);
    write_state(&node, &successful_state(now().minus(days(1))));
    let store_lock = StoreLock::take(&node);
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    daemon.signal("USR1");
    wait_for("a pass waits", || daemon.status().filter(|status| status.line == PASS_IN_PROGRESS));
    daemon.signal("TERM");
    wait_for("it notifies that it stops", || {
        (!daemon.notify_socket.values("STOPPING").is_empty()).then_some(())
    });
    drop(store_lock);
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert_eq!(valid_longer_than(&node, 300), [""; 0], "no renewal started after the signal");

    let daemon = Daemon::start(&node);
    daemon.wait_for_pass("the last pass before the start failed");
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
}
