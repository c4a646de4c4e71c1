//! Control-plane nodes that were off until their certificates had expired: one of three, or all.

use std::time::Instant;

use super::cluster::Cluster;
use super::harness::Node;
use super::services::{assert_in_use, print_figure};

/// Lets everything expire on a node while kubecertd does not run, kubelet's certificate too if
/// `kubelet`, and cuts its power.
fn switch_off(node: &Node, days_since_expiry: i64, kubelet: bool) {
    node.exec("systemctl stop kubecertd");
    node.age_all(-days_since_expiry);
    if kubelet {
        node.age("kubelet-client", -days_since_expiry);
    }
    node.cut_power();
}

/// Boots the nodes at the same time.
fn boot(cluster: &mut Cluster, names: &[&str]) {
    for name in names {
        cluster.node_mut(name).boot();
    }
}

/// Waits until kubecertd has nothing left to do on these nodes, and all that was renewed is in use.
fn assert_recovered(cluster: &Cluster, nodes: &[&Node]) {
    cluster.wait_until_ready();
    for node in nodes {
        node.wait_for("a pass without failures", |node| {
            node.status()?.last_pass.filter(|last| {
                last.failed.is_empty()
                    && last.waiting.is_empty()
                    && last.not_refreshed.is_empty()
                    && last.trouble.is_none()
            })
        });
        assert_in_use(node);
        node.exec("kubecertd check");
    }
}

/// One node was off until 9 days after the expiry of its certificates, and again until 31 days
/// after it. The others list its member of etcd, so it recovers by itself both times, and no
/// request to the rest of the cluster fails.
pub fn one_node_returns(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    for days in [9, 31] {
        switch_off(cluster.node("ha2"), days, true);
        cluster.wait_until_balanced();
        let meters = cluster.meter_of(&[cluster.node("ha1"), cluster.node("ha3")]);
        let booted = Instant::now();
        boot(cluster, &["ha2"]);
        assert_recovered(cluster, &[cluster.node("ha2")]);
        print_figure(&format!(
            "one node {days} days after expiry: works again {} s after its boot began",
            booted.elapsed().as_secs()
        ));
        for (server, figures) in meters.print(&format!("one node back after {days} days")) {
            assert_eq!(figures.failed, 0, "{server}: {figures}");
        }
    }
}

/// A node was off until 31 days after the expiry of its certificates, and its member was removed
/// from etcd meanwhile: nothing is renewed, and the alarm says why.
pub fn removed_node_stays_out(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    switch_off(cluster.node("ha2"), 31, true);
    cluster.node("ha1").exec(
        "etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints https://127.0.0.1:2379 --cacert \
         /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/peer.crt --key \
         /etc/kubernetes/pki/etcd/peer.key \"$@\"; }
         id=$(etcdctl member list | sed -n 's/, .*ha2.*//p') && etcdctl member remove \"$id\"",
    );
    boot(cluster, &["ha2"]);
    let ha2 = cluster.node("ha2");
    let said = ha2.wait_for_alarm("not-revived");
    assert!(
        said.matches("does not list it").count() == 2 && said.contains("kubeadm reset"),
        "{said}"
    );
    let pass = ha2.request_pass();
    assert!(pass.renewed.is_empty() && !pass.waiting.is_empty(), "{pass:?}");
    // The cluster is not what it was: the next case starts from the copy.
    cluster.remove();
}

/// All nodes were off until this many days after the expiry of all certificates; `kubelets` says
/// whether kubelet's had expired too. They recover without a human.
fn all_return(cluster: &mut Cluster, days: i64, kubelets: bool) {
    let names = ["ha1", "ha2", "ha3"];
    cluster.install_past_first_pass(&cluster.control_plane());
    Cluster::on_all(&cluster.control_plane(), |node| switch_off(node, days, kubelets));
    cluster.node("w1").cut_power();
    let booted = Instant::now();
    boot(cluster, &names);
    boot(cluster, &["w1"]);
    assert_recovered(cluster, &cluster.control_plane());
    print_figure(&format!(
        "all nodes {days} days after expiry: all work again {} s after the first boot began",
        booted.elapsed().as_secs()
    ));
}

pub fn all_return_after_10_days(cluster: &mut Cluster) {
    all_return(cluster, 10, true);
}

/// kubelets renew their certificates themselves at other times than the rest: these are valid. So
/// etcd runs everywhere, with expired certificates, and each member tells that it lists the others.
pub fn all_return_after_40_days(cluster: &mut Cluster) {
    all_return(cluster, 40, false);
}

/// kubelets' certificates have expired too, so no etcd runs that could be asked. The operator's
/// word on two nodes is enough for all three.
pub fn operator_revives_two_of_three(cluster: &mut Cluster) {
    cluster.install_past_first_pass(&cluster.control_plane());
    Cluster::on_all(&cluster.control_plane(), |node| switch_off(node, 40, true));
    boot(cluster, &["ha1", "ha2", "ha3"]);
    for node in cluster.control_plane() {
        let said = node.wait_for_alarm("not-revived");
        let first = said.split("\n\n").next().unwrap_or_default();
        assert!(
            first.contains("not-revived")
                && first.contains("kubecertd renew --include-long-expired"),
            "the first alarm tells what to do: {said}"
        );
        assert_eq!(
            said.matches("--include-long-expired").count(),
            first.matches("--include-long-expired").count(),
            "it alone does: {said}"
        );
        assert!(node.status().unwrap().last_pass.unwrap().renewed.is_empty());
    }
    let begun = Instant::now();
    for name in ["ha1", "ha2"] {
        // Services that need the other member are not healthy yet: the exit code says so.
        drop(cluster.node(name).try_exec("kubecertd renew --include-long-expired"));
    }
    assert_recovered(cluster, &cluster.control_plane());
    print_figure(&format!(
        "all nodes and kubelets 40 days after expiry: all work again {} s after the word on two",
        begun.elapsed().as_secs()
    ));
}
