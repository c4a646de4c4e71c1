//! The root CA of a node is replaced, without a failed request.

use std::time::{Duration, Instant};

use kubecertd::formats::x509::{Certificate, certificates};
use kubecertd::model::Digest;

use super::availability::{Client, Meter};
use super::common::{CA_CRT, CA_KEY};
use super::extension::{self, Extension};
use super::harness::Node;
use super::recovery::is_ready_since_boot;
use super::services::print_figure;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-controller-manager.yaml";

const FRONT_PROXY_CRT: &str = "etc/kubernetes/pki/front-proxy-ca.crt";
const FRONT_PROXY_KEY: &str = "etc/kubernetes/pki/front-proxy-ca.key";

const SIGNING_FLAG: &str = "kubecertd-signing.crt";

/// The timeout of a wait for several levels of a rotation. Each restarts programs, one after
/// another; all together take four minutes on a quiet machine.
pub const ROTATION_TIMEOUT: Duration = Duration::from_secs(900);

/// Makes a root of a company, its certificate and its key in one file.
const MAKE_ROOT: &str = "umask 077; cd /root; openssl req -x509 -newkey ec -pkeyopt \
    ec_paramgen_curve:P-384 -nodes -keyout key.pem -out crt.pem -days 3650 -sha384 \
    -subj '/DC=com/DC=example/O=Example Company/CN=Clusters' -addext \
    'keyUsage = critical, keyCertSign, cRLSign' 2>/dev/null; cat crt.pem key.pem >company.pem";

/// A node of its own: its root CA is another one in the end.
pub fn fresh(name: &'static str, address: &str, algorithm: &str) -> Node {
    let node = Node::fresh(name, address);
    node.init(algorithm, &format!("{address}:6443"));
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    let node = node.kept();
    node.install_past_first_pass();
    node
}

/// By a root CA with a new key, by itself up to the last level, which the operator orders. Requests
/// go to the API server, and through it to an aggregated one.
pub fn by_new_key(_: &mut Node) {
    let node = fresh("kubecertd-new", "10.210.0.7", "rsa");
    let extension = Extension::start(&node);
    extension.follow(&node, || replaced_by_new_key(&node));
    assert_eq!(extension.stop(), Vec::<String>::new());
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    node.remove_machine();
}

fn replaced_by_new_key(node: &Node) {
    let old = roots(node).remove(0);
    let knows_old = Meter::that_trusts(node, std::slice::from_ref(&old));
    let aggregated = Client::administrator(node).asking(extension::PATH, extension::EXPECTED);
    let aggregated = Meter::as_client(aggregated);
    let began = Instant::now();
    let shown = node.exec("kubecertd ca rotate start --subject CN=kubernetes-2");
    assert!(shown.contains("CN=kubernetes-2"), "{shown}");
    let new = root_of_rotation(node);
    let [old_front_proxy, new_front_proxy] = front_proxies_of_rotation(node);
    assert_eq!(front_proxy_file(node), [old_front_proxy]);
    let knows_both = Meter::that_trusts(node, &[old.clone(), new.clone()]);
    wait_for_rotation(node, "All certificates are of the new root CA");
    print_figure(&format!("servers after {:.0} s", began.elapsed().as_secs_f64()));
    node.assert_accepted();
    assert!(node.certificate("front-proxy-client").verifies_by(&new_front_proxy));
    assert_eq!(extension::published(node).unwrap().len(), 2);
    // Clients of the new root alone: with the bridge behind its certificate, the API server is
    // verified by both.
    let knows_new = Meter::as_administrator_now(node, std::slice::from_ref(&new));
    let all = [old, new.clone()];
    let knows_all = Meter::as_administrator_now(node, &all);
    assert_none_failed([
        ("a client that knows the old", knows_old),
        ("a client that knows both, with an old certificate", knows_both),
        ("an aggregated API", aggregated),
    ]);
    let aggregated = Client::administrator_now(node, &all);
    let aggregated = aggregated.asking(extension::PATH, extension::EXPECTED);
    let aggregated = Meter::as_client(aggregated);
    let began = Instant::now();
    node.exec("kubecertd ca rotate complete");
    wait_until_over(node);
    print_figure(&format!("complete after {:.0} s", began.elapsed().as_secs_f64()));
    assert_eq!(roots(node), [new]);
    let published = extension::published(node).unwrap();
    assert_eq!(front_proxy_file(node), published);
    assert_eq!(published, [new_front_proxy]);
    let kept = node.exec("ls /var/lib/kubecertd/rotation");
    assert_eq!(kept, "old.key\n");
    node.assert_accepted();
    assert_none_failed([
        ("a client that knows the new", knows_new),
        ("a client that knows both, with a new certificate", knows_all),
        ("an aggregated API, from then on", aggregated),
    ]);
}

