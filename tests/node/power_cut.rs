//! A power cut in the middle of a pass. Written data is not lost here, synced or not; only the
//! processes are.

use std::time::{Duration, Instant};

use super::common;
use super::harness::{CREDENTIALS_WITHOUT_RESTART, Node, PASS_IN_PROGRESS, WAIT_TIMEOUT};

const PKI: &str = "etc/kubernetes/pki";

pub fn on_staging(node: &mut Node) {
    cut_when(node, |node| staged(node) > 3);
}

pub fn on_replacement(node: &mut Node) {
    let before = inode(node);
    cut_when(node, |node| inode(node) != before);
}

/// Requests a pass of a daemon with slow disk operations, and cuts the power as soon as the
/// condition is true.
fn cut_when(node: &mut Node, condition: impl Fn(&Node) -> bool) {
    node.install_past_first_pass();
    node.age_credentials_without_restart(10);
    let slow = "renameat,renameat2,fsync,fdatasync";
    node.exec(&format!(
        "systemd-run --quiet strace --follow-forks --attach $(systemctl show --property MainPID \
         --value kubecertd) \
         --trace {slow} --inject {slow}:delay_enter=30000 --output /dev/null"
    ));
    node.wait_for("strace is attached", |node| {
        (node.exec("grep TracerPid /proc/$(pidof kubecertd)/status").trim() != "TracerPid:\t0")
            .then_some(())
    });
    node.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !condition(node) {
        assert!(Instant::now() < deadline, "the condition did not become true");
        std::thread::sleep(Duration::from_millis(1));
    }
    node.power_cut(|disk| assert!(staged(disk) > 0, "the pass was complete before the cut"));
    // systemd starts kubecertd, which completes the pass without a request.
    node.wait_for("all is renewed", |node| {
        let far = common::now().plus(kubecertd::model::days(300));
        let whole = node.usable_credentials();
        CREDENTIALS_WITHOUT_RESTART
            .iter()
            .all(|name| whole.get(*name).is_some_and(|stored| stored.certificate.not_after > far))
            .then_some(())
    });
    node.wait_for("the pass is complete", |node| {
        (node.status()?.line != PASS_IN_PROGRESS).then_some(())
    });
    node.assert_whole();
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    node.assert_accepted();
}

/// Counts the staged files.
fn staged(node: &common::Node) -> usize {
    let names = std::fs::read_dir(node.path(PKI)).unwrap();
    names
        .filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b"."))
        .count()
}

fn inode(node: &Node) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(node.path(PKI).join("apiserver-kubelet-client.crt")).unwrap().ino()
}
