//! Deferrals that need a real node.

use super::harness::{CREDENTIALS_WITHOUT_RESTART, Node};

/// kubeadm runs as long as its configuration, a pipe, has no writer.
pub fn running_kubeadm(node: &mut Node) {
    node.install_past_first_pass();
    node.age_credentials_without_restart(10);
    node.age("front-proxy-client", 2);
    node.exec(
        "mkfifo /run/never && systemd-run --quiet --unit upgrade kubeadm certs renew all \
        --config /run/never",
    );
    node.wait_for("kubeadm runs", |node| {
        node.try_exec("pgrep --exact kubeadm").status.success().then_some(())
    });
    let pass = node.request_pass();
    assert_eq!(
        pass.renewed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["front-proxy-client"],
        "what is urgent goes ahead"
    );
    assert_eq!(pass.waiting.len(), CREDENTIALS_WITHOUT_RESTART.len() - 1, "{pass:?}");
    assert!(pass.holds.iter().any(|hold| hold.contains("kubeadm")), "{pass:?}");
    assert!(node.exec("kubecertd status || true").contains("kubeadm"));

    node.exec("systemctl stop upgrade && rm /run/never");
    // The daemon retries by itself.
    node.wait_for("the others are renewed", |node| {
        node.status()?
            .last_pass
            .filter(|pass| pass.renewed.len() == CREDENTIALS_WITHOUT_RESTART.len() - 1)
    });
    node.assert_whole();
    node.assert_accepted();
}
