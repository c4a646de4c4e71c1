//! A cluster under test: the control-plane nodes ha1, ha2 and ha3 behind a load balancer, and the
//! worker w1. The script `cluster` beside this file makes and starts it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::availability::{Figures, Meter, REQUEST_TIMEOUT};
use super::harness::{Node, schedule_in};
use super::packages;
use super::services::print_figure;

/// The control-plane nodes.
pub const CONTROL_PLANE: [&str; 3] = ["ha1", "ha2", "ha3"];

/// Between two requests of one meter. There are several, and all nodes are on this machine.
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);

/// kube-apiserver's default of `--request-timeout`. kubectl and client-go set no limit of their
/// own.
const APISERVER_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long requests are sent while nothing happens, before a measurement.
const TRIAL: Duration = Duration::from_secs(20);

/// A running cluster.
pub struct Cluster {
    nodes: [Node; 4],
}

impl Cluster {
    /// Makes or starts the cluster where necessary, and restores the state of `kubeadm init` and
    /// `kubeadm join` on all nodes. One that an earlier case left unusable starts anew.
    pub fn prepare() -> Self {
        Self::restored().unwrap_or_else(|reason| {
            println!("the cluster starts anew: {reason}");
            cluster("down");
            Self::restored().unwrap()
        })
    }

    fn restored() -> Result<Self, String> {
        cluster("up");
        let nodes = ["ha1", "ha2", "ha3", "w1"].map(Node::restored);
        for node in nodes.iter().filter(|node| CONTROL_PLANE.contains(&node.name())) {
            node.unfreeze_etcd_certificates();
        }
        // kubelet's backoff for restarted containers can reach minutes.
        nodes.iter().for_each(|node| drop(node.exec("systemctl restart kubelet")));
        try_cluster("ready")?;
        // The reports of the case before say of nodes without kubecertd that they have it.
        let [ha1, ..] = &nodes;
        let removed = ha1.try_exec(
            "kubectl --request-timeout=20s annotate nodes --all kubecertd.example/report-",
        );
        if !removed.status.success() {
            return Err(format!("the reports are not removed: {removed:?}"));
        }
        Ok(Self { nodes })
    }

