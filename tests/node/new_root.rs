//! A root CA of the operator's own: installed on new nodes, from which `kubeadm init` and
//! `kubeadm join` make a cluster.

use super::harness::Node;

/// Makes a root of a company and its key in PKCS#8, both in one file, as `openssl pkcs12 -nodes`
/// does.
const MAKE_ROOT: &str = "umask 077; cd /root; openssl req -x509 -newkey ec -pkeyopt \
    ec_paramgen_curve:P-384 -nodes -keyout key.pem -out crt.pem -days 3650 -sha384 \
    -subj '/DC=com/DC=example/O=Example Company/CN=Clusters' -addext \
    'keyUsage = critical, keyCertSign, cRLSign' 2>/dev/null; cat crt.pem key.pem >company.pem";

/// What a control-plane node needs from the first one to join, besides the root.
const SHARED: [&str; 6] =
    ["front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub", "etcd/ca.crt", "etcd/ca.key"];

pub fn used_by_kubeadm(_: &mut Node) {
    let first = Node::fresh("kubecertd-root", "10.210.0.5");
    first.exec(MAKE_ROOT);
    let checked = first.exec("kubecertd ca check /root/company.pem");
    assert!(checked.ends_with("usable   it can be the root CA of a cluster\n"), "{checked}");
    let installed = first.exec("kubecertd ca install /root/company.pem");
    let hash = installed.split("Discovery hash:").nth(1).unwrap().split_whitespace().next();
    let hash = hash.unwrap();
    first.init("ecdsa", "10.210.0.5:6443");
    first.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    assert_root_in_use(&first);

    let second = Node::fresh("kubecertd-join", "10.210.0.6");
    second.write("root/company.pem", first.read("root/company.pem"));
    let installed = second.exec("kubecertd ca install /root/company.pem");
    assert!(installed.contains(hash), "{installed}");
    for file in SHARED {
        let file = format!("etc/kubernetes/pki/{file}");
        second.write(&file, first.read(&file));
    }
    // The root that was installed is the one that the cluster shows.
    second.join(&[
        "10.210.0.5:6443",
        "--token",
        "abcdef.0123456789abcdef",
        "--discovery-token-ca-cert-hash",
        hash,
        "--control-plane",
        "--apiserver-advertise-address",
        "10.210.0.6",
        "--node-name",
        "kubecertd-join",
        "--cri-socket",
        "unix:///run/containerd/containerd.sock",
    ]);
    second.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    assert_root_in_use(&second);
    let workers = first.try_exec("kubecertd ca install /root/company.pem");
    assert!(workers.status.success(), "it is there already");
    second.remove_machine();
    first.remove_machine();
}

/// Asserts that the API server serves by the company's root, that controller-manager publishes it
/// and signs with it, and that kubecertd finds nothing to do.
fn assert_root_in_use(node: &Node) {
    node.exec("cmp /root/crt.pem /etc/kubernetes/pki/ca.crt || [ ! -e /root/crt.pem ]");
    node.wait_for("the root is published", |node| {
        let path = "{.data.ca\\.crt}";
        let shown = node.try_exec(&format!(
            "kubectl --request-timeout=20s -n kube-system get configmap kube-root-ca.crt -o \
             jsonpath='{path}'"
        ));
        (String::from_utf8(shown.stdout).unwrap() == node.text("etc/kubernetes/pki/ca.crt"))
            .then_some(())
    });
    let verified = node.exec("kubecertd ca verify 127.0.0.1:6443");
    assert!(verified.contains("is signed by ca and valid until"), "{verified}");
    let checked = node.exec("kubecertd check");
    assert!(checked.contains("kubelet-client"), "{checked}");
}
