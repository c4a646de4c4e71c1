//! External CAs, and the commands about CAs. openssl signs outside of the node and checks the
//! output of the commands.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::Node;
use super::services::{RESTARTED_SERVICES, assert_in_use, changed_processes, processes};

/// The CAs of the node, by their files without suffix.
const AUTHORITIES: [&str; 3] = ["ca", "etcd/ca", "front-proxy-ca"];

/// The CA that signs a credential.
pub(super) fn authority_of(name: &str) -> &'static str {
    match name {
        "front-proxy-client" => "front-proxy-ca",
        "apiserver-etcd-client" => "etcd/ca",
        _ if name.starts_with("etcd/") => "etcd/ca",
        _ => "ca",
    }
}

/// Moves the keys of the CAs from the node to a directory outside. The controller manager signs
/// nothing from then on, as where kubeadm finds no key.
fn move_ca_keys_outside(node: &Node) -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    for authority in AUTHORITIES {
        let name = authority.replace('/', "-");
        for kind in ["crt", "key"] {
            let file = format!("etc/kubernetes/pki/{authority}.{kind}");
            fs::write(outside.path().join(format!("{name}.{kind}")), node.read(&file)).unwrap();
        }
    }
    let manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
    node.exec(&format!(
        "sed -i 's|\\(--cluster-signing-[a-z]*-file=\\).*|\\1|' {manifest}
         rm /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/etcd/ca.key \
         /etc/kubernetes/pki/front-proxy-ca.key"
    ));
    // The API server has to show it too: a kubelet that is restarted before it has reported the pod
    // starts a second one.
    let pod = "kubectl --namespace kube-system get pod kube-controller-manager-$(hostname) \
               -o jsonpath='{.spec.containers[0].command}{.status.containerStatuses[0].ready}'";
    node.wait_for("the controller manager runs without the keys", |node| {
        let seen = String::from_utf8(node.try_exec(pod).stdout).unwrap();
        (seen.contains("\"--cluster-signing-key-file=\"") && seen.ends_with("true")).then_some(())
    });
    // Otherwise restarts are deferred because of the changed manifest.
    node.backdate_manifests();
    outside
}

/// Signs a request with a CA outside of the node.
fn sign(outside: &Path, authority: &str, request: &[u8]) -> Vec<u8> {
    let authority = authority.replace('/', "-");
    fs::write(outside.join("request.csr"), request).unwrap();
    let output = Command::new("openssl")
        .args([
            "x509",
            "-req",
            "-in",
            "request.csr",
            "-days",
            "365",
            "-copy_extensions",
            "copyall",
            "-out",
            "answer.crt",
        ])
        .args(["-CA", &format!("{authority}.crt"), "-CAkey", &format!("{authority}.key")])
        .current_dir(outside)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(outside.join("answer.crt")).unwrap()
}

/// Without CA keys on the node, every due credential is requested, signed outside, installed and in
/// use.
pub fn signed_requests(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    node.age_all(10);
    let all = node.all_credentials();
    let old: Vec<_> = all.iter().map(|name| node.serial(name)).collect();
    let outside = move_ca_keys_outside(node);
    node.reset_kubelet_backoff();
    node.exec("systemctl start kubecertd");
    let pass = node.request_pass();
    assert!(pass.renewed.is_empty(), "nothing can be signed here: {pass:?}");
    let alarms = node.exec("kubecertd alarms || true");
    assert!(alarms.contains("kubecertd csr --all makes a request for each"), "{alarms}");
    assert!(!node.exec("kubecertd status || true").contains("Open requests"));

    node.exec("kubecertd csr --all >/root/requests.pem");
    let requests = node.exec("ls /var/lib/kubecertd/requests");
    assert_eq!(
        requests.lines().filter(|file| file.ends_with(".csr")).count(),
        all.len(),
        "{requests}"
    );
    assert_eq!(node.exec("stat -c %a /var/lib/kubecertd/requests/*.key | sort -u").trim(), "600");
    assert!(!node.exec("cat /root/requests.pem").contains("PRIVATE KEY"));
    node.exec("sleep 2");
    let status = node.exec("kubecertd status || true");
    let waiting = status.split("Open requests\n").nth(1).unwrap_or_else(|| panic!("{status}"));
    for name in &all {
        let line = waiting
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{name}: asked for ")));
        assert!(line.is_some_and(|line| line.contains(" ago")), "{name}\n{status}");
    }

    let before = processes(node);
    let ready = node.ready_since();
    for name in &all {
        let request =
            node.read(&format!("var/lib/kubecertd/requests/{}.csr", name.replace('/', "+")));
        node.write("root/answer.crt", sign(outside.path(), authority_of(name), &request));
        let output = node.exec(&format!("kubecertd install {name} /root/answer.crt"));
        assert!(output.starts_with(&format!("installed {name}: valid until ")), "{output}");
    }
    for (name, old) in all.iter().zip(old) {
        assert!(node.serial(name) != old, "{name} is new");
    }
    node.wait_until_serving("kube-apiserver", "apiserver");
    node.wait_until_serving("etcd", "etcd/server");
    node.wait_until_serving("etcd's peers", "etcd/peer");
    assert_in_use(node);
    assert_eq!(changed_processes(&before, &processes(node)), RESTARTED_SERVICES);
    let status = node.exec("kubecertd status || true");
    assert!(!status.contains("Open requests"), "{status}");
    assert_eq!(node.exec("ls /var/lib/kubecertd/requests"), "", "no key is left");
    let shown = node.exec("kubecertd check -o wide || true");
    assert!(!shown.contains("stale") && !shown.contains(" due "), "{shown}");
    // The next pass finds nothing to do, and the node stayed Ready.
    let pass = node.request_pass();
    assert!(
        pass.renewed.is_empty() && pass.refreshed.is_empty() && pass.failed.is_empty(),
        "{pass:?}"
    );
    assert_eq!(node.ready_since(), ready);
}

