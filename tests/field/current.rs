//! What Kubernetes 1.29 to 1.36 write otherwise than earlier versions. The manifests and files are
//! those that kubeadm 1.36 wrote; what is changed in them follows the facts that each test names.

use serde_json::Value;

use crate::common::{ECDSA, Node, RSA};
use crate::support;

const MANIFESTS: &str = "etc/kubernetes/manifests";

/// A digest of an image, as container registries write it.
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The health URL and the addresses of each static pod, as the catalog has them.
fn services(node: &Node) -> Vec<(String, String, Vec<String>)> {
    let services = node.observe().catalog.services;
    let pods = services.into_iter().filter(|service| service.kind.pod().is_some());
    pods.map(|service| {
        let served = service.uses.iter().filter_map(|one| one.served_at.clone()).collect();
        (service.name.to_string(), service.health.unwrap_or_default(), served)
    })
    .collect()
}

fn is_restarted_for_its_age(node: &Node, name: &str) -> bool {
    let services = node.observe().catalog.services;
    services.iter().find(|service| service.name.as_str() == name).unwrap().ages
}

/// The names in a list of `check -o json`.
fn names(json: &Value, list: &str) -> Vec<String> {
    let entries = json[list].as_array().unwrap().iter();
    entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

/// Current versions of kubeadm name the ports of the probes `probe-port`, and ask for /livez and
/// /readyz, of etcd too. Before, the ports were numbers, and etcd's path was /health.
#[test]
fn probes_by_port_name_give_health_urls() {
    let at = |name: &str, health: &str, served: &[&str]| {
        let served = served.iter().map(|at| (*at).to_owned()).collect();
        (name.to_owned(), health.to_owned(), served)
    };
    let node = Node::fresh(ECDSA);
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let text = node.text(&format!("{MANIFESTS}/{name}.yaml"));
        assert!(text.contains("port: probe-port"), "{name}");
    }
    let current = services(&node);
    let address = "10.200.0.1";
    let expected = [
        at("etcd", "http://127.0.0.1:2381/readyz", &["127.0.0.1:2379", &format!("{address}:2380")]),
        at("kube-apiserver", &format!("https://{address}:6443/readyz"), &["10.200.0.1:6443"]),
        at("kube-controller-manager", "https://127.0.0.1:10257/healthz", &[]),
        at("kube-scheduler", "https://127.0.0.1:10259/readyz", &[]),
    ];
    assert_eq!(current, expected);
    let earlier: Vec<_> = services(&Node::fresh(RSA)).into_iter().map(|one| one.1).collect();
    assert!(earlier[0].ends_with(":2381/health"), "{earlier:?}");
}

/// The first control-plane node has super-admin.conf since 1.29, and admin.conf is of another
/// group.
#[test]
fn super_admin_is_renewed_with_its_own_group() {
    let node = Node::due();
    assert!(names(&support::json(&node), "certificates").contains(&"super-admin.conf".to_owned()));
    assert_eq!(node.run(&["renew"]).code, 0);
    let subject = |name: &str| node.certificate(name).subject.to_string();
    assert!(subject("super-admin.conf").contains("system:masters"));
    assert!(subject("admin.conf").contains("kubeadm:cluster-admins"));
    // Other nodes have none.
    let other = Node::due();
    other.remove("etc/kubernetes/super-admin.conf");
    assert_eq!(other.run(&["renew"]).code, 0);
    assert!(!other.path("etc/kubernetes/super-admin.conf").exists());
}

/// An image of 1.33 to 1.36 may be named by tag, by tag and digest, or by digest alone. The version
/// decides whether certificates in memory expire after one year or three (1.33); without a tag it
/// is not known.
#[test]
fn images_with_digests_say_the_version() {
    let node = Node::fresh(ECDSA);
    let file = format!("{MANIFESTS}/kube-scheduler.yaml");
    let text = node.text(&file);
    let image = text.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap();
    let name = image.split(':').next().unwrap();
    for (other, ages) in [
        (format!("{name}:v1.36.2@{DIGEST}"), false),
        (format!("{name}:v1.32.9@{DIGEST}"), true),
        (format!("registry.example:5000/k8s/kube-scheduler:v1.33.0@{DIGEST}"), false),
        (format!("{name}@{DIGEST}"), true),
        (format!("registry.example:5000/kube-scheduler@{DIGEST}"), true),
    ] {
        node.write(&file, text.replace(image, &other));
        assert_eq!(is_restarted_for_its_age(&node, "kube-scheduler"), ages, "{other}");
    }
}