    /// One of its nodes.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name() == name).unwrap()
    }

    /// One of its nodes, to boot it.
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name() == name).unwrap()
    }

    /// The control-plane nodes.
    pub fn control_plane(&self) -> [&Node; 3] {
        CONTROL_PLANE.map(|name| self.node(name))
    }

    /// Does something on these nodes at the same time, and returns the results in their order.
    pub fn on_all<T: Send>(nodes: &[&Node], action: impl Fn(&Node) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let action = &action;
            let threads: Vec<_> =
                nodes.iter().map(|node| scope.spawn(move || action(node))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// Waits until all nodes are Ready, and all services of the control plane and all members of
    /// etcd healthy.
    pub fn wait_until_ready(&self) {
        cluster("ready");
    }

    /// The control-plane node of the leader of kube-controller-manager or kube-scheduler.
    pub fn leader(&self, service: &str) -> &Node {
        let holder = self.node("ha1").kubectl(&format!(
            "--namespace kube-system get lease {service} -o jsonpath='{{.spec.holderIdentity}}'"
        ));
        self.node(holder.split('_').next().unwrap())
    }

    /// Installs the package of kubecertd on these nodes. Their first scheduled pass begins in the
    /// same second, in this many seconds; until then kubecertd makes no change.
    pub fn install(&self, nodes: &[&Node], seconds: u64) {
        self.install_version("0.1.0", nodes, seconds);
    }

    /// Does the same with the package of this version.
    pub fn install_version(&self, version: &str, nodes: &[&Node], seconds: u64) {
        let nodes: Vec<_> = nodes.iter().map(|node| (*node, seconds)).collect();
        self.install_package(version, &nodes);
    }

    /// The same, where each node's clock shows the time of its pass in so many seconds from now.
    pub fn install_by_clocks(&self, nodes: &[(&Node, u64)]) {
        self.install_package("0.1.0", nodes);
    }

    fn install_package(&self, version: &str, nodes: &[(&Node, u64)]) {
        let all: Vec<&Node> = nodes.iter().map(|(node, _)| *node).collect();
        let packages: Vec<_> = all.iter().map(|node| packages::package(node, version)).collect();
        for (node, seconds) in nodes {
            node.write(DROP_IN, format!("{}spread = \"0s\"\n", schedule_in(*seconds)));
        }
        // One after the other: all nodes of this machine see one control group of the unit, and
        // where two make it at once, one start fails.
        all.iter().for_each(|node| drop(node.exec(&format!("dpkg --install {}", packages[0]))));
        Self::on_all(&all, |node| {
            let pass = node.wait_for_pass("first start on this node");
            assert!(pass.renewed.is_empty() && pass.failed.is_empty(), "{pass:?}");
        });
    }

    /// Installs the package of kubecertd on these nodes, and waits for the first scheduled pass, in
    /// which nothing is due. From then on kubecertd knows the cluster, and works.
    pub fn install_past_first_pass(&self, nodes: &[&Node]) {
        self.install(nodes, SECONDS_TO_FIRST_PASS);
        Self::on_all(nodes, |node| {
            let pass = node.wait_for_pass("by schedule");
            assert!(pass.renewed.is_empty() && pass.failed.is_empty(), "{pass:?}");
        });
    }

    /// Waits until requests to the load balancer arrive: it has noticed which API servers are away.
    pub fn wait_until_balanced(&self) {
        cluster("balanced");
    }

    /// Stops the load balancer.
    pub fn stop_balancer(&self) {
        cluster("unbalance");
    }

    /// Starts the load balancer again.
    pub fn start_balancer(&self) {
        cluster("balance");
    }

    /// Removes it: the next case starts from the copy.
    pub fn remove(&self) {
        cluster("down");
    }

    /// Starts to send requests to the load balancer and to each API server.
    pub fn meter(&self) -> Meters {
        self.meter_of(&self.control_plane())
    }

    /// As [`Self::meter`], by clients that wait as long as an API server lets a request wait for
    /// its etcd.
    pub fn patient_meter(&self) -> Meters {
        self.meter_with_timeout(&self.control_plane(), APISERVER_REQUEST_TIMEOUT)
    }

    /// Starts to send requests to the load balancer and to the API servers of these nodes.
    pub fn meter_of(&self, nodes: &[&Node]) -> Meters {
        self.meter_with_timeout(nodes, REQUEST_TIMEOUT)
    }

    fn meter_with_timeout(&self, nodes: &[&Node], timeout: Duration) -> Meters {
        let first = self.node("ha1");
        let at = |address: &str| Meter::at_apiserver(first, address, REQUEST_INTERVAL, timeout);
        let balancer = ("load balancer", at(BALANCER));
        let servers =
            nodes.iter().map(|node| (node.name(), at(&format!("{}:6443", node.address()))));
        Meters([balancer].into_iter().chain(servers).collect())
    }

    /// Starts to send requests to each member of etcd.
    pub fn etcd_meter(&self) -> Meters {
        Meters(
            self.control_plane()
                .map(|node| (node.name(), Meter::at_etcd(node, REQUEST_INTERVAL)))
                .into_iter()
                .collect(),
        )
    }

    /// Sends requests while nothing happens: see [`Meter::try_machine`].
    pub fn try_machine(&self) {
        let meters = self.meter();
        std::thread::sleep(TRIAL);
        for (server, figures) in meters.stop() {
            assert_eq!(figures.failed, 0, "machine too slow: without kubecertd {server} {figures}");
        }
    }
}

const BALANCER: &str = "10.210.0.10:6443";

/// Enough to install kubecertd on three nodes of a busy machine.
pub const SECONDS_TO_FIRST_PASS: u64 = 45;

const DROP_IN: &str = "etc/kubecertd/kubecertd.d/schedule.toml";

/// Meters of several servers.
pub struct Meters(Vec<(&'static str, Meter)>);

impl Meters {
    /// Stops all, and returns the results with the names of the servers.
    pub fn stop(self) -> Vec<(&'static str, Figures)> {
        self.0.into_iter().map(|(server, meter)| (server, meter.stop())).collect()
    }

    /// Stops all, prints the figures, and returns them.
    pub fn print(self, what: &str) -> Vec<(&'static str, Figures)> {
        let all = self.stop();
        for (server, figures) in &all {
            print_figure(&format!("{what}, {server}: {figures}"));
        }
        all
    }
}

/// The longest time in which two of these servers failed at once.
pub fn longest_overlap(all: &[(&'static str, Figures)]) -> Duration {
    let mut longest = Duration::ZERO;
    for (index, (_, one)) in all.iter().enumerate() {
        for (_, other) in &all[index + 1..] {
            for (a, b) in one.outages.iter().flat_map(|a| other.outages.iter().map(move |b| (a, b)))
            {
                longest = longest.max(a.1.min(b.1).saturating_duration_since(a.0.max(b.0)));
            }
        }
    }
    longest
}

fn cluster(verb: &str) {
    try_cluster(verb).unwrap();
}

fn try_cluster(verb: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/cluster");
    let output = Command::new(script).arg(verb).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("cluster {verb}: {said}")) }
}
