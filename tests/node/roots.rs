//! Another root CA, and the bridge between it and the node's own: the programs of Kubernetes verify
//! certificates of the new root by the old one. And the node's own root, renewed with its key.
//!
//! kubecertd does not run here: the certificates are made by its functions, and put in their places
//! by the test.

use std::time::Duration;

use kubecertd::formats::x509::{
    Certificate, DistinguishedName, NamePart, NewRoot, PrivateKey, RootLifetime, Terms, bridge,
    certificates, lost_leaves, new_root, random_serial, reissue, renew_root,
};
use kubecertd::model::days;

use super::common::{CA_CRT, CA_KEY, now, read_key, terms_with_days_left};
use super::harness::Node;
use super::services::print_figure;

const APISERVER_CRT: &str = "etc/kubernetes/pki/apiserver.crt";

/// The files of a client outside of /etc/kubernetes, with which it knows one root alone.
const CLIENT_CA: &str = "root/client-ca.crt";
const CLIENT_CRT: &str = "root/client.crt";
const CLIENT_KEY: &str = "root/client.key";

/// The Leases that the clients of the API server on a node renew: every 10 s, and every 2 s.
const LEASES: [(&str, &str); 3] = [
    ("kube-node-lease", "$(hostname)"),
    ("kube-system", "kube-controller-manager"),
    ("kube-system", "kube-scheduler"),
];

const SKEW: Duration = Duration::from_secs(300);

/// Asks for what only an administrator may do.
const CAN_I: &str = "auth can-i create clusterroles.rbac.authorization.k8s.io";

/// The ConfigMap with the root CAs by which API servers accept clients.
const PUBLISHED: &str = "--namespace kube-system configmap extension-apiserver-authentication";

/// The CA of the node, as it was made.
struct OldRoot {
    certificate: Certificate,
    key: PrivateKey,
}

impl OldRoot {
    fn of(node: &Node) -> Self {
        Self {
            certificate: certificates(&node.read(CA_CRT)).unwrap().remove(0),
            key: PrivateKey::from_pem(&node.read(CA_KEY)).unwrap(),
        }
    }

    /// Makes a root of the same kind of key, and the bridge to it.
    fn replacement(&self, subject: &DistinguishedName) -> (NewRoot, Certificate) {
        let lifetime = RootLifetime { now: now(), tolerated_skew: SKEW, validity: days(3650) };
        let new = new_root(subject, &self.certificate.key_algorithm, &lifetime).unwrap();
        let terms = terms_with_days_left(100);
        let bridge = bridge(&new.certificate, &self.certificate, &self.key, &terms, now());
        (new, Certificate::from_der(&bridge.unwrap()).unwrap())
    }
}

/// Another root CA of another name, and the node's own one renewed.
pub fn other_name(node: &mut Node) {
    let old = OldRoot::of(node);
    let other = DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes-2")]).unwrap();
    bridge_and_renewal(node, &old, &other, "another name");
}

/// Another root CA of the same name, and the node's own one renewed.
pub fn same_name(node: &mut Node) {
    let old = OldRoot::of(node);
    bridge_and_renewal(node, &old, &old.certificate.subject, "the same name");
}

fn bridge_and_renewal(node: &Node, old: &OldRoot, subject: &DistinguishedName, what: &str) {
    let (new, bridge) = old.replacement(subject);
    let server = reissued(node, "apiserver", &new);
    let client = reissued(node, "admin.conf", &new);
    client_is_accepted_with_bridge(node, &client, &bridge, what);
    server_is_accepted_with_bridge(node, old, &server.0, &bridge, &new, what);
    print_figure(&format!("a root of {what}: every client accepts the bridge"));
    root_renewed_with_its_key_changes_nothing(node, old);
    node.exec("rm -f /root/client* /root/patch.json");
}

