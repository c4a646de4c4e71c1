//! Days in the life of a cluster: logs of pods on all nodes around a renewal, and an upgrade of
//! kubecertd node by node.

use std::time::Duration;

use kubecertd::model::Timestamp;
use kubecertd::report::PassSummary;

use super::cluster::{CONTROL_PLANE, Cluster, SECONDS_TO_FIRST_PASS};
use super::cluster_cases::assert_all_renewed_and_in_use;
use super::common;
use super::harness::{Node, PASS_IN_PROGRESS};
use super::services::{RESTARTED_SERVICES, assert_in_use, print_figure, processes};

/// A pod on the worker, which writes one line and ends. Its logs stay readable.
const WORKER_POD: &str = "kind: Pod
apiVersion: v1
metadata: {name: writer-w1, namespace: kube-system}
spec:
  nodeName: w1
  hostNetwork: true
  restartPolicy: Never
  automountServiceAccountToken: false
  tolerations: [{operator: Exists}]
  containers: [{name: writer, image: \"IMAGE\", imagePullPolicy: Never, command: [etcd, --version]}]
";

/// The pods whose logs are read, one on each node. No renewal restarts etcd.
const PODS: [&str; 4] = ["etcd-ha1", "etcd-ha2", "etcd-ha3", "writer-w1"];

/// Seconds until the old certificates expire, at the first attempt. On a slow machine there are
/// others with more.
const SECONDS_TO_EXPIRY: [i64; 3] = [150, 300, 600];

/// What has to be left of them when the renewal begins.
const SECONDS_LEFT: i64 = 60;

/// How often each log is read in each phase.
const ROUNDS: usize = 2;

/// kubectl logs: how often it was called, and what those calls said that failed.
#[derive(Default)]
struct Calls {
    made: usize,
    failed: Vec<String>,
}

impl Calls {
    /// Reads a log of each node through the API server on this one.
    fn through(cluster: &Cluster, server: &Node) -> Self {
        let client = cluster.node("ha1");
        let mut calls = Self::default();
        for pod in PODS {
            calls.made += 1;
            // The administrator's kubeconfig in use may be replaced meanwhile.
            let output = client.try_exec(&format!(
                "kubectl --kubeconfig /as-made/kubernetes/admin.conf --request-timeout 60s \
                 --server https://{}:6443 --namespace kube-system logs {pod} --tail 1 2>&1",
                server.address()
            ));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() || said.trim().is_empty() {
                calls.failed.push(format!("{pod} through {}: {said}", server.name()));
            }
        }
        calls
    }

    /// Reads a log of each node through each API server, all servers at the same time.
    fn through_all(cluster: &Cluster) -> Self {
        let servers = cluster.control_plane();
        (0..ROUNDS)
            .flat_map(|_| Cluster::on_all(&servers, |server| Self::through(cluster, server)))
            .fold(Self::default(), Self::and)
    }

    fn and(mut self, other: Self) -> Self {
        self.made += other.made;
        self.failed.extend(other.failed);
        self
    }

    /// Prints the figure, and asserts that none failed.
    fn assert_arrived(&self, when: &str) {
        print_figure(&format!(
            "kubectl logs of 4 nodes through 3 API servers {when}: {} of {} calls failed",
            self.failed.len(),
            self.made
        ));
        assert_eq!(self.failed, Vec::<String>::new(), "{when}");
    }
}

/// Runs a pod on the worker, from the image of etcd, which is on all nodes.
fn run_worker_pod(ha1: &Node) {
    ha1.kubectl("--namespace kube-system delete pod writer-w1 --ignore-not-found --now");
    let image =
        "--namespace kube-system get pod etcd-ha1 -o jsonpath='{.spec.containers[0].image}'";
    ha1.write("root/writer.yaml", WORKER_POD.replace("IMAGE", &ha1.kubectl(image)));
    ha1.kubectl("apply -f /root/writer.yaml");
    let phase = "--namespace kube-system get pod writer-w1 -o jsonpath='{.status.phase}'";
    ha1.wait_for("the pod has written its line", |ha1| {
        (ha1.kubectl(phase) == "Succeeded").then_some(())
    });
}

/// The connections of a node's API server to kubelets.
fn connections_to_kubelets(node: &Node) -> usize {
    let shown = node.exec(&format!("ss --tcp --no-header {CONNECTIONS_TO_KUBELETS}"));
    shown.lines().count()
}

const CONNECTIONS_TO_KUBELETS: &str = "state established '( dport = :10250 )'";

/// Lets all certificates expire soon, has the API servers use them on new connections to the
/// kubelets, and reads logs until enough time is left for the renewal. Returns the time of expiry.
fn age_and_read(cluster: &Cluster) -> Timestamp {
    let nodes = cluster.control_plane();
    for seconds in SECONDS_TO_EXPIRY {
        let expiry = common::now().plus(Duration::from_secs(seconds.unsigned_abs()));
        nodes.iter().for_each(|node| node.age_all_seconds(seconds));
        // An API server uses the files that it has read for another second.
        std::thread::sleep(Duration::from_secs(2));
        for node in nodes {
            node.exec(&format!("ss --kill --tcp {CONNECTIONS_TO_KUBELETS} >/dev/null"));
            // Since Kubernetes 1.26.2 the first call with another certificate fails: this was not
            // kubecertd's renewal.
            node.wait_for("logs can be read", |node| {
                Calls::through(cluster, node).failed.is_empty().then_some(())
            });
        }
        Calls::through_all(cluster).assert_arrived("before the renewal");
        if expiry.seconds_since(common::now()) >= SECONDS_LEFT {
            return expiry;
        }
    }
    panic!("machine too slow: the old certificates would expire before the renewal");
}

/// Waits until everything is renewed and in use, and no pass is running.
fn wait_until_renewed(node: &Node) {
    let soon = common::now().plus(Duration::from_secs(100 * 86_400));
    node.wait_for("all is renewed and in use", |node| {
        node.status().filter(|status| status.line != PASS_IN_PROGRESS)?;
        let found = node.usable_credentials();
        let is_renewed = found.len() == node.all_credentials().len()
            && found.values().all(|stored| stored.certificate.not_after > soon);
        let is_in_use = || !node.exec("kubecertd check --output wide || true").contains("stale");
        (is_renewed && is_in_use()).then_some(())
    });
}

/// `kubectl logs` works on all nodes, through each API server: before everything is renewed on all
/// control-plane nodes at once, right after it, and when the old certificates have expired.
///
/// An API server has one set of connections to all kubelets: a first request to one of them is
/// enough for all, and the connections to the kubelets of other nodes are closed, too.
pub fn logs_of_all_nodes(cluster: &mut Cluster) {
    let nodes = cluster.control_plane();
    cluster.install(&nodes, SECONDS_TO_FIRST_PASS);
    run_worker_pod(cluster.node("ha1"));
    for node in nodes {
        let pass = node.wait_for_pass("by schedule");
        assert!(pass.renewed.is_empty() && pass.failed.is_empty(), "{pass:?}");
        // That pass may have restarted services: kubelet's backoff would delay the next restarts.
        node.exec("systemctl stop kubecertd && systemctl restart kubelet");
    }

    let expiry = age_and_read(cluster);
    for node in nodes {
        let open = connections_to_kubelets(node);
        assert!(open >= PODS.len(), "{}: {open} connections with the old one", node.name());
    }
    // All nodes of this machine see one control group of the unit: systemd on one can remove what
    // systemd on another has just made, and then the start fails.
    for node in nodes {
        let start = |node: &Node| node.try_exec("systemctl start kubecertd").status.success();
        node.wait_for("the daemon is started", |node| start(node).then_some(()));
    }
    let calls = Cluster::on_all(&nodes, |node| {
        wait_until_renewed(node);
        Calls::through(cluster, node)
    });
    let first = calls.into_iter().fold(Calls::default(), Calls::and);
    first.assert_arrived("right after the renewal on the server's own node");
    Calls::through_all(cluster).assert_arrived("right after the renewal on all nodes");
    for node in nodes {
        let journal = node.journal("kubecertd");
        assert!(!journal.contains("may fail once"), "{}: {journal}", node.name());
        let is_closed = |line: &&str| line.contains("connections that carried the old certificate");
        let closed = journal.lines().rfind(is_closed).unwrap_or("no connection was closed");
        print_figure(&format!("{}: {closed}", node.name()));
    }

    nodes[0].wait_for("the old certificates expire", |_| {
        (common::now() > expiry.plus(Duration::from_secs(20))).then_some(())
    });
    Calls::through_all(cluster).assert_arrived("past the expiry of the old certificates");
    nodes.into_iter().for_each(assert_in_use);
}

/// Waits for the scheduled pass on these nodes, where everything is due, and asserts that it is
/// renewed and in use, and that no request failed meanwhile.
fn renew<const COUNT: usize>(
    cluster: &Cluster,
    nodes: [&Node; COUNT],
    version: &str,
    what: &str,
) -> Vec<PassSummary> {
    nodes.into_iter().for_each(|node| node.age_all(10));
    let before = nodes.map(processes);
    cluster.install_version(version, &nodes, SECONDS_TO_FIRST_PASS);
    let meter = cluster.meter();
    let passes = Cluster::on_all(&nodes, |node| node.wait_for_pass("by schedule"));
    // Failures shortly after the passes count too.
    std::thread::sleep(Duration::from_secs(5));
    let figures = meter.print(what);
    cluster.wait_until_ready();
    for ((node, pass), before) in nodes.iter().zip(&passes).zip(&before) {
        assert_all_renewed_and_in_use(node, pass, before);
    }
    for (server, figures) in &figures {
        assert_eq!(figures.failed, 0, "{server}: {figures}");
    }
    passes
}

/// When a service of a node was stopped since a pass began, and started again: by the status of its
/// pod, in whole seconds.
fn restart(ha1: &Node, node: &Node, service: &str, since: Timestamp) -> (String, String) {
    let path = "{.lastState.terminated.finishedAt} {.state.running.startedAt}";
    let path = path.replace("{.", "{.status.containerStatuses[0].");
    let query =
        format!("--namespace kube-system get pod {service}-{} -o jsonpath='{path}'", node.name());
    ha1.wait_for(&format!("{service} of {} is known to be restarted", node.name()), |ha1| {
        let shown = ha1.kubectl(&query);
        let (stopped, started) = shown.split_once(' ')?;
        let is_it = stopped >= since.to_string().as_str() && started >= stopped;
        is_it.then(|| (stopped.to_owned(), started.to_owned()))
    })
}

/// Asserts that one service at a time was down in all the passes.
fn assert_restarted_in_turn(ha1: &Node, nodes: &[&Node], passes: &[PassSummary]) {
    let mut restarts: Vec<_> = nodes
        .iter()
        .zip(passes)
        .flat_map(|(node, pass)| RESTARTED_SERVICES.map(|service| (*node, service, pass.began)))
        .map(|(node, service, since)| {
            (restart(ha1, node, service, since), format!("{service} of {}", node.name()))
        })
        .collect();
    restarts.sort();
    for two in restarts.windows(2) {
        let [((_, started), _), ((stopped, _), _)] = two else { unreachable!() };
        assert!(stopped >= started, "one after the other: {restarts:?}");
    }
}

/// The exit code and text of `kubecertd status --cluster`, once it contains all of these parts.
fn wait_for_cluster_status(ha1: &Node, options: &str, parts: &[&str]) -> (i32, String) {
    let mut last = String::new();
    ha1.wait_for("kubecertd status --cluster is as expected", |ha1| {
        let output = ha1.try_exec(&format!("kubecertd status --cluster {options}"));
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        if shown != last {
            // For the output of a failed case.
            println!("{shown}{}", String::from_utf8_lossy(&output.stderr));
            last.clone_from(&shown);
        }
        let is_shown = parts.iter().all(|part| shown.contains(part));
        is_shown.then_some((output.status.code().unwrap(), shown))
    })
}

/// The columns of a node's row.
fn row(screen: &str, node: &str) -> Vec<String> {
    let mut rows = screen.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
    rows.find(|row: &Vec<String>| row.first().is_some_and(|name| name == node)).unwrap()
}

/// kubecertd is installed on two control-plane nodes, then on the third one in an older version:
/// each has everything due. Restarts are in turn, no request fails, and `status --cluster` shows
/// which node lags.
pub fn mixed_versions(cluster: &mut Cluster) {
    let [ha1, ha2, ha3] = cluster.control_plane();
    let passes = renew(cluster, [ha1, ha2], "0.2.0", "renewed on two nodes of three");
    assert_restarted_in_turn(ha1, &[ha1, ha2], &passes);
    let fine = "2 control-plane nodes are fine; 1 worker is without kubecertd.";
    let (code, shown) = wait_for_cluster_status(ha1, "", &["1 node needs attention of 4", fine]);
    assert_eq!(code, 3, "{shown}");
    let without = ["ha3", "control-plane", "-", "-", "-", "without", "kubecertd"];
    assert_eq!(row(&shown, "ha3"), without, "{shown}");

    let passes = renew(cluster, [ha3], "0.1.0", "renewed by an older version on the third node");
    assert_restarted_in_turn(ha1, &[ha3], &passes);
    let fine = "3 control-plane nodes are fine; 1 worker is without kubecertd.";
    let versions = "Nodes run different versions of kubecertd\n  0.2.0 on ha1, ha2; 0.1.0 on ha3\n";
    let parts = ["No node needs attention of 4", fine, versions];
    let (code, shown) = wait_for_cluster_status(ha1, "", &parts);
    assert_eq!(code, 0, "{shown}");
    let (_, shown) = wait_for_cluster_status(ha1, "--output wide", &parts);
    for (node, version) in CONTROL_PLANE.into_iter().zip(["0.2.0", "0.2.0", "0.1.0"]) {
        assert_eq!(row(&shown, node)[2], version, "{shown}");
    }
    assert_eq!(row(&shown, "w1")[1..], ["worker", "-", "-", "-", "without", "kubecertd"]);
}
