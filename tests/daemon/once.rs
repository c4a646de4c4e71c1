//! `kubecertd run --once`: a pass for a timer.

use super::common::{ECDSA, Node, Run, STATE, now};
use super::harness::*;

fn once(node: &Node) -> Run {
    node.run(&["run", "--once"])
}

#[test]
fn it_makes_one_pass_and_remembers_it() {
    let node = Node::due();
    let began = now();
    let first = once(&node);
    assert!(first.code == 0 && first.text.contains("Renewed: "), "{}", first.text);
    assert_eq!(fresh(&node, 300), all(&node));
    let state = remembered(&node);
    assert!(state.scheduled_until.is_some_and(|until| until >= began), "{state:?}");
    assert!(
        state.last_pass_succeeded.is_some()
            && state.last_pass_succeeded == state.last_pass_began
            && !state.unfinished,
        "{state:?}"
    );
    assert!(state.last_seen.is_some_and(|seen| seen >= began), "{state:?}");

    let second = once(&node);
    assert!(second.code == 0 && second.text.contains("Nothing renewed."), "{}", second.text);
}

/// Whoever runs it from a timer has decided already.
#[test]
fn it_does_not_only_look_and_after_it_the_daemon_is_not_new() {
    let node = Node::due();
    node.write(CONFIG, schedule(NEVER));
    assert_eq!(once(&node).code, 0);
    node.age("apiserver", 10);
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.settled().last_pass, None);
    assert_eq!(names(&daemon.pass().renewed), ["apiserver"]);
}

#[test]
fn it_ends_as_renew_does() {
    let part = Node::due();
    part.write("etc/kubernetes/scheduler.conf", "damaged");
    let nothing = Node::fresh(ECDSA);
    nothing.write("etc/kubernetes/scheduler.conf", "damaged");
    let held = Node::due();
    assert_eq!(held.run(&["hold", "--until", "2100-01-01", "--reason", "a test"]).code, 0);
    let no_store = Node::due();
    std::fs::create_dir_all(no_store.path(STATE).join("lock")).unwrap();
    let wrong = Node::due();
    wrong.write(CONFIG, "nonsense");
    for (code, node, said) in [
        (4, part, "scheduler.conf"),
        (1, nothing, "scheduler.conf"),
        (5, held, "waits: an operator asked for it"),
        (1, no_store, "kubecertd/lock"),
        (78, wrong, "kubecertd.toml:1"),
    ] {
        let run = once(&node);
        assert!(
            run.code == code && run.text.contains(said),
            "{code} with {said:?} and not {}:\n{}",
            run.code,
            run.text
        );
        assert_eq!(node.run(&["renew"]).code, if code == 4 { 1 } else { code }, "{said}");
    }
}

#[test]
fn it_falls_back_on_the_last_right_configuration() {
    let node = Node::fresh(ECDSA);
    node.write(CONFIG, "[renewal]\nrenew_before = \"90d\"\n");
    assert_eq!(once(&node).code, 0);
    node.age("apiserver", 60);
    node.write(CONFIG, "[renewal]\nrenew_before = \"a while\"\n");
    let run = once(&node);
    assert!(
        run.text.contains("the last good one is in force: /etc/kubecertd/kubecertd.toml:2"),
        "{}",
        run.text
    );
    assert_eq!(run.code, 0);
    assert!(run.text.contains("Renewed: apiserver."), "{}", run.text);
}