/// Returns a credential of the node, signed by another root for its own key.
fn reissued(node: &Node, name: &str, root: &NewRoot) -> (Certificate, PrivateKey) {
    let stored = node.usable_credentials().remove(name).unwrap();
    let key = read_key(&stored).unwrap();
    let terms = terms_with_days_left(90);
    let der = reissue(&stored.certificate, &root.certificate, &root.key, &key, &terms).unwrap();
    (Certificate::from_der(&der).unwrap(), key)
}

/// An administrator whose certificate is of the new root logs in at an API server that knows the
/// old root alone: with the bridge, and not without it.
fn client_is_accepted_with_bridge(
    node: &Node,
    (certificate, key): &(Certificate, PrivateKey),
    bridge: &Certificate,
    what: &str,
) {
    node.write(CLIENT_CA, node.read(CA_CRT));
    node.write(CLIENT_KEY, key.to_pem().unwrap().expose());
    let log_in = |shown: &[&Certificate]| {
        node.write(CLIENT_CRT, pem(shown));
        kubectl_by_files(node, CAN_I)
    };
    assert_eq!(log_in(&[certificate, bridge]).unwrap().trim(), "yes", "{what}");
    let refused = log_in(&[certificate]).unwrap_err();
    assert!(refused.contains("Unauthorized"), "{what}: without the bridge: {refused}");
}

/// The API server shows a certificate of the new root. Its clients know the old root alone, and go
/// on over new connections; a client that knows the new one alone accepts it too.
fn server_is_accepted_with_bridge(
    node: &Node,
    old: &OldRoot,
    certificate: &Certificate,
    bridge: &Certificate,
    new: &NewRoot,
    what: &str,
) {
    let original = node.read(APISERVER_CRT);
    let complaints = complaints(node);
    serve(node, &[certificate, bridge]);
    node.exec("ss --kill --tcp state established '( dport = :6443 )' >/dev/null");
    let since = node.exec("date -u +%Y-%m-%dT%H:%M:%S.%6NZ");
    for (namespace, name) in LEASES {
        let lease =
            format!("--namespace {namespace} get lease {name} -o jsonpath='{{.spec.renewTime}}'");
        node.wait_for(&format!("{name} renews its Lease: {what}"), |node| {
            (node.kubectl(&lease).trim() > since.trim()).then_some(())
        });
    }
    assert_eq!(self::complaints(node), complaints, "{what}: x509 in the log of a client");
    assert!(node.is_ready(), "{what}");
    assert!(accepts_server(node, &old.certificate), "{what}");
    assert!(accepts_server(node, &new.certificate), "{what}");
    // Nothing but the bridge connects them.
    serve(node, &[certificate]);
    assert!(!accepts_server(node, &old.certificate), "{what}: without the bridge");
    assert!(accepts_server(node, &new.certificate), "{what}: without the bridge");
    replace(node, APISERVER_CRT, &original);
    node.wait_until_serving("kube-apiserver", "apiserver");
}

