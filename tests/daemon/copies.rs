//! Copies of credentials that the daemon keeps up to date.

use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use super::common::requirements::{ROOT, require};
use super::common::{ECDSA, Node};
use super::harness::*;

const ADMIN: &str = "etc/kubernetes/admin.conf";
const ALICE: &str = "home/alice/.kube/config";
const ROOT_COPY: &str = "root/.kube/config";
const COPIES: &str = "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n[[copy]]\nof \
    = 'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n";

/// Directories of other users are not watched, so repeated writes there cause no passes. A renewal
/// by kubeadm is found, and all copies are updated.
#[test]
fn user_change_to_copy_makes_no_pass() {
    require!(ROOT);
    let node = Node::fresh(ECDSA);
    for file in [ROOT_COPY, ALICE] {
        node.write(file, node.text(ADMIN));
    }
    for file in ["home/alice", "home/alice/.kube", ALICE] {
        chown(node.path(file), Some(1001), Some(1001)).unwrap();
    }
    let node = with_history(node, NEVER);
    node.write(CONFIG, format!("{}{COPIES}", schedule(NEVER)));
    let daemon = Daemon::start(&node);
    // The first pass records the current copies.
    daemon.request_pass();
    let passes = daemon.notify_socket.completed_passes();
    node.write(ALICE, format!("{}# mine\n", node.text(ADMIN)));
    // Longer than the quiet time after which a change causes a pass.
    std::thread::sleep(Duration::from_secs(36));
    assert_eq!(daemon.notify_socket.completed_passes(), passes, "{}", daemon.log());

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
                    assert!(
                        began.elapsed() < Duration::from_secs(90),
                        "timed out: {}",
                        daemon.log()
                    )
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(last.why, "/etc/kubernetes/admin.conf changed");
    assert_eq!(names(&last.copied), ["home/alice/.kube/config", "root/.kube/config"], "{last:?}");
    assert_eq!(node.text(ROOT_COPY), others.text(ADMIN));
    assert!(
        node.text(ALICE).starts_with(&others.text(ADMIN)) && node.text(ALICE).ends_with("# mine\n")
    );
    assert!(daemon.log().contains("root/.kube/config: copied, valid until "), "{}", daemon.log());
}
