//! The power goes in the middle of a pass. What was written is not lost here, synced or not: only
//! the processes are.

use std::time::{Duration, Instant};

use super::common;
use super::harness::{AT_WORK, LIMIT, Node, QUIET};

const PKI: &str = "etc/kubernetes/pki";

pub fn cut_while_files_are_staged(node: &mut Node) {
    cut_when(node, |node| staged(node) > 3);
}

pub fn cut_while_files_are_replaced(node: &mut Node) {
    let before = inode(node);
    cut_when(node, |node| inode(node) != before);
}

/// Has everything renewed, by a daemon whose calls to the disk are slow, and cuts the power at the
/// moment that is described.
fn cut_when(node: &mut Node, is_the_moment: impl Fn(&Node) -> bool) {
    node.install_settled();
    node.age_quiet(10);
    let slow = "renameat,renameat2,fsync,fdatasync";
    node.exec(&format!(
        "systemd-run --quiet strace --follow-forks --attach $(systemctl show --property MainPID \
         --value kubecertd) \
         --trace {slow} --inject {slow}:delay_enter=30000 --output /dev/null"
    ));
    node.until("strace is there", |node| {
        (node.exec("grep TracerPid /proc/$(pidof kubecertd)/status").trim() != "TracerPid:\t0")
            .then_some(())
    });
    node.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
    let limit = Instant::now() + LIMIT;
    while !is_the_moment(node) {
        assert!(Instant::now() < limit, "the moment did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
    node.power_cut(|disk| assert!(staged(disk) > 0, "the pass had ended before"));
    // It is up to kubecertd to go on with it: it is started by systemd, and nobody asks for
    // anything.
    node.until("all is renewed", |node| {
        let far = common::now().plus(kubecertd::model::days(300));
        let whole = node.usable_credentials();
        QUIET
            .iter()
            .all(|name| whole.get(*name).is_some_and(|stored| stored.certificate.not_after > far))
            .then_some(())
    });
    node.until("the pass ends", |node| (node.status()?.line != AT_WORK).then_some(()));
    node.assert_whole();
    node.until("it is Ready", |node| node.is_ready().then_some(()));
    node.assert_accepted();
}

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
