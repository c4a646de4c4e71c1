//! Copies, as the daemon sees to them.

use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use super::common::{ECDSA, Node};
use super::harness::*;

const ADMIN: &str = "etc/kubernetes/admin.conf";
const ALICE: &str = "home/alice/.kube/config";
const ROOT: &str = "root/.kube/config";
const COPIES: &str = "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n[[copy]]\nof \
    = 'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n";

/// What is in others' hands is not watched: whoever writes to it again and again keeps nobody at
/// work. What kubeadm renewed is found, and all copies follow.
#[test]
fn what_a_user_does_to_his_copy_makes_no_pass() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: files of others can only be made by root");
        return;
    }
    let node = Node::fresh(ECDSA);
    for file in [ROOT, ALICE] {
        node.write(file, node.text(ADMIN));
    }
    for file in ["home/alice", "home/alice/.kube", ALICE] {
        chown(node.path(file), Some(1001), Some(1001)).unwrap();
    }
    let node = known(node, NEVER);
    node.write(CONFIG, format!("{}{COPIES}", schedule(NEVER)));
    let daemon = Daemon::start(&node);
    // One that takes note of what there is.
    daemon.pass();
    let passes = daemon.ears.passes();
    node.write(ALICE, format!("{}# mine\n", node.text(ADMIN)));
    // Longer than it has to be quiet before a pass is made for a change.
    std::thread::sleep(Duration::from_secs(36));
    assert_eq!(daemon.ears.passes(), passes, "{}", daemon.log());

    let others = Node::fresh(ECDSA);
    assert_eq!(others.run(&["renew", "--force", "admin.conf"]).code, 0);
    node.write(ADMIN, others.text(ADMIN));
    let last = {
        let began = Instant::now();
        loop {
            let last = daemon
                .status()
                .and_then(|status| status.last_pass)
                .filter(|last| last.why.contains("changed"));
            match last {
                Some(last) => break last,
                None => {
                    assert!(began.elapsed() < Duration::from_secs(90), "in vain: {}", daemon.log())
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(last.why, "/etc/kubernetes/admin.conf changed");
    assert_eq!(names(&last.copied), ["home/alice/.kube/config", "root/.kube/config"], "{last:?}");
    assert_eq!(node.text(ROOT), others.text(ADMIN));
    assert!(
        node.text(ALICE).starts_with(&others.text(ADMIN)) && node.text(ALICE).ends_with("# mine\n")
    );
    assert!(daemon.log().contains("root/.kube/config: copied, valid until "), "{}", daemon.log());
}
