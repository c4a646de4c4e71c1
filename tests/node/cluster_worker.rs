//! kubelet's client certificate has expired on the worker of a cluster: the commands that the alarm
//! names give it another one.

use std::process::Output;

use super::cluster::Cluster;
use super::harness::Node;
use super::packages;
use super::services::print_figure;

/// The directory in which an operator runs the commands.
const HOME: &str = "root";

fn run(node: &Node, command: &str) -> Output {
    node.try_exec(&format!("cd /{HOME} && {command}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn assert_succeeds(node: &Node, command: &str) -> String {
    let output = run(node, command);
    assert!(output.status.success(), "{}: {command}: {}", node.name(), text(&output));
    text(&output)
}

/// Asserts that a control-plane node signs nothing, for this reason.
fn assert_refused(control_plane: &Node, command: &str, reason: &str) {
    let output = run(control_plane, command);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(1), "{command}: {shown}");
    assert!(shown.contains(reason), "{command}: {reason:?} is not in {shown}");
    assert!(!shown.contains("-----BEGIN CERT"), "{command}: {shown}");
}

/// Copies a file from node to node, as an operator does.
fn copy(from: &Node, to: &Node, file: &str) {
    to.write(&format!("{HOME}/{file}"), from.read(&format!("{HOME}/{file}")));
}

/// Whether the worker is Ready, as a control-plane node sees it.
fn is_ready(control_plane: &Node, worker: &Node) -> bool {
    let path = "{.status.conditions[?(@.type==\"Ready\")].status}";
    let shown = control_plane.kubectl(&format!("get node {} -o jsonpath='{path}'", worker.name()));
    shown == "True"
}

/// The names in the first column of the first table that `check` prints.
fn watched(check: &str) -> Vec<&str> {
    let rows = check.lines().skip(1).take_while(|line| !line.is_empty());
    rows.map(|row| row.split(' ').next().unwrap()).collect()
}

/// The commands that an alarm says to run.
fn commands(alarm: &str) -> Vec<&str> {
    let (_, to_do) = alarm.split_once("To do:").unwrap();
    to_do.split('`').skip(1).step_by(2).collect()
}

/// Makes a request on a node, with a key of its own and any name, as any root user can.
fn request_for(node: &Node, name: &str, file: &str) {
    assert_succeeds(
        node,
        &format!(
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout \
             {file}.key -out {file} -subj /O=system:nodes/CN=system:node:{name}"
        ),
    );
}

fn kubelet_process(node: &Node) -> String {
    node.exec("systemctl show kubelet --property MainPID --value")
}

/// The package chooses the worker's profile by itself. When kubelet can't log in any more, the
/// alarm names three commands: they are run as they stand, and the worker is Ready again. Requests
/// for other Nodes are refused.
pub fn signed_certificate(cluster: &mut Cluster) {
    let (ha1, w1) = (cluster.node("ha1"), cluster.node("w1"));
    let package = packages::package(ha1, "0.1.0");
    packages::package(w1, "0.1.0");
    Cluster::on_all(&[ha1, w1], |node| {
        node.exec(&format!("dpkg --install {package}"));
        let pass = node.wait_for_pass("first start on this node");
        assert!(pass.renewed.is_empty() && pass.failed.is_empty(), "{}: {pass:?}", node.name());
    });
    let check = assert_succeeds(w1, "kubecertd check");
    assert_eq!(watched(&check), ["kubelet-client", "kubelet-serving"], "{check}");
    for other in ["etcd", "apiserver", "front-proxy", "absent", "scheduler"] {
        assert!(!check.contains(other), "{other}: {check}");
    }
    let shown = assert_succeeds(w1, "kubecertd config show");
    assert!(shown.contains("# profile worker: no static pod manifest, "), "{shown}");

    ha1.age_kubelet_of(w1, "w1", -30);
    w1.exec("systemctl restart kubelet");
    let alarm = w1.wait_for_alarm("CRITICAL expired (500.210)");
    let named = commands(&alarm);
    let [request, sign, install] = named[..] else { panic!("three commands: {alarm}") };
    for command in [request, sign, install] {
        let page = include_str!("../../docs/workers.md");
        assert!(page.contains(&format!("# {command}\n")), "{command} is not in docs/workers.md");
    }
    ha1.wait_for("w1 is not Ready", |ha1| (!is_ready(ha1, w1)).then_some(()));

    assert_succeeds(w1, request);
    copy(w1, ha1, "w1.csr");
    assert_refused(
        ha1,
        "kubecertd sign --node ha1 w1.csr",
        "the request is for CN=system:node:w1,O=system:nodes",
    );
    request_for(w1, "ha1", "ha1.csr");
    copy(w1, ha1, "ha1.csr");
    assert_refused(
        ha1,
        "kubecertd sign --node w1 ha1.csr",
        "a certificate is signed only for exactly CN=system:node:w1",
    );
    request_for(w1, "w9", "w9.csr");
    copy(w1, ha1, "w9.csr");
    assert_refused(ha1, "kubecertd sign --node w9 w9.csr", "the cluster has no Node w9, says ");

    assert_succeeds(ha1, sign);
    copy(ha1, w1, "w1.crt");
    let begin = std::time::Instant::now();
    let installed = assert_succeeds(w1, install);
    assert!(installed.contains("installed kubelet-client: valid until "), "{installed}");
    ha1.wait_for("w1 is Ready again", |ha1| is_ready(ha1, w1).then_some(()));
    print_figure(&format!(
        "the worker was Ready {:.0} s after the installation began",
        begin.elapsed().as_secs_f64()
    ));

    // The daemon's own pass because of the changed files may come first.
    w1.request_pass();
    let kubelet = kubelet_process(w1);
    let pass = w1.request_pass();
    assert!(
        pass.renewed.is_empty() && pass.refreshed.is_empty() && pass.not_refreshed.is_empty(),
        "{pass:?}"
    );
    assert!(pass.failed.is_empty() && pass.waiting.is_empty(), "{pass:?}");
    assert_eq!(kubelet_process(w1), kubelet, "kubelet is not restarted again");
    for command in ["kubecertd check", "kubecertd alarms"] {
        let shown = assert_succeeds(w1, command);
        assert!(!shown.contains("expired"), "{command}: {shown}");
    }
    ha1.wait_for("its report says that it is fine", |ha1| {
        let shown = ha1.try_exec("kubecertd status --cluster --output wide");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let row = shown.lines().find(|line| line.starts_with("w1 "))?;
        (row.contains(" worker ") && row.trim_end().ends_with(" fine")).then_some(())
    });
}
