//! The cluster's API is away in different ways while everything on one node is due: the files are
//! renewed, no service is waited for that can't start, and what is left is done when the API is
//! back.

use std::time::Instant;

use kubecertd::report::PassSummary;

use super::cluster::Cluster;
use super::harness::{Node, PASS_IN_PROGRESS};
use super::services::{RESTARTED_SERVICES, assert_in_use, print_figure};

/// Makes a pass with everything due. All files are renewed, and no service was waited for that did
/// not become healthy.
fn renew_all(node: &Node, days_left: i64, what: &str) -> PassSummary {
    let earlier = node.status().map(|status| status.pid);
    // Nothing is noticed before all is aged.
    node.exec("systemctl stop kubecertd");
    node.age_all(days_left);
    let began = Instant::now();
    node.exec("systemctl start kubecertd");
    let all = node.all_credentials();
    let first = node.wait_for("the daemon waits for its next pass", |node| {
        // That of the process before is there until this one has written its own.
        let status = node.status().filter(|status| Some(status.pid) != earlier)?;
        (status.line != PASS_IN_PROGRESS).then_some(status.last_pass)
    });
    // There is none at the start unless one was missed.
    let pass = first.filter(|pass| !pass.renewed.is_empty()).unwrap_or_else(|| node.request_pass());
    print_figure(&format!("{what}: the pass took {} s", began.elapsed().as_secs()));
    let mut renewed: Vec<_> = pass.renewed.iter().map(ToString::to_string).collect();
    renewed.sort();
    assert_eq!(renewed, all, "{pass:?}");
    assert!(pass.failed.is_empty(), "{pass:?}");
    for (service, reason) in &pass.not_refreshed {
        assert!(!reason.contains("is not healthy"), "{service} was waited for: {reason}");
    }
    pass
}

/// Waits until kubecertd has done by itself what it could not do before.
fn assert_caught_up(cluster: &Cluster, node: &Node) {
    cluster.wait_until_ready();
    node.wait_for("everything is in use", |node| {
        let pass = node.status()?.last_pass?;
        let done = pass.not_refreshed.is_empty() && pass.services_waiting.is_empty();
        (done && !node.exec("kubecertd check -o wide || true").contains("stale")).then_some(())
    });
    assert_in_use(node);
}

/// The load balancer is away: the other API servers are asked at their own addresses, and nothing
/// waits.
pub fn balancer(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    cluster.stop_balancer();
    let pass = renew_all(cluster.node("ha1"), 10, "load balancer away");
    assert!(pass.not_refreshed.is_empty(), "{pass:?}");
    let refreshed: Vec<_> = pass.refreshed.iter().map(|(name, _)| name.as_str()).collect();
    for service in RESTARTED_SERVICES {
        assert!(refreshed.contains(&service), "{pass:?}");
    }
    cluster.start_balancer();
    assert_caught_up(cluster, cluster.node("ha1"));
}

/// No packet to an API server arrives: every request to one lasts until its time limit.
pub fn all_apiservers(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    let port = "INPUT --protocol tcp --destination-port 6443 --jump DROP";
    let nodes = cluster.control_plane();
    nodes.iter().for_each(|node| drop(node.exec(&format!("iptables --insert {port}"))));
    let pass = renew_all(cluster.node("ha1"), 2, "all API servers away");
    nodes.iter().for_each(|node| drop(node.exec(&format!("iptables --delete {port}"))));
    for (service, reason) in &pass.not_refreshed {
        if RESTARTED_SERVICES.contains(&service.as_str()) {
            assert!(
                reason.contains("can't start without its API server")
                    || reason.contains("does not run"),
                "{reason}"
            );
        }
    }
    assert_caught_up(cluster, cluster.node("ha1"));
}

/// The other two nodes are off, so etcd has no quorum, and every request that needs it fails.
pub fn quorum(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    for name in ["ha2", "ha3"] {
        cluster.node(name).cut_power();
    }
    renew_all(cluster.node("ha1"), 10, "etcd without quorum");
    for name in ["ha2", "ha3"] {
        cluster.node_mut(name).boot();
    }
    assert_caught_up(cluster, cluster.node("ha1"));
}
