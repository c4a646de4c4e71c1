//! Concurrent commands, and a command that is killed.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::common::{Node, STATE};
use super::harness::*;

fn renew(node: &Node) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubecertd"));
    command
        .arg("--root")
        .arg(node.root())
        .args(["renew"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn concurrent_commands_renew_everything_once() {
    for _ in 0..3 {
        let node = Node::due();
        let began = Instant::now();
        let outputs: Vec<_> = [(); 4]
            .map(|()| renew(&node))
            .into_iter()
            .map(|child| child.wait_with_output().unwrap())
            .collect();
        assert!(began.elapsed() < WAIT_TIMEOUT, "{:?}", began.elapsed());
        let texts: Vec<_> = outputs
            .iter()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .collect();
        assert!(outputs.iter().all(|output| output.status.code() == Some(0)), "{texts:?}");
        let renewed: usize = texts
            .iter()
            .map(|text| text.lines().filter(|line| line.starts_with("renewed ")).count())
            .sum();
        assert_eq!(renewed, all_credentials(&node).len(), "{texts:?}");
        assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
        assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
        assert_eq!(std::fs::read_dir(node.path(STATE).join("backups")).unwrap().count(), 1);
    }
}

#[test]
fn daemon_and_repeated_command_do_not_interfere() {
    let node = with_history(Node::due(), EVERY_SECOND);
    let mut daemon = Daemon::start(&node);
    for round in 0..8 {
        let run = node.run(&["renew", "--force", "apiserver", "scheduler.conf"]);
        assert_eq!(run.code, 0, "round {round}: {}", run.text);
        assert_eq!(all_credentials(&node).len(), 11, "round {round}: a pair is incomplete");
    }
    daemon.wait_for_status("the daemon keeps running", |_| {
        valid_longer_than(&node, 300) == all_credentials(&node)
    });
    assert!(daemon.is_running() && daemon.stop().success(), "{}", daemon.log());
    assert!(
        !daemon.log().contains("panicked") && !daemon.log().contains("fault"),
        "{}",
        daemon.log()
    );
    assert_eq!(node.run(&["check"]).code, 0);
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

/// The kernel releases the lock when the process exits for any reason.
#[test]
fn lock_of_killed_process_is_released() {
    let node = Node::due();
    for _ in 0..5 {
        let mut holder = Command::new(env!("CARGO_BIN_EXE_kubecertd"))
            .arg("--root")
            .arg(node.root())
            .args(["renew", "--force"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("it has the lock", || is_locked(&node).then_some(()));
        holder.kill().unwrap();
        holder.wait().unwrap();
        let began = Instant::now();
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            began.elapsed().as_secs() < 10,
            "{:?}: it waited for a dead process",
            began.elapsed()
        );
    }
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

fn is_locked(node: &Node) -> bool {
    use nix::fcntl::{Flock, FlockArg};
    let Ok(file) = std::fs::File::open(node.path(STATE).join("lock")) else { return false };
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

#[test]
fn second_daemon_reports_process_id_of_first() {
    let node = with_history(Node::due(), NEVER);
    let first = Daemon::start(&node);
    first.wait_until_idle();
    let mut second = Daemon::start(&node);
    assert_eq!(second.wait_for_exit().code(), Some(75));
    let message = format!("a kubecertd daemon runs already on this node (process {})", first.pid());
    wait_for("the second daemon reports the process id", || {
        second.log().contains(&message).then_some(())
    });
}
