//! The whole way to another certificate: csr on the worker, sign on a control-plane node, install
//! on the worker.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kubecertd::formats::x509::{certificates, kubelet_template};
use kubecertd::model::days;

use crate::api;
use crate::common::host::at_the_root_of;
use crate::common::kubelet::{CONF, PKI_DIR};
use crate::common::requirements::{MOUNTS, require};
use crate::common::{CA_CRT, ECDSA, Node, RSA, STATE, now};

/// The part of an output from its first PEM line on.
pub fn pem(text: &str) -> &str {
    let begin = text.find("-----BEGIN ").unwrap();
    let end = text.rfind("-----END ").unwrap();
    let end = end + text[end..].find('\n').unwrap() + 1;
    &text[begin..end]
}

/// Writes what `csr` prints to a file.
pub fn request(worker: &Node) -> PathBuf {
    let run = worker.run(&["csr", "kubelet-client"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(!run.text.contains("PRIVATE KEY"), "{}", run.text);
    let file = worker.path("w1.csr");
    fs::write(&file, pem(&run.text)).unwrap();
    file
}

/// Writes what `sign` prints to a file.
fn sign(control_plane: &Node, request: &Path) -> PathBuf {
    let run = control_plane.run(&["sign", "--node", "w1", request.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    let file = request.with_extension("crt");
    fs::write(&file, pem(&run.text)).unwrap();
    file
}

fn install(worker: &Node, answer: &Path) {
    let run = worker.run(&["install", "kubelet-client", answer.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.starts_with("installed kubelet-client: valid until "), "{}", run.text);
    assert!(!run.text.contains("note:"), "{}", run.text);
}

/// A control-plane node of a cluster with the worker w1.
pub fn control_plane(tree: &str) -> Node {
    let node = Node::fresh(tree);
    api::serve(&node);
    node
}

/// Asserts that kubelet has another certificate as it makes it itself, for a year.
fn assert_installed(worker: &Node) {
    let new = worker.kubelet_certificate();
    let authority = certificates(&worker.read(CA_CRT)).unwrap().remove(0);
    assert!(new.is_signed_by(&authority));
    assert_eq!(new.subject, kubelet_template("w1").unwrap().subject);
    assert!(new.not_after > now().plus(days(364)) && new.not_after <= now().plus(days(365)));
    let link = worker.kubelet_link();
    let file = link.strip_prefix("/").unwrap();
    let mode = fs::metadata(worker.path(file.to_str().unwrap())).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(worker.dot_files(), Vec::<PathBuf>::new());
    let requests = worker.path("var/lib/kubecertd/requests");
    assert_eq!(fs::read_dir(requests).unwrap().count(), 0, "the key of the request is removed");
    let check = worker.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.text);
}

#[test]
fn expired_worker_gets_a_certificate_by_the_commands_that_it_names() {
    for tree in [RSA, ECDSA] {
        let (worker, control_plane) = (Node::worker(tree, "w1", -30), control_plane(tree));
        let before = control_plane.snapshot();
        let (old, conf, link) = (worker.kubelet_files(), worker.text(CONF), worker.kubelet_link());
        for arguments in [&["check"][..], &["renew"], &["status"], &["alarms"]] {
            let text = worker.run(arguments).text;
            for part in [
                "/etc/kubernetes/pki/ca.key, the key of its CA ca, is not on this node",
                "`kubecertd csr kubelet-client > w1.csr` here",
                "`kubecertd sign --node w1 w1.csr > w1.crt` there",
                "`kubecertd install kubelet-client w1.crt` here",
            ] {
                assert!(text.contains(part), "{arguments:?}: {part}: {text}");
            }
        }
        assert_eq!(worker.run(&["check"]).code, 3);
        let forced = worker.run(&["renew", "kubelet-client", "--force"]);
        assert_eq!((forced.code, worker.kubelet_link()), (3, link), "{}", forced.text);
        let request = request(&worker);
        assert!(worker.run(&["status"]).text.contains("/requests/kubelet-client.csr"));
        let answer = sign(&control_plane, &request);
        assert_eq!(before.differences(&control_plane.snapshot()), Vec::<String>::new());
        install(&worker, &answer);
        assert_installed(&worker);
        assert_eq!(worker.text(CONF), conf);
        let added: Vec<_> =
            worker.kubelet_files().into_iter().filter(|file| !old.contains(file)).collect();
        assert_eq!(added.len(), 1, "a new file beside the old ones: {added:?}");
    }
}

#[test]
fn unusable_certificate_is_requested_for_the_node_that_kubelet_names() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(ECDSA));
    worker.remove(&format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem"));
    worker.backdate_dir(PKI_DIR);
    let unknown = worker.run(&["csr", "kubelet-client"]);
    assert!(
        unknown.code == 1 && unknown.text.contains("the name of this node is not known"),
        "{}",
        unknown.text
    );
    worker.write(
        "var/lib/kubelet/kubeadm-flags.env",
        "KUBELET_KUBEADM_ARGS=\"--hostname-override=w1\"\n",
    );
    let answer = sign(&control_plane, &request(&worker));
    install(&worker, &answer);
    assert_installed(&worker);
}

/// kubeadm leaves this state when kubelet received its own certificate later (kubernetes #99645).
#[test]
fn kubelet_conf_with_expired_data_is_pointed_to_the_certificate() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(ECDSA));
    let conf = worker.text(CONF);
    let pem = worker.text(&format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem"));
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN EC").unwrap());
    let lines = conf.lines().map(|line| match line.trim_start().split_once(':') {
        Some(("client-certificate", _)) => embedded("client-certificate-data", certificate),
        Some(("client-key", _)) => embedded("client-key-data", key),
        _ => format!("{line}\n"),
    });
    worker.write(CONF, lines.collect::<String>());
    let answer = sign(&control_plane, &request(&worker));
    install(&worker, &answer);
    assert_installed(&worker);
    assert_eq!(worker.text(CONF), conf);
}

fn embedded(key: &str, value: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    format!("    {key}: {}\n", BASE64_STANDARD.encode(value))
}

#[test]
fn valid_certificate_is_replaced_on_request() {
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", 5), control_plane(ECDSA));
    let answer = sign(&control_plane, &request(&worker));
    install(&worker, &answer);
    assert_installed(&worker);
}

/// By that note the pass after the installation, or the next one, restarts kubelet once.
#[test]
fn kubelet_is_to_be_restarted_for_the_installed_certificate() {
    require!(MOUNTS);
    let (worker, control_plane) = (Node::worker(ECDSA, "w1", -30), control_plane(ECDSA));
    sign(&control_plane, &request(&worker));
    let run = at_the_root_of(&worker, "/kubecertd install kubelet-client /w1.crt");
    let text = String::from_utf8_lossy(&[&*run.stdout, &*run.stderr].concat()).into_owned();
    assert!(text.contains("installed kubelet-client: valid until "), "{text}");
    assert!(!text.contains("kubelet is not restarted"), "{text}");
    let memory = worker.text(&format!("{STATE}/services.json"));
    let known = &memory[memory.find("\"kubelet-client\"").unwrap()..];
    let new = worker.kubelet_certificate().fingerprint.to_string();
    assert!(known.contains(&new) && known.contains("\"ours\": true"), "{memory}");
}

#[test]
fn certificate_without_kubelet_conf_is_not_requested() {
    let worker = Node::worker(ECDSA, "w1", -30);
    worker.remove(CONF);
    worker.backdate_dir("etc/kubernetes");
    let check = worker.run(&["check"]);
    let command = "kubeadm kubeconfig user --config kubeadm.yaml --org system:nodes --client-name \
        system:node:w1 > kubelet.conf";
    assert!(check.code == 3 && check.text.contains(command), "{}", check.text);
    let run = worker.run(&["csr", "kubelet-client"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("the address of the API server is not known"), "{}", run.text);
}
