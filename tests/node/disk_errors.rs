//! A full or read-only disk: the error is reported, nothing is lost, and the renewal is made when
//! the disk can be written again.

use super::common::{self, Snapshot};
use super::harness::Node;

/// Credentials that no service uses. Containers still see the disk below the mount, so services
/// with other credentials would rightly be restarted.
const UNUSED: [&str; 2] = ["admin.conf", "etcd/healthcheck-client"];

/// /etc/kubernetes is on a full disk of half a MiB.
pub fn full_disk(node: &mut Node) {
    node.install_past_first_pass();
    UNUSED.iter().for_each(|name| node.age(name, 10));
    node.exec(
        "mkdir /run/small
         mount -t tmpfs -o size=512k,mode=755 tmpfs /run/small
         cp --archive /etc/kubernetes/. /run/small/
         mount --bind /run/small /etc/kubernetes
         umount --lazy /run/small && rmdir /run/small
         dd if=/dev/zero of=/etc/kubernetes/ballast bs=4k 2>/dev/null || true",
    );
    assert_fails_until(node, "No space left on device", "rm /etc/kubernetes/ballast");
}

/// The file system itself is read-only, as after a disk error. A read-only mount alone would not be
/// seen through another mount, such as the daemon's own.
pub fn read_only_disk(node: &mut Node) {
    node.install_past_first_pass();
    UNUSED.iter().for_each(|name| node.age(name, 10));
    node.exec(
        "mkdir /run/small
         mount -t tmpfs -o mode=755 tmpfs /run/small
         cp --archive /etc/kubernetes/. /run/small/
         mount --bind /run/small /etc/kubernetes
         mount -o remount,ro /run/small
         umount --lazy /run/small && rmdir /run/small",
    );
    assert_fails_until(node, "Read-only file system", "umount /etc/kubernetes");
}

/// The files without the directories, whose times change with removed temporary files.
fn files(node: &Node) -> Snapshot {
    let mut all = common::Node::at(node.path("etc/kubernetes")).snapshot();
    all.0.retain(|_, entry| entry.is_file());
    all
}

fn assert_fails_until(node: &Node, reason: &str, remedy: &str) {
    let before = files(node);
    let pass = node.request_pass();
    assert!(pass.renewed.is_empty() && pass.failed.len() == UNUSED.len(), "{pass:?}");
    let journal = node.journal("kubecertd");
    for (name, why) in &pass.failed {
        assert!(why.contains(reason) && why.contains("/etc/kubernetes/"), "{name}: {why}");
        assert!(
            journal.contains(&format!("{name}: ")) && journal.contains(why.as_str()),
            "{name} is not in the journal: {journal}"
        );
    }
    assert_eq!(before.differences(&files(node)), Vec::<String>::new());
    assert!(node.status().unwrap().next_try.is_some(), "it does not try again");

    node.exec(remedy);
    let pass = node.request_pass();
    assert!(pass.renewed.len() == UNUSED.len() && pass.failed.is_empty(), "{pass:?}");
    node.assert_whole();
    node.assert_accepted();
}
