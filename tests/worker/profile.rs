//! The profile of a worker is chosen where nothing is that of a control-plane node.

use std::fs;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::common::kubelet::CONF;
use crate::common::{CA_CRT, ECDSA, Node, PKI, RSA, STATE};

const CONFIGURATION: &str = "etc/kubecertd/kubecertd.toml";

/// The names in the first column of the first table that `check` prints.
fn shown(node: &Node) -> Vec<String> {
    let text = node.run(&["check"]).text;
    let rows = text.lines().skip(1).take_while(|line| !line.is_empty());
    rows.map(|row| row.split(' ').next().unwrap().to_owned()).collect()
}

fn profile(node: &Node) -> String {
    let text = node.run(&["config", "show"]).text;
    text.lines().find_map(|line| line.strip_prefix("# profile ")).unwrap().to_owned()
}

#[test]
fn worker_shows_only_what_is_there() {
    for tree in [RSA, ECDSA] {
        let node = Node::worker(tree, "w1", 100);
        assert_eq!(shown(&node), ["kubelet-client"]);
        node.add_kubelet_serving();
        assert_eq!(shown(&node), ["kubelet-client", "kubelet-serving"]);
        let check = node.run(&["check"]);
        assert_eq!(check.code, 0, "{}", check.text);
        for (part, is_there) in [
            ("\nca   ", true),
            ("/etc/kubernetes/kubelet.conf ", true),
            ("2 credentials on this node, none to renew.", true),
            ("etcd", false),
            ("front-proxy", false),
            ("apiserver", false),
            ("absent", false),
            ("csr", false),
            ("Notes", false),
        ] {
            assert_eq!(check.text.contains(part), is_there, "{part}: {}", check.text);
        }
        let json = node.run(&["check", "-o", "json"]).text;
        assert!(!json.contains("\"missing\": true") && json.contains("\"watched\": ["), "{json}");
        for (arguments, text) in [
            (&["config", "check"][..], "valid: 1 CA, 2 credentials and 1 service\n"),
            (&["renew"], "Nothing to renew."),
            (&["run", "--once"], "Nothing renewed."),
            (&["alarms"], ""),
        ] {
            let run = node.run(arguments);
            assert!(run.code == 0 && run.text.contains(text), "{arguments:?}: {}", run.text);
            assert!(!run.text.contains("note:"), "{}", run.text);
        }
        assert!(profile(&node).starts_with("worker: no static pod manifest, "));
        let status = node.run(&["status"]).text;
        assert!(!status.contains("etcd") && status.contains("2 credentials"), "{status}");
    }
}

/// Each of these is enough: a control-plane node must never be taken for a worker.
#[test]
fn any_part_of_a_control_plane_node_shows_one() {
    let cluster = Node::fresh(ECDSA);
    let manifest = "etc/kubernetes/manifests/kube-scheduler.yaml";
    for (file, content, reason) in [
        (
            manifest,
            cluster.read(manifest),
            "kube-scheduler.yaml is the manifest of a control-plane",
        ),
        ("etc/kubernetes/manifests/s.yml", cluster.read(manifest), "s.yml is the manifest of"),
        (manifest, b"{".to_vec(), "kube-scheduler.yaml is the manifest of a control-plane pod"),
        ("etc/kubernetes/pki/ca.key", b"x".to_vec(), "/etc/kubernetes/pki/ca.key exists"),
        ("etc/kubernetes/pki/etcd/ca.key", b"x".to_vec(), "etcd/ca.key exists"),
        ("etc/kubernetes/pki/apiserver.crt", b"x".to_vec(), "pki/apiserver.crt exists"),
        ("etc/kubernetes/scheduler.conf", b"x".to_vec(), "scheduler.conf exists"),
        (
            CONFIGURATION,
            b"[[credential]]\nname = \"a\"\nca = \"etcd-ca\"\nbundle = \"/a\"\n".to_vec(),
            "the configuration refers to the CA etcd-ca of a control-plane node",
        ),
    ] {
        let node = Node::worker(ECDSA, "w1", 100);
        node.write(file, content);
        let profile = profile(&node);
        assert!(profile.starts_with("kubeadm: ") && profile.contains(reason), "{profile}");
    }
}