/// The root CA gets a new certificate for its key. Old leaves are accepted by a client that knows
/// the renewed one alone, and old clients by the API server that does.
fn root_renewed_with_its_key_changes_nothing(node: &Node, old: &OldRoot) {
    let (original, published) = (node.read(CA_CRT), published(node));
    let terms = Terms {
        serial: random_serial().unwrap(),
        not_before: now().minus(SKEW),
        not_after: now().plus(days(7300)),
    };
    let renewed = renew_root(&old.certificate, &old.key, &terms).unwrap();
    let renewed = Certificate::from_der(&renewed).unwrap();
    let leaves: Vec<_> =
        node.usable_credentials().into_values().map(|stored| stored.certificate).collect();
    assert!(leaves.iter().filter(|leaf| leaf.verifies_by(&renewed)).count() >= 5);
    assert_eq!(lost_leaves(&old.certificate, &renewed, &leaves), []);

    replace(node, CA_CRT, renewed.to_pem().as_bytes());
    // The API server publishes what it has loaded.
    node.wait_for("the API server has loaded the renewed root", |node| {
        let known = certificates(self::published(node).as_bytes()).unwrap();
        known.iter().any(|one| one.fingerprint == renewed.fingerprint).then_some(())
    });
    assert!(accepts_server(node, &old.certificate) && accepts_server(node, &renewed));
    let stored = node.usable_credentials().remove("admin.conf").unwrap();
    node.write(CLIENT_KEY, read_key(&stored).unwrap().to_pem().unwrap().expose());
    node.write(CLIENT_CRT, stored.certificate.to_pem());
    for known in [&old.certificate, &renewed] {
        node.write(CLIENT_CA, known.to_pem());
        let answer = kubectl_by_files(node, CAN_I);
        assert_eq!(answer.as_deref().map(str::trim), Ok("yes"), "{answer:?}");
    }
    node.assert_accepted();

    replace(node, CA_CRT, &original);
    let patch = serde_json::json!({ "data": { "client-ca-file": published } });
    node.write("root/patch.json", patch.to_string());
    node.kubectl(&format!("patch {PUBLISHED} --type merge --patch \"$(cat /root/patch.json)\""));
}

/// Puts a chain in the place of the API server's certificate, and waits until it is shown.
fn serve(node: &Node, chain: &[&Certificate]) {
    replace(node, APISERVER_CRT, pem(chain).as_bytes());
    node.wait_for("the API server shows the chain", |node| {
        let shown = node
            .try_exec("openssl s_client -connect 127.0.0.1:6443 -showcerts </dev/null 2>/dev/null");
        let shown = certificates(&shown.stdout).ok()?;
        shown.iter().eq(chain.iter().copied()).then_some(())
    });
}

/// Replaces a file as a whole, since others watch it.
fn replace(node: &Node, file: &str, content: &[u8]) {
    let new = format!("{file}.new");
    node.write(&new, content);
    std::fs::rename(node.path(&new), node.path(file)).unwrap();
}

fn pem(chain: &[&Certificate]) -> String {
    chain.iter().map(|one| one.to_pem()).collect()
}

/// Whether curl verifies the API server by this root alone.
fn accepts_server(node: &Node, known: &Certificate) -> bool {
    node.write(CLIENT_CA, known.to_pem());
    let url = format!("https://{}:6443/livez", node.address());
    let output = node.try_exec(&format!("curl --silent --fail --cacert /{CLIENT_CA} {url}"));
    match output.status.code() {
        Some(0) => true,
        // The certificate is not accepted.
        Some(60) => false,
        _ => panic!("no verdict: {output:?}"),
    }
}

/// Runs kubectl with the files of the client. An `Err` is its output.
fn kubectl_by_files(node: &Node, arguments: &str) -> Result<String, String> {
    let output = node.try_exec(&format!(
        "kubectl --kubeconfig /dev/null --request-timeout=20s --server https://{}:6443 \
         --certificate-authority /{CLIENT_CA} --client-certificate /{CLIENT_CRT} \
         --client-key /{CLIENT_KEY} {arguments}",
        node.address()
    ));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&[output.stdout, output.stderr].concat())),
    }
}

/// How many lines of the clients' logs are about certificates.
fn complaints(node: &Node) -> usize {
    let kubelets = node.journal("kubelet").lines().filter(|line| line.contains("x509")).count();
    let others = node.exec(
        "cat /var/log/pods/kube-system_kube-controller-manager-*/*/*.log \
         /var/log/pods/kube-system_kube-scheduler-*/*/*.log | grep -c x509 || true",
    );
    kubelets + others.trim().parse::<usize>().unwrap()
}

/// The root CAs by which API servers accept clients, as they publish them.
fn published(node: &Node) -> String {
    node.kubectl(&format!("get {PUBLISHED} -o jsonpath='{{.data.client-ca-file}}'"))
}
