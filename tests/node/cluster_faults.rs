//! Faults in the middle of a turn: the node is cut off, or dies; and a clock that is wrong.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, SECONDS_TO_FIRST_PASS, longest_overlap};
use super::cluster_cases::{etcd_process, make_etcd_need_restart};
use super::harness::Node;
use super::services::{assert_in_use, print_figure};

/// Waits until one of these nodes has stopped its member of etcd, and returns that node. The member
/// takes seconds to be healthy again.
fn wait_for_turn<'n>(nodes: &[&'n Node], before: &[String]) -> &'n Node {
    nodes[0].wait_for("one of them stops its member", |_| {
        let at = (0..nodes.len()).find(|at| etcd_process(nodes[*at]) != before[*at])?;
        Some(nodes[at])
    })
}

/// Waits until kubecertd has restarted etcd. It is asked for a pass now and then, so that its
/// backoff does not count.
fn wait_until_restarted(node: &Node, before: &str) {
    let mut asked = Instant::now();
    node.wait_for("etcd is restarted", |node| {
        if asked.elapsed() > Duration::from_secs(20) {
            node.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
            asked = Instant::now();
        }
        let new = etcd_process(node);
        (!new.is_empty() && new != before).then_some(())
    });
    node.wait_until_serving("etcd", "etcd/server");
}

/// etcd has to be restarted on two nodes. The first one is cut off the network as soon as its
/// member is stopped: the other one waits, until the first is healthy again.
pub fn partition(cluster: &mut Cluster) {
    let nodes = [cluster.node("ha1"), cluster.node("ha2")];
    nodes.into_iter().for_each(make_etcd_need_restart);
    let before = nodes.map(etcd_process);
    cluster.install(&nodes, SECONDS_TO_FIRST_PASS);
    let members = cluster.etcd_meter();
    let first = wait_for_turn(&nodes, &before);
    first.partition();
    let second = nodes[usize::from(nodes[0].name() == first.name())];
    let old = &before[usize::from(second.name() == nodes[1].name())];
    second.wait_for("it waits for the Lease, or refuses", |node| {
        let journal = node.journal("kubecertd");
        let waits = ["has restarted its own", "of the others 1 are healthy"];
        waits.iter().any(|text| journal.contains(text)).then_some(())
    });
    // Longer than the member takes to start, and shorter than a Lease.
    let since = Instant::now();
    second.wait_for("four minutes without a second stop", |_| {
        assert_eq!(etcd_process(second), *old, "stopped while {} is cut off", first.name());
        (since.elapsed() > Duration::from_secs(240)).then_some(())
    });
    first.reconnect();
    for (node, before) in nodes.iter().zip(&before) {
        wait_until_restarted(node, before);
    }
    cluster.wait_until_ready();
    let overlap = longest_overlap(&members.print("cut off in its turn, member"));
    assert_eq!(overlap, Duration::ZERO, "two members were off: quorum was lost");
    for node in nodes {
        assert_in_use(node);
    }
}

/// The node that restarts its member of etcd dies in its turn: the other one does not stop its
/// member, since the quorum would be lost, and says so. When the node is back, both go on, one
/// after the other.
pub fn dead_holder(cluster: &mut Cluster) {
    let nodes = [cluster.node("ha1"), cluster.node("ha2")];
    nodes.into_iter().for_each(make_etcd_need_restart);
    let before = nodes.map(etcd_process);
    cluster.install(&nodes, SECONDS_TO_FIRST_PASS);
    let first = wait_for_turn(&nodes, &before);
    let (first, second) = if first.name() == "ha1" { ("ha1", "ha2") } else { ("ha2", "ha1") };
    cluster.node(first).cut_power();
    let died = Instant::now();
    let at = usize::from(second == "ha2");
    let waits = cluster.node(second);
    // The Lease of a dead node is valid for five minutes.
    waits.wait_for("most of the Lease's time is over", |node| {
        assert_eq!(etcd_process(node), before[at], "stopped while {first} is off");
        (died.elapsed() > Duration::from_secs(240)).then_some(())
    });
    waits.wait_for("it is said why it is not restarted", |node| {
        let shown = node.exec("kubecertd status || true");
        assert_eq!(etcd_process(node), before[at], "stopped while {first} is off");
        shown.contains("of the others 1 are healthy").then_some(())
    });
    print_figure(&format!(
        "holder dead: the other node had the Lease, and refused, after {} s",
        died.elapsed().as_secs()
    ));
    cluster.node_mut(first).boot();
    let members = cluster.etcd_meter();
    cluster.wait_until_ready();
    wait_until_restarted(cluster.node(second), &before[at]);
    cluster.wait_until_ready();
    let figures = members.print("the dead holder is back, member");
    let overlap = longest_overlap(&figures);
    assert_eq!(overlap, Duration::ZERO, "two members were off: quorum was lost");
    for name in [first, second] {
        assert_in_use(cluster.node(name));
    }
}

/// The clock of one node's kubecertd is an hour ahead. It takes no Lease of others, its
/// certificates are valid everywhere, and an alarm tells of the clock.
pub fn clock_ahead(cluster: &mut Cluster) {
    let nodes = [cluster.node("ha1"), cluster.node("ha2")];
    nodes.into_iter().for_each(make_etcd_need_restart);
    let before = nodes.map(etcd_process);
    let ahead = nodes[0];
    let library = "usr/lib/libfaketime.so.1";
    std::fs::copy(FAKETIME, ahead.path(library)).unwrap();
    ahead.write(
        "etc/systemd/system/kubecertd.service.d/clock.conf",
        format!(
            "[Service]\nEnvironment=LD_PRELOAD=/{library} FAKETIME=+3600 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1\n"
        ),
    );
    let seconds = SECONDS_TO_FIRST_PASS;
    cluster.install_by_clocks(&[(nodes[0], seconds + 3_600), (nodes[1], seconds)]);
    let members = cluster.etcd_meter();
    for (node, before) in nodes.iter().zip(&before) {
        wait_until_restarted(node, before);
    }
    cluster.wait_until_ready();
    let overlap = longest_overlap(&members.print("a clock an hour ahead, member"));
    assert_eq!(overlap, Duration::ZERO, "two members were off: quorum was lost");
    nodes.into_iter().for_each(assert_in_use);
    ahead.wait_for_alarm("clock-differs");
}

/// Of Debian's package libfaketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
