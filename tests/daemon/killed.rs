//! It may end at any moment: asked to, or killed. What it leaves is whole after the next pass.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use super::common::{Node, now};
use super::harness::*;
use kubecertd::model::days;

/// A small generator of numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Everything is due and the last pass was long ago: there is work to do from the first moment on,
/// and every second. Half of the signals come at any time after the start, the others at any time
/// after something is about to be replaced.
fn rounds(signal: &str, seed: u64, count: usize) {
    let node = known(Node::due(), EVERY_SECOND);
    let names = all(&node);
    let mut dice = Dice(seed);
    let mut amounts = [0; 3];
    for round in 0..count {
        node.fill(Node::files_due());
        let long_ago = well_until(now().minus(days(1)));
        remember(&node, &long_ago);
        let mut daemon = Daemon::start(&node);
        let delay = if round % 2 == 0 {
            Duration::from_millis(dice.throw(401))
        } else {
            until("a pass has begun", || {
                (remembered(&node).last_pass_began != long_ago.last_pass_began).then_some(())
            });
            Duration::from_millis(dice.throw(81))
        };
        std::thread::sleep(delay);
        daemon.signal(signal);
        let ended = daemon.ended();
        let context =
            format!("SIG{signal}, round {round}, after {delay:?}: {ended}: {}", daemon.log());
        let early = !daemon.log().contains("kubecertd ends") && ended.signal() == Some(15);
        assert!(signal == "KILL" || ended.code() == Some(0) || early, "{context}");
        let renewed = fresh(&node, 300).len();
        amounts[if renewed == 0 { 0 } else { 1 + usize::from(renewed == names.len()) }] += 1;
        if signal == "TERM" {
            assert_eq!(all(&node), names, "asked to end, it leaves no credential torn: {context}");
        }
        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, 0, "{context}\n{}", renew.text);
        assert_eq!(fresh(&node, 300), names, "{context}");
        let hidden = node.dot_files();
        // A draft of its own memory is taken up by the next one who writes there.
        let drafts = |path: &std::path::Path| {
            path.ends_with(".status.json.new")
                || path.ends_with(".last-good-configuration.json.new")
        };
        assert!(hidden.iter().all(|path| drafts(path)), "{hidden:?}: {context}");
        assert!(signal == "KILL" || hidden.is_empty(), "{hidden:?}: {context}");
    }
    println!("SIG{signal}: nothing, a part, and all was renewed in {amounts:?} rounds");
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

#[test]
fn asked_to_end_at_any_moment_it_leaves_everything_whole() {
    rounds("TERM", 1, 26);
}

#[test]
fn killed_at_any_moment_it_leaves_what_the_next_pass_makes_whole() {
    rounds("KILL", 2, 16);
}

#[test]
fn asked_to_end_during_a_pass_it_leaves_what_is_not_begun_to_the_next_start() {
    let node = known(Node::due(), NEVER);
    remember(&node, &well_until(now().minus(days(1))));
    let taken = StoreTaken::on(&node);
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    daemon.signal("USR1");
    until("a pass waits", || daemon.status().filter(|status| status.line == AT_WORK));
    daemon.signal("TERM");
    until("it says that it stops", || (!daemon.ears.values("STOPPING").is_empty()).then_some(()));
    drop(taken);
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!(fresh(&node, 300), [""; 0], "nothing was begun after that");

    let daemon = Daemon::start(&node);
    daemon.passed("the last pass before the start failed");
    assert_eq!(fresh(&node, 300), all(&node));
}
