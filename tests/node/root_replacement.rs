//! The root CA of a node is replaced, without a failed request.

use std::time::Instant;

use kubecertd::formats::x509::{Certificate, certificates};

use super::availability::Meter;
use super::common::CA_CRT;
use super::harness::Node;
use super::services::{print_figure, processes};

const NAME: &str = "kubecertd-new";
const ADDRESS: &str = "10.210.0.7";

/// A node of its own: its root CA is another one in the end.
fn fresh(algorithm: &str) -> Node {
    let node = Node::fresh(NAME, ADDRESS);
    node.init(algorithm, &format!("{ADDRESS}:6443"));
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    let node = node.kept();
    node.install_past_first_pass();
    node
}

/// By a root CA with a new key, by itself up to the last level, which the operator orders.
pub fn by_new_key(_: &mut Node) {
    let node = fresh("rsa");
    let old = roots(&node).remove(0);
    let before = processes(&node);
    let knows_old = Meter::that_trusts(&node, std::slice::from_ref(&old));
    let began = Instant::now();
    let shown = node.exec("kubecertd ca rotate start --subject CN=kubernetes-2");
    assert!(shown.contains("CN=kubernetes-2"), "{shown}");
    let new = roots_of_rotation(&node);
    let knows_both = Meter::that_trusts(&node, &[old.clone(), new.clone()]);
    wait_for_level(&node, "All certificates are of the new root CA");
    print_figure(&format!("servers after {:.0} s", began.elapsed().as_secs_f64()));
    node.assert_accepted();
    // Clients of the new root alone: with the bridge behind its certificate, the API server is
    // verified by both.
    let knows_new = Meter::as_administrator_now(&node, std::slice::from_ref(&new));
    let knows_all = Meter::as_administrator_now(&node, &[old, new.clone()]);
    for (what, meter) in [("old", knows_old), ("both, with an old certificate", knows_both)] {
        let figures = meter.stop();
        print_figure(&format!("a client that knows the {what}: {figures}"));
        assert_eq!(figures.failed, 0, "{what}: {figures}");
    }
    let began = Instant::now();
    node.exec("kubecertd ca rotate complete");
    node.wait_for("the rotation is over", |node| {
        let found = node.try_exec("kubectl -n kube-system get configmap kubecertd-root-ca");
        (!found.status.success()).then_some(())
    });
    print_figure(&format!("complete after {:.0} s", began.elapsed().as_secs_f64()));
    assert_eq!(roots(&node), [new]);
    node.assert_accepted();
    for (what, meter) in [("new", knows_new), ("both, with a new certificate", knows_all)] {
        let figures = meter.stop();
        print_figure(&format!("a client that knows the {what}: {figures}"));
        assert_eq!(figures.failed, 0, "{what}: {figures}");
    }
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    let _ = before;
    node.remove_machine();
}

/// Waits until a level is reached, and shows what is waited for where it is not.
fn wait_for_level(node: &Node, text: &str) {
    node.wait_for(text, |node| {
        let shown = node.try_exec("kubecertd ca rotate status");
        String::from_utf8_lossy(&shown.stdout).contains(text).then_some(())
    });
}

fn roots(node: &Node) -> Vec<Certificate> {
    certificates(&node.read(CA_CRT)).unwrap()
}

/// The new root, as the cluster announces it.
fn roots_of_rotation(node: &Node) -> Certificate {
    let text = node.kubectl(
        "-n kube-system get configmap kubecertd-root-ca -o jsonpath='{.data.intent\\.json}'",
    );
    let intent: serde_json::Value = serde_json::from_str(&text).unwrap();
    certificates(intent["new"].as_str().unwrap().as_bytes()).unwrap().remove(0)
}
