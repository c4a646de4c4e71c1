//! `kubecertd run --once`: a pass for a timer.

use super::common::{ECDSA, Node, Run, STATE, now};
use super::harness::*;

fn run_once(node: &Node) -> Run {
    node.run(&["run", "--once"])
}

#[test]
fn run_once_makes_one_pass_and_writes_state() {
    let node = Node::due();
    let began = now();
    let first = run_once(&node);
    assert!(first.code == 0 && first.text.contains("Renewed: "), "{}", first.text);
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    let state = read_state(&node);
    assert!(state.scheduled_until.is_some_and(|until| until >= began), "{state:?}");
    assert!(
        state.last_pass_succeeded.is_some()
            && state.last_pass_succeeded == state.last_pass_began
            && !state.unfinished,
        "{state:?}"
    );
    assert!(state.last_seen.is_some_and(|seen| seen >= began), "{state:?}");

    let second = run_once(&node);
    assert!(second.code == 0 && second.text.contains("Nothing renewed."), "{}", second.text);
}

/// `run --once` does not observe first: a timer was enabled deliberately.
#[test]
fn run_once_renews_and_ends_observation_period() {
    let node = Node::due();
    node.write(CONFIG, schedule(NEVER));
    assert_eq!(run_once(&node).code, 0);
    node.age("apiserver", 10);
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.wait_until_idle().last_pass, None);
    assert_eq!(names(&daemon.request_pass().renewed), ["apiserver"]);
}

#[test]
fn run_once_exit_codes_equal_renew() {
    let part = Node::due();
    part.write("etc/kubernetes/super-admin.conf", "damaged");
    let nothing = Node::fresh(ECDSA);
    nothing.write("etc/kubernetes/super-admin.conf", "damaged");
    let held = Node::due();
    assert_eq!(held.run(&["hold", "--until", "2100-01-01", "--reason", "a test"]).code, 0);
    let no_store = Node::due();
    std::fs::create_dir_all(no_store.path(STATE).join("lock")).unwrap();
    let wrong = Node::due();
    wrong.write(CONFIG, "nonsense");
    for (code, node, text) in [
        (4, part, "super-admin.conf"),
        (1, nothing, "super-admin.conf"),
        (5, held, "deferred: hold (operator)"),
        (1, no_store, "kubecertd/lock"),
        (78, wrong, "kubecertd.toml:1"),
    ] {
        let run = run_once(&node);
        assert!(
            run.code == code && run.text.contains(text),
            "expected {code} with {text:?}, got {}:\n{}",
            run.code,
            run.text
        );
        assert_eq!(node.run(&["renew"]).code, if code == 4 { 1 } else { code }, "{text}");
    }
}

#[test]
fn run_once_falls_back_to_last_good_configuration() {
    let node = Node::fresh(ECDSA);
    node.write(CONFIG, "[renewal]\nrenew_before = \"90d\"\n");
    assert_eq!(run_once(&node).code, 0);
    node.age("apiserver", 60);
    node.write(CONFIG, "[renewal]\nrenew_before = \"a while\"\n");
    let run = run_once(&node);
    assert!(
        run.text.contains("the last valid one is in force: /etc/kubecertd/kubecertd.toml:2"),
        "{}",
        run.text
    );
    assert_eq!(run.code, 0);
    assert!(run.text.contains("Renewed: apiserver."), "{}", run.text);
}