/// The names in the certificate that the API server serves, as openssl prints them.
fn served_names(node: &Node) -> String {
    let asked = "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 \
        -noout -ext subjectAltName";
    String::from_utf8(node.try_exec(asked).stdout).unwrap()
}

/// A name is added and removed. Each is a renewal, and the API server serves the result before the
/// command exits.
pub fn added_and_removed_names(node: &mut Node) {
    node.install_past_first_pass();
    let name = "api.names.example.com";
    let before = served_names(node);
    assert!(
        before.contains("DNS:kubernetes.default.svc.cluster.local") && !before.contains(name),
        "{before}"
    );
    for (option, is_there) in [("--add-san", true), ("--remove-san", false)] {
        let serial = node.serial("apiserver");
        let output = node.exec(&format!("kubecertd renew apiserver {option} {name}"));
        assert!(output.contains("1 credential renewed."), "{output}");
        assert!(node.serial("apiserver") != serial);
        assert_eq!(node.serving("kube-apiserver"), Some(node.serial("apiserver")), "{output}");
        assert_eq!(served_names(node).contains(&format!("DNS:{name}")), is_there);
        let asked = format!(
            "curl --silent --cacert /etc/kubernetes/pki/ca.crt --resolve {name}:6443:127.0.0.1 \
             https://{name}:6443/livez"
        );
        assert_eq!(node.try_exec(&asked).status.success(), is_there, "{option}");
    }
    let order = |names: &str| names.lines().nth(1).unwrap_or_default().trim().to_owned();
    assert_eq!(order(&served_names(node)), order(&before), "the other names are unchanged");
    assert_in_use(node);
}

/// The commands about CAs agree with openssl, and with the certificates that running servers show.
pub fn shown_and_verified(node: &mut Node) {
    node.install_past_first_pass();
    for server in ["kube-apiserver", "kubelet", "etcd"] {
        node.wait_for(&format!("{server} serves"), |node| node.serving(server));
    }
    let shown = node.exec("kubecertd ca show");
    // As kubeadm's documentation has it.
    let hash = node.exec(
        "openssl x509 -pubkey -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | \
         openssl dgst -sha256 -hex | sed 's/^.* //'",
    );
    assert!(
        shown.contains(&format!("Discovery hash:  sha256:{}\n", hash.trim())),
        "{shown}\n{hash}"
    );
    let joined = node.exec("kubeadm token create --print-join-command 2>/dev/null");
    assert!(
        joined.contains(&format!("--discovery-token-ca-cert-hash sha256:{}", hash.trim())),
        "{joined}"
    );
    node.exec("kubecertd ca export | cmp - /etc/kubernetes/pki/ca.crt");

    let verified = |asked: &str| {
        let output = node.try_exec(&format!("kubecertd ca verify {asked}"));
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (asked, code) in [
        ("127.0.0.1:6443", 0),
        ("127.0.0.1:10250", 3), // kubelet's self-signed certificate
        ("127.0.0.1:2379", 3),
        ("127.0.0.1:2379 --ca etcd-ca", 0),
        ("/etc/kubernetes/admin.conf", 0),
        ("/etc/kubernetes/kubelet.conf", 0),
        ("/etc/kubernetes/admin.conf --ca etcd-ca", 3),
    ] {
        let (found, text) = verified(asked);
        assert_eq!(found, code, "{asked}: {text}");
        assert_eq!(text.starts_with("yes   "), code == 0, "{asked}: {text}");
    }
}