#[test]
fn worker_may_have_static_pods_and_copies_of_its_own() {
    let node = Node::worker(ECDSA, "w1", 100);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: nginx-proxy}\nspec:\n  containers:\n  \
        - {name: nginx-proxy, image: nginx:1.25}\n";
    node.write("etc/kubernetes/manifests/nginx-proxy.yml", pod);
    // A configuration for all nodes.
    node.write(CONFIGURATION, "[[copy]]\nof = \"admin.conf\"\nkubeconfig = \"/home/*/config\"\n");
    node.write("home/x/config", "");
    assert_eq!(shown(&node), ["kubelet-client"]);
    assert!(profile(&node).starts_with("worker: "));
}

#[test]
fn control_plane_node_that_lost_its_files_stays_one() {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(100);
    node.link_kubelet_conf();
    let pass = node.run(&["run", "--once"]);
    assert_eq!(pass.code, 0, "{}", pass.text);
    let authority = node.read(CA_CRT);
    for dir in ["etc/kubernetes/manifests", PKI] {
        fs::remove_dir_all(node.path(dir)).unwrap();
    }
    for file in ["controller-manager.conf", "scheduler.conf"] {
        node.remove(&format!("etc/kubernetes/{file}"));
    }
    node.write(CA_CRT, authority);
    assert!(profile(&node).starts_with("kubeadm: the node had the credential apiserver earlier"));
    let check = node.run(&["check"]).text;
    let note = "nothing here shows a control-plane node, but the node had the credential apiserver \
        earlier, so it still counts as one; where it is a worker now, set profile = \"worker\" in \
        the configuration";
    assert!(check.contains(note), "{check}");
    // Neither does a memory that can't be read make a worker of it.
    node.write(&format!("{STATE}/certificates.json"), "{");
    assert!(profile(&node).starts_with("kubeadm: /var/lib/kubecertd/certificates.json: "));
    fs::remove_dir_all(node.path(STATE)).unwrap();
    assert!(profile(&node).starts_with("worker: "));
}

#[test]
fn configuration_overrides_the_choice() {
    let node = Node::worker(ECDSA, "w1", 100);
    node.write(CONFIGURATION, "profile = \"kubeadm\"\n");
    assert_eq!((profile(&node), shown(&node).len()), ("kubeadm".to_owned(), 13));
    let node = Node::fresh(ECDSA);
    node.write(CONFIGURATION, "profile = \"worker\"\n");
    assert_eq!(profile(&node), "worker");
    assert_eq!(shown(&node), ["kubelet-client"]);
}

/// kubelet renews its certificate when 70 to 90 hundredths of its life have passed.
#[test]
fn late_kubelet_raises_alarm() {
    let alarms = |days_left| {
        let node = Node::worker(ECDSA, "w1", days_left);
        let pass = node.run(&["run", "--once"]);
        assert_eq!(pass.code, 0, "{}", pass.text);
        node.run(&["alarms"])
    };
    assert_eq!(alarms(40).code, 0);
    let late = alarms(30);
    assert!(
        late.code == 3
            && late.text.contains("expiring-soon (500.200) on system.certificate.kubelet-client")
            && late.text.contains("kubelet should have renewed it by now"),
        "{}",
        late.text
    );
}

#[test]
fn expiry_of_ca_and_of_kubelet_conf_is_watched() {
    let cluster = Node::fresh(ECDSA);
    cluster.shorten_authority("etc/kubernetes/pki/ca", 20);
    let alarms = |node: &Node| {
        assert_eq!(node.run(&["run", "--once"]).code, 0);
        node.run(&["alarms"]).text
    };
    let node = Node::worker(ECDSA, "w1", 100);
    node.write(CA_CRT, cluster.read(CA_CRT));
    let text = alarms(&node);
    assert!(text.contains("expiring-soon (500.200) on system.certificate.ca,"), "{text}");
    let node = Node::worker(ECDSA, "w1", 100);
    let data = |authority: Vec<u8>| BASE64_STANDARD.encode(authority);
    node.edit(CONF, &data(node.read(CA_CRT)), &data(cluster.read(CA_CRT)));
    let text = alarms(&node);
    assert!(
        text.contains("kubeconfig-trust")
            && text.contains("/etc/kubernetes/kubelet.conf: certificate-authority-data: ")
            && text.contains("expires in 20 days"),
        "{text}"
    );
}