/// kubeadm 1.36 annotates the static pods of etcd and the API server with their addresses; others
/// are made up here. kubecertd goes by the flags alone.
#[test]
fn annotations_of_kubeadm_change_nothing() {
    let node = Node::fresh(ECDSA);
    let before = services(&node);
    for name in ["etcd", "kube-apiserver"] {
        let file = format!("{MANIFESTS}/{name}.yaml");
        assert!(node.text(&file).contains("  annotations:\n    kubeadm.kubernetes.io/"), "{name}");
        let text = node.text(&file);
        let (head, rest) = text.split_once("  labels:\n").unwrap();
        let head = head.replace("10.200.0.1", "192.0.2.9");
        let more = "    kubeadm.kubernetes.io/another: value\n    \
                    kubernetes.io/config.source: file\n";
        node.write(&file, format!("{head}{more}  labels:\n{rest}"));
    }
    assert_eq!(services(&node), before);
}

/// Since 1.28 kubelet merges the `*.conf` files of --config-dir, in the order of their names, into
/// the file of --config; since 1.34 kubeadm keeps what is particular to a node, such as the socket
/// of the container runtime, in instance-config.yaml, and merges it into config.yaml itself.
#[test]
fn drop_ins_of_kubelet_count_in_their_order() {
    let node = Node::fresh(ECDSA);
    let dir = "etc/kubernetes/kubelet.conf.d";
    let env = format!("KUBELET_KUBEADM_ARGS=\"--config-dir=/{dir}\"\n");
    let instance = "var/lib/kubelet/instance-config.yaml";
    let kind = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let write = |file: &str, text: &str| node.write(file, format!("{kind}{text}"));
    node.write("var/lib/kubelet/kubeadm-flags.env", env);
    write("var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: unix:///run/from-file.sock\n");
    write(instance, "containerRuntimeEndpoint: unix:///run/from-instance.sock\n");
    let runtime = || node.observe().runtime.display().to_string();
    assert_eq!(runtime(), "/run/from-file.sock");

    write(&format!("{dir}/10-runtime.conf"), "containerRuntimeEndpoint: unix:///run/first.sock\n");
    write(
        &format!("{dir}/20-runtime.conf"),
        "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n",
    );
    write(
        &format!("{dir}/30-runtime.yaml"),
        "containerRuntimeEndpoint: unix:///run/not-read.sock\n",
    );
    write(&format!("{dir}/15-serving.conf"), "serverTLSBootstrap: true\n");
    assert_eq!(runtime(), "/run/crio/crio.sock");
    let shown = node.run(&["config", "show"]).text;
    let serving = shown.lines().find(|line| line.starts_with("# credential kubelet-serving: "));
    let serving = serving.unwrap_or_default();
    assert!(serving.contains("kubelet-server-current.pem"), "{shown}");
}

/// A node of CRI-O, where nothing is configured: its usual socket is found.
#[test]
fn socket_of_crio_is_found() {
    let node = Node::fresh(ECDSA);
    assert_eq!(node.observe().runtime.to_str(), Some("/run/containerd/containerd.sock"));
    node.write("run/crio/crio.sock", "");
    assert_eq!(node.observe().runtime.to_str(), Some("/run/crio/crio.sock"));
    // As the configuration of kubeadm names it.
    let env =
        "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///var/run/crio/crio.sock\"\n";
    node.write("var/lib/kubelet/kubeadm-flags.env", env);
    assert_eq!(node.observe().runtime.to_str(), Some("/var/run/crio/crio.sock"));
}
