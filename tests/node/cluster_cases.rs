//! Three control-plane nodes whose certificates are due at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use kubecertd::report::PassSummary;

use super::cluster::{CONTROL_PLANE, Cluster, SECONDS_TO_FIRST_PASS, longest_overlap};
use super::harness::Node;
use super::leaders::LeaderWatch;
use super::services::{
    RESTARTED_SERVICES, assert_in_use, changed_processes, print_figure, processes,
};

/// The longest time without a leader where a standby runs: the Lease expires 15 s after the standby
/// has seen its last renewal, and a standby reads it every 2 to 4.4 s.
const SECONDS_WITHOUT_LEADER: f64 = 15.0 + 2.0 * 4.4;

/// When a service was started, in ticks of the machine's clock.
fn started(node: &Node, service: &str) -> u64 {
    let stat = node.exec(&format!("cut -d ' ' -f 22 /proc/$(pgrep --full '^{service} ')/stat"));
    stat.trim().parse().unwrap()
}

/// The first scheduled passes begin in the same second on all three nodes, and everything is due.
/// No request fails, at the load balancer or at any API server; all services use what was renewed;
/// and a standby of kube-controller-manager is ready when the leader is restarted, the last one.
pub fn everything_due(cluster: &mut Cluster) {
    cluster.try_machine();
    let nodes = cluster.control_plane();
    nodes.iter().for_each(|node| node.age_all(10));
    let before = nodes.map(processes);
    cluster.install(&nodes, SECONDS_TO_FIRST_PASS);
    let meter = cluster.meter();
    let leader = cluster.leader("kube-controller-manager").name();
    let leaders =
        RESTARTED_SERVICES.map(|service| (service, LeaderWatch::start(nodes[0], service)));

    let passes = Cluster::on_all(&nodes, |node| node.wait_for_pass("by schedule"));
    // Failures shortly after the passes count too.
    std::thread::sleep(Duration::from_secs(5));
    let figures = meter.print("all renewed and in use on three nodes");
    cluster.wait_until_ready();
    // A Lease may still be that of a process that was stopped.
    std::thread::sleep(Duration::from_secs_f64(SECONDS_WITHOUT_LEADER));
    let gaps = leaders.map(|(service, watch)| {
        let gap = watch.stop();
        print_figure(&format!("{service}: {gap:.1} s without a leader"));
        gap
    });

    for ((node, pass), before) in nodes.iter().zip(&passes).zip(&before) {
        assert_all_renewed_and_in_use(node, pass, before);
    }
    for (server, figures) in &figures {
        assert_eq!(figures.failed, 0, "{server}: {figures}");
    }
    assert!(gaps[0] <= SECONDS_WITHOUT_LEADER, "kube-controller-manager: {gaps:?}");
    let last = nodes.into_iter().max_by_key(|node| started(node, "kube-controller-manager"));
    assert_eq!(last.map(Node::name), Some(leader), "the leader is restarted after its standbys");
}

/// Asserts that a pass renewed everything on a node that had these processes, and that all services
/// use it.
pub fn assert_all_renewed_and_in_use(
    node: &Node,
    pass: &PassSummary,
    before: &BTreeMap<String, String>,
) {
    let mut renewed: Vec<_> = pass.renewed.iter().map(ToString::to_string).collect();
    renewed.sort();
    assert_eq!(renewed, node.all_credentials(), "{}", node.name());
    assert!(
        pass.failed.is_empty() && pass.waiting.is_empty() && pass.not_refreshed.is_empty(),
        "{}: {pass:?}",
        node.name()
    );
    assert_eq!(changed_processes(before, &processes(node)), RESTARTED_SERVICES);
    assert_in_use(node);
    let shown = node.exec("kubecertd check --output wide");
    assert!(!shown.contains("stale"), "{}: {shown}", node.name());
}

/// Lets the certificates of etcd expire soon, while etcd can't reload them.
pub fn make_etcd_need_restart(node: &Node) {
    node.freeze_etcd_certificates();
    for name in ["etcd/peer", "etcd/server"] {
        node.age(name, 10);
    }
}

/// The process id of its member of etcd; empty while it does not run.
pub fn etcd_process(node: &Node) -> String {
    processes(node).remove("etcd").unwrap()
}

/// etcd has to be restarted on all three nodes in the same second. The members are restarted one
/// after the other, each healthy before the next, and no request fails at the load balancer, but
/// for those that are being read at the moment when a member of etcd 3.4 stops. Some wait: until
/// the load balancer leaves out an API server whose etcd is away, it sends requests there.
pub fn etcd_restarts(cluster: &mut Cluster) {
    cluster.try_machine();
    let nodes = cluster.control_plane();
    nodes.into_iter().for_each(make_etcd_need_restart);
    let before = nodes.map(etcd_process);
    cluster.install(&nodes, SECONDS_TO_FIRST_PASS);
    let (meter, members) = (cluster.patient_meter(), cluster.etcd_meter());
    Cluster::on_all(&nodes, |node| {
        let old = &before[CONTROL_PLANE.iter().position(|name| *name == node.name()).unwrap()];
        node.wait_for_pass("by schedule");
        node.wait_for("etcd is restarted", |node| {
            let new = etcd_process(node);
            (!new.is_empty() && new != *old).then_some(())
        });
        node.wait_until_serving("etcd", "etcd/server");
    });
    cluster.wait_until_ready();
    let overlap = longest_overlap(&members.print("etcd restarted on three nodes, member"));
    print_figure(&format!("two members were off at once for {:.2} s", overlap.as_secs_f64()));
    let figures = meter.print("etcd restarted on three nodes");
    for node in nodes {
        let shown = node.exec("kubecertd check --output wide");
        assert!(!shown.contains("stale"), "{}: {shown}", node.name());
    }
    assert_eq!(overlap, Duration::ZERO, "two members were off: quorum was lost");
    let (_, balancer) = &figures[0];
    assert_eq!(balancer.failed, balancer.lost_by_etcd, "{balancer}");
}

/// While a member of etcd is down, no other one is stopped: an alarm says why. The first pass after
/// it is up again restarts the waiting one.
pub fn etcd_waits(cluster: &mut Cluster) {
    let ha1 = cluster.node("ha1");
    make_etcd_need_restart(ha1);
    let old = etcd_process(ha1);
    cluster.install(&[ha1], SECONDS_TO_FIRST_PASS);
    cluster.node("ha3").cut_power();
    let pass = ha1.wait_for_pass("by schedule");
    assert_eq!(pass.renewed.len(), 2, "{pass:?}");
    let alarms = ha1.exec("kubecertd status || true");
    let after = etcd_process(ha1);
    assert_eq!(after, old, "it was not restarted: {pass:?}");
    assert!(
        alarms.contains("etcd has 3 members that vote, and of the others 1 are healthy"),
        "it is said why: {alarms}"
    );

    cluster.node_mut("ha3").boot();
    cluster.wait_until_ready();
    let ha1 = cluster.node("ha1");
    ha1.wait_for("etcd is restarted", |node| {
        node.request_pass();
        let new = etcd_process(node);
        (!new.is_empty() && new != old).then_some(())
    });
    ha1.wait_until_serving("etcd", "etcd/server");
}