/// Stops these clients, and prints their figures.
fn assert_none_failed(meters: [(&str, Meter); 3]) {
    for (what, meter) in meters {
        let figures = meter.stop();
        print_figure(&format!("{what}: {figures}"));
        assert_eq!(figures.failed, 0, "{what}: {figures}");
    }
}

/// The certificates in front-proxy-ca.crt.
pub fn front_proxy_file(node: &Node) -> Vec<Certificate> {
    certificates(&node.read(FRONT_PROXY_CRT)).unwrap()
}

/// The old and the new CA of the front proxy, as the cluster announces them.
fn front_proxies_of_rotation(node: &Node) -> [Certificate; 2] {
    let intent = intent_of_rotation(node);
    ["old", "new"].map(|name| {
        let pem = intent["front_proxy"][name].as_str().unwrap();
        certificates(pem.as_bytes()).unwrap().remove(0)
    })
}

/// Waits until the status of a rotation has this text.
pub fn wait_for_rotation(node: &Node, text: &str) {
    node.wait_within(ROTATION_TIMEOUT, text, |node| status_has(node, text).then_some(()));
}

/// Whether the status of a rotation has this text, with one space between columns.
pub fn status_has(node: &Node, text: &str) -> bool {
    let shown = node.try_exec("kubecertd ca rotate status");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let words: Vec<_> = shown.split_whitespace().collect();
    words.join(" ").contains(text)
}

/// The certificates in ca.crt.
pub fn roots(node: &Node) -> Vec<Certificate> {
    certificates(&node.read(CA_CRT)).unwrap()
}

fn intent_of_rotation(node: &Node) -> serde_json::Value {
    let text = node.kubectl(
        "-n kube-system get configmap kubecertd-root-ca -o jsonpath='{.data.intent\\.json}'",
    );
    serde_json::from_str(&text).unwrap()
}

/// The new root, as the cluster announces it.
pub fn root_of_rotation(node: &Node) -> Certificate {
    let intent = intent_of_rotation(node);
    certificates(intent["new"].as_str().unwrap().as_bytes()).unwrap().remove(0)
}

/// The operator orders each level, by a root CA of a company, and undoes it on the way, and again
/// when the old root is distrusted already. The power is cut meanwhile.
pub fn undone(_: &mut Node) {
    let mut node = fresh("kubecertd-back", "10.210.0.8", "ecdsa");
    let files = [CA_CRT, CA_KEY, FRONT_PROXY_CRT, FRONT_PROXY_KEY, MANIFEST];
    let before = files.map(|file| node.text(file));
    let old = roots(&node).remove(0);
    node.exec(MAKE_ROOT);
    let knows_old = Meter::that_trusts(&node, std::slice::from_ref(&old));
    let options = "--step --certificate /root/company.pem";
    let planned = node.exec(&format!("kubecertd ca rotate plan {options}"));
    assert!(planned.contains("ConfigMap kube-public/cluster-info: gets both"), "{planned}");
    node.exec(&format!("kubecertd ca rotate start {options}"));
    wait_for_rotation(&node, "All nodes have level staged");
    for level in ["trusted", "clients"] {
        node.exec("kubecertd ca rotate step");
        wait_for_rotation(&node, &format!("All nodes have level {level}"));
    }
    let early = node.try_exec("kubecertd ca rotate complete");
    assert!(!early.status.success(), "{early:?}");
    go_back(&node);
    assert_eq!(files.map(|file| node.text(file)), before);
    node.assert_accepted();
    let figures = knows_old.stop();
    print_figure(&format!("a client that knows the old: {figures}"));
    assert_eq!(figures.failed, 0, "{figures}");

    node.exec("kubecertd ca rotate start --certificate /root/company.pem");
    node.wait_within(ROTATION_TIMEOUT, "the new root issues certificates", |node| {
        let admin = node.certificate("admin.conf");
        (!admin.verifies_by(&old)).then_some(())
    });
    node.power_cut(|_| ());
    node.wait_for("it is Ready again", |node| is_ready_since_boot(node).then_some(()));
    wait_for_rotation(&node, "All certificates are of the new root CA");
    node.assert_accepted();
    go_back_from_the_end(&node, &old);
    assert_eq!(files.map(|file| node.text(file)), before);
    node.assert_accepted();
    node.remove_machine();
}

