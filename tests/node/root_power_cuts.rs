//! The power of a node is cut after each step of the replacement of its root CA, which goes on by
//! itself after each boot. Written data is not lost here, synced or not; only the processes are.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kubecertd::formats::x509::certificates;
use kubecertd::report::Message;

use super::common::OTHER_CAS;
use super::common::kubelet::CURRENT;
use super::extension;
use super::harness::Node;
use super::recovery::is_ready_since_boot;
use super::root_replacement::{
    ROTATION_TIMEOUT, fresh, front_proxy_file, is_over, roots, status_has,
};
use super::services::print_figure;

/// Has disk operations of the daemon take time, so that no step is made before the power is cut
/// after the one before it. The sandbox of the unit would not let strace trace it.
const SLOW: &str = "[Service]
SystemCallFilter=
ExecStart=
ExecStart=/usr/bin/strace --daemonize --follow-forks --output /dev/null \
    --trace renameat,renameat2,fsync,fdatasync \
    --inject renameat,renameat2,fsync,fdatasync:delay_enter=50000 /usr/sbin/kubecertd run
";

/// How long no step is reported until the goal is looked at.
const PAUSE: Duration = Duration::from_secs(1);

pub fn after_each_step(_: &mut Node) {
    let mut node = fresh("kubecertd-cut", "10.210.0.24", "ecdsa");
    let old = roots(&node).remove(0);
    let old_front_proxy = front_proxy_file(&node);
    node.write("etc/systemd/system/kubecertd.service.d/slow.conf", SLOW);
    node.exec("systemctl daemon-reload && systemctl restart kubecertd");
    let mut cuts = Cuts::default();
    cuts.order(&mut node, "start --subject CN=kubernetes-2", |node| {
        status_has(node, "All certificates are of the new root CA")
    });
    let new = roots(&node).remove(0);
    assert!(!new.verifies_by(&old), "{new:?}");
    cuts.order(&mut node, "complete", is_over);

    let made = node.exec(&format!("journalctl MESSAGE_ID={} -o cat", Message::RotationStep.id()));
    let made: BTreeSet<_> = made.lines().collect();
    print_figure(&format!("the power was cut after {} of {} steps", cuts.number, made.len()));
    // After each of them, unless this machine is too busy to be as fast as the slow daemon: then at
    // least as often as there are levels.
    assert!(cuts.number >= 5, "{made:#?}");
    assert_eq!(roots(&node), std::slice::from_ref(&new));
    node.wait_for("it is Ready", |node| is_ready_since_boot(node).then_some(()));
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    let front_proxy = front_proxy_file(&node);
    assert!(front_proxy.len() == 1 && front_proxy != old_front_proxy, "{front_proxy:?}");
    assert_eq!(extension::published(&node).unwrap(), front_proxy);
    let others = OTHER_CAS.map(|stem| node.ca(stem));
    for (name, stored) in node.usable_credentials() {
        let issued = &stored.certificate;
        let is_of_other = others.iter().any(|ca| issued.verifies_by(ca));
        assert!(issued.verifies_by(&new) || is_of_other, "{name}: {issued:?}");
        assert!(stored.further.is_empty(), "{name} has a bridge");
    }
    let kubelets = certificates(node.exec(&format!("cat /{CURRENT}")).as_bytes()).unwrap();
    assert!(kubelets[0].verifies_by(&new) && kubelets.len() == 1, "{kubelets:?}");
    let trusted = BASE64_STANDARD.encode(new.to_pem());
    for user in ["admin", "controller-manager", "scheduler", "kubelet"] {
        let kubeconfig = node.text(&format!("etc/kubernetes/{user}.conf"));
        assert!(kubeconfig.contains(&format!("certificate-authority-data: {trusted}\n")), "{user}");
    }
    node.exec("! grep --recursive --files-with-matches kubecertd-signing /etc/kubernetes");
    assert_eq!(node.exec("find /etc/kubernetes -name 'kubecertd-signing*'"), "");
    assert!(!node.exec("kubecertd check --output wide").contains("stale"));
    node.assert_accepted();
    node.remove_machine();
}

/// The power cuts of a rotation.
#[derive(Default)]
struct Cuts {
    /// The steps that were reported up to now.
    seen: BTreeSet<String>,
    number: usize,
}

impl Cuts {
    /// Orders a part of the rotation, and cuts the power after each step that is reported for the
    /// first time, until the goal is reached.
    fn order(&mut self, node: &mut Node, order: &str, is_reached: impl Fn(&Node) -> bool) {
        let mut steps = node.follow(Message::RotationStep);
        // Its first step may be made before the command returns.
        node.exec(&format!("systemd-run --quiet kubecertd ca rotate {order}"));
        let mut last = Instant::now();
        loop {
            match steps.recv_timeout(PAUSE) {
                Ok(step) if !self.seen.contains(&step) => {
                    node.power_cut(|_| ());
                    self.number += 1;
                    // What follows was made before the cut.
                    self.seen.extend([step].into_iter().chain(steps.iter()));
                    (steps, last) = (node.follow(Message::RotationStep), Instant::now());
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if is_reached(node) {
                        return;
                    }
                    assert!(
                        last.elapsed() < ROTATION_TIMEOUT,
                        "{order}: after {} cuts nothing goes on: {}",
                        self.number,
                        node.journal("kubecertd")
                    );
                }
            }
        }
    }
}