/// The operator turns back when this node distrusts the old root, and another one is not so far
/// yet.
fn go_back_from_the_end(node: &Node, old: &Certificate) {
    let new = root_of_rotation(node);
    node.exec("kubecertd ca rotate complete");
    node.wait_within(ROTATION_TIMEOUT, "the new root alone is in ca.crt", |node| {
        (roots(node) == [new.clone()]).then_some(())
    });
    let late = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"late"}}"#;
    node.exec(&format!("echo '{late}' | kubectl create -f -"));
    // This node has the last level, and waits for the other one.
    wait_for_rotation(node, "1 of 2 nodes");
    node.assert_accepted();
    let knows_new = Meter::as_administrator_now(node, std::slice::from_ref(&new));
    node.exec("kubecertd ca rotate back && kubectl delete node late");
    // Up to here it can verify the API server, and has to be accepted.
    node.wait_within(ROTATION_TIMEOUT, "certificates are of the old root again", |node| {
        node.certificate("apiserver").verifies_by(old).then_some(())
    });
    let figures = knows_new.stop();
    print_figure(&format!("a client that knows the new: {figures}"));
    assert_eq!(figures.failed, 0, "{figures}");
    wait_until_over(node);
}

/// kubeadm refuses to renew a certificate that has a bridge behind it, and stops there; what comes
/// before is renewed.
fn renew_by_kubeadm(node: &Node) {
    let renewed = node.try_exec("kubeadm certs renew all");
    let text = String::from_utf8_lossy(&[renewed.stdout, renewed.stderr].concat()).into_owned();
    let stopped = text.contains("wanted exactly one certificate, got 2");
    assert!(renewed.status.success() || stopped, "{text}");
    assert!(text.contains("certificate embedded in the kubeconfig file for the admin"), "{text}");
}

/// A worker joins by the hash of a root. It gets both, and the rotation waits for it until its Node
/// is deleted.
fn join_by(node: &Node, root: &Certificate) {
    let worker = joined_by(node, root);
    wait_for_rotation(node, "kubecertd-way - no report: does kubecertd run there?");
    leave(node, worker);
}

/// A worker that has joined by the hash of a root. It has what the node has in ca.crt.
fn joined_by(node: &Node, root: &Certificate) -> Node {
    let worker = Node::fresh("kubecertd-way", "10.210.0.22");
    let hash = format!("sha256:{}", Digest::of(root.public_key_der()));
    worker.join(&[
        "10.210.0.9:6443",
        "--token",
        "abcdef.0123456789abcdef",
        "--discovery-token-ca-cert-hash",
        &hash,
        "--node-name",
        "kubecertd-way",
        "--cri-socket",
        "unix:///run/containerd/containerd.sock",
    ]);
    assert_eq!(roots(&worker), roots(node));
    worker
}

fn leave(node: &Node, worker: Node) {
    node.exec("kubectl delete node kubecertd-way");
    worker.remove_machine();
}

/// Undoes a rotation.
fn go_back(node: &Node) {
    node.exec("kubecertd ca rotate back");
    wait_until_over(node);
}

pub fn wait_until_over(node: &Node) {
    node.wait_within(ROTATION_TIMEOUT, "the rotation is over", |node| is_over(node).then_some(()));
}

/// Whether the order is removed, which the API server has to say.
pub fn is_over(node: &Node) -> bool {
    let found = node
        .try_exec("kubectl --request-timeout=20s -n kube-system get configmap kubecertd-root-ca");
    String::from_utf8_lossy(&found.stderr).contains("NotFound")
}

/// kubeadm works on the node in the middle: it issues certificates, and writes the manifest again,
/// with the flags of its configuration and without them.
pub fn kubeadm_in_the_middle(_: &mut Node) {
    let node = fresh("kubecertd-mid", "10.210.0.9", "ecdsa");
    let new = || root_of_rotation(&node);
    node.exec("kubecertd ca rotate start --step --subject CN=kubernetes-2");
    wait_for_rotation(&node, "All nodes have level staged");
    for level in ["trusted", "clients"] {
        node.exec("kubecertd ca rotate step");
        wait_for_rotation(&node, &format!("All nodes have level {level}"));
        // Of certificates with a bridge kubeadm renews none.
        let renews = level == "trusted";
        node.exec(&format!(
            "kubeadm upgrade node --skip-phases=preflight --certificate-renewal={renews}"
        ));
        // The whole cluster, to the version that it has. All images are there: nothing is pulled.
        node.exec(
            "printf '#!/bin/sh\\n' >/usr/local/bin/crictl && chmod 755 /usr/local/bin/crictl",
        );
        node.exec(&format!(
            "kubeadm upgrade apply $(kubeadm version --output short) --yes --force \\
             --ignore-preflight-errors=all --certificate-renewal={renews}"
        ));
        assert!(node.text(MANIFEST).contains(SIGNING_FLAG), "{level}");
        wait_for_rotation(&node, &format!("All nodes have level {level}"));
        join_by(&node, &roots(&node)[if renews { 0 } else { 1 }]);
        // This writes the manifest without comparing it.
        node.exec(
            "kubectl -n kube-system get configmap kubeadm-config \\
             -o jsonpath='{.data.ClusterConfiguration}' >/root/kubeadm.yaml
             kubeadm init phase control-plane controller-manager --config /root/kubeadm.yaml",
        );
        assert!(node.text(MANIFEST).contains(SIGNING_FLAG), "{level}");
        // One without the flags signs nothing while ca.crt has two certificates.
        node.exec(
            "sed '/kubecertd-signing/d' /root/kubeadm.yaml >/root/without.yaml
             kubeadm init phase control-plane controller-manager --config /root/without.yaml \\
             || kubeadm init phase control-plane controller-manager",
        );
        node.exec(&format!("grep -q {SIGNING_FLAG} /{MANIFEST} && exit 1 || exit 0"));
        node.wait_for("the flags are in the manifest again", |node| {
            node.text(MANIFEST).contains(SIGNING_FLAG).then_some(())
        });
        renew_by_kubeadm(&node);
        let root = if level == "clients" { new() } else { roots(&node).remove(0) };
        node.wait_for("certificates are of the right root again", |node| {
            let admin = node.certificate("admin.conf");
            admin.verifies_by(&root).then_some(())
        });
        wait_for_rotation(&node, &format!("All nodes have level {level}"));
    }
    node.exec("kubecertd ca rotate step");
    wait_for_rotation(&node, "All certificates are of the new root CA");
    renew_by_kubeadm(&node);
    let bridge = |node: &Node| {
        let stored = node.usable_credentials().remove("apiserver").unwrap();
        stored.further.len() == 1 && stored.certificate.verifies_by(&new())
    };
    node.wait_for("the bridge is there again", |node| bridge(node).then_some(()));
    wait_for_rotation(&node, "All certificates are of the new root CA");
    let old = roots(&node).remove(1);
    join_by(&node, &old);
    wait_for_rotation(&node, "All certificates are of the new root CA");
    // Another bundle, by hand: nothing goes on, and it is said why.
    let ca = node.text(CA_CRT);
    let foreign = node.text("etc/kubernetes/pki/front-proxy-ca.crt");
    node.write(CA_CRT, ca.clone() + &foreign);
    let alarm = node.wait_for_alarm("root-ca-blocked");
    assert!(alarm.contains("no part of this rotation"), "{alarm}");
    let refused = node.try_exec("kubecertd ca rotate complete");
    assert!(refused.status.success() || !refused.stderr.is_empty());
    node.write(CA_CRT, ca);
    wait_until_over(&node);
    let new = roots(&node);
    assert_eq!(new.len(), 1);
    node.assert_accepted();
    let worker = joined_by(&node, &new[0]);
    leave(&node, worker);
    node.remove_machine();
}
