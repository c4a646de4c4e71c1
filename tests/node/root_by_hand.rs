//! The root CA of a node is replaced without kubecertd, by the commands in docs/root-ca.md.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kubecertd::formats::x509::{Certificate, certificates};

use super::availability::Meter;
use super::common::CA_CRT;
use super::common::kubelet::CURRENT;
use super::harness::Node;
use super::root_replacement::roots;
use super::services::{assert_in_use, print_figure};

/// How long clients send requests after the last change of a level is in use.
const SETTLING: Duration = Duration::from_secs(10);

const MANIFEST: &str = "etc/kubernetes/manifests/kube-controller-manager.yaml";

/// A webhook that a certificate of the old root would serve. No request matches it.
const WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: by-hand}
webhooks:
- name: none.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  clientConfig: {url: "https://127.0.0.1:1/", caBundle: CA}
  rules:
  - {apiGroups: [none.example.com], apiVersions: [v1], operations: [CREATE], resources: [none]}
"#;

/// Has a certificate of a client signed, and prints it.
const SIGN_REQUEST: &str = r#"
cd /root
openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=by-hand -out by-hand.csr \
    2>/dev/null
kubectl delete csr by-hand --ignore-not-found >/dev/null
kubectl create -f - >/dev/null <<END
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: by-hand}
spec:
  request: $(base64 -w 0 by-hand.csr)
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
END
kubectl certificate approve by-hand >/dev/null
for i in $(seq 300); do
    found=$(kubectl get csr by-hand -o jsonpath='{.status.certificate}')
    [ -z "$found" ] || break
    sleep 1
done
echo "$found" | base64 -d
"#;

/// What docs/root-ca.md says of the replacement without kubecertd, level by level. No request fails
/// that knows the right root.
pub fn replaced(_: &mut Node) {
    let node = Node::fresh("kubecertd-hand", "10.210.0.23");
    node.init("rsa", "10.210.0.23:6443");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    let node = node.kept();
    let [functions, staged, trusted, clients, servers, distrusted] =
        bash_blocks("Replacing it by hand").try_into().unwrap();
    let run = |level: &str, commands: &str| {
        let began = std::time::Instant::now();
        node.write("root/level", format!("{functions}{commands}"));
        node.exec("timeout 600 bash --norc -e -o pipefail /root/level");
        print_figure(&format!("{level} after {:.0} s", began.elapsed().as_secs_f64()));
    };
    let old = roots(&node).remove(0);
    let data = BASE64_STANDARD.encode(node.text(CA_CRT));
    node.write("root/webhook.yaml", WEBHOOK.replace("CA}", &format!("{data}}}")));
    node.exec("kubectl create -f /root/webhook.yaml");
    let knows_old = Meter::that_trusts(&node, std::slice::from_ref(&old));

    run("staged", staged);
    let new = certificates(&node.read("root/root-ca/new.crt")).unwrap().remove(0);
    let both = [old.clone(), new.clone()];
    assert!(node.text(MANIFEST).contains("/signing.crt"));
    let knows_both = Meter::that_trusts(&node, &both);
    run("trusted", trusted);
    assert_eq!(roots(&node), both);
    assert!(signed_request(&node).verifies_by(&old));
    run("clients", clients);
    assert_published(&node);
    assert!(signed_request(&node).verifies_by(&new));
    node.assert_accepted();
    run("servers", servers);
    node.wait_until_serving("kube-apiserver", "apiserver");
    let knows_new = Meter::as_administrator_now(&node, std::slice::from_ref(&new));
    let knows_all = Meter::as_administrator_now(&node, &both);
    std::thread::sleep(SETTLING);
    assert_no_failure([("the old root", knows_old), ("both, by an old certificate", knows_both)]);

    run("distrusted", distrusted);
    node.wait_for("the bridge is gone", |node| {
        let refused = node.try_exec("kubectl --kubeconfig /root/root-ca/before/admin.conf get ns");
        String::from_utf8_lossy(&refused.stderr).contains("unknown authority").then_some(())
    });
    assert_eq!(roots(&node), std::slice::from_ref(&new));
    assert!(!node.text(MANIFEST).contains("signing."));
    assert!(signed_request(&node).verifies_by(&new));
    assert_published(&node);
    assert_in_objects(&node);
    std::thread::sleep(SETTLING);
    assert_no_failure([("the new root", knows_new), ("both, by a new certificate", knows_all)]);

    // Everything is of the new root alone, and kubecertd finds nothing to do.
    let of_root = [
        "admin.conf",
        "controller-manager.conf",
        "scheduler.conf",
        "apiserver",
        "apiserver-kubelet-client",
    ];
    for name in of_root {
        let stored = node.usable_credentials().remove(name).unwrap();
        assert!(stored.certificate.verifies_by(&new) && stored.further.is_empty(), "{name}");
    }
    let kubelets = certificates(node.exec(&format!("cat /{CURRENT}")).as_bytes()).unwrap();
    assert!(kubelets[0].verifies_by(&new) && kubelets.len() == 1, "{kubelets:?}");
    let lease = || {
        node.kubectl("-n kube-node-lease get lease kubecertd-hand -o jsonpath='{.spec.renewTime}'")
    };
    let renewed = lease();
    node.wait_for("kubelet renews its Lease", |_| (lease() != renewed).then_some(()));
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    node.install_past_first_pass();
    let checked = node.exec("kubecertd check --output wide");
    assert!(!checked.contains("stale"), "{checked}");
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.renewed.is_empty(), "{pass:?}");
    assert!(pass.refreshed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    assert_in_use(&node);
    node.remove_machine();
}

/// The blocks of commands in a section of docs/root-ca.md.
pub fn bash_blocks(heading: &str) -> Vec<&'static str> {
    let page = include_str!("../../docs/root-ca.md");
    let is_wanted = |section: &&str| section.lines().next() == Some(heading);
    let section = page.split("\n### ").find(is_wanted).unwrap();
    let blocks = section.split("```bash\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// A certificate that kube-controller-manager has just signed.
fn signed_request(node: &Node) -> Certificate {
    certificates(node.exec(SIGN_REQUEST).as_bytes()).unwrap().remove(0)
}

/// Asserts that kube-controller-manager publishes ca.crt to all pods.
fn assert_published(node: &Node) {
    let ca = node.text(CA_CRT);
    let encoded = BASE64_STANDARD.encode(&ca);
    let of = |kind: &str, fields: &str| {
        node.kubectl(&format!("get {kind} -A --field-selector {fields} -o json"))
    };
    let contents = |text: String| -> Vec<String> {
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let items = found["items"].as_array().unwrap().iter();
        items.map(|item| item["data"]["ca.crt"].as_str().unwrap().to_owned()).collect()
    };
    node.wait_for("ca.crt is published", |_| {
        let maps = contents(of("configmaps", "metadata.name=kube-root-ca.crt"));
        let secrets = contents(of("secrets", "type=kubernetes.io/service-account-token"));
        assert!(!maps.is_empty());
        (maps.iter().all(|one| *one == ca) && secrets.iter().all(|one| *one == encoded))
            .then_some(())
    });
}

/// Asserts that the other objects of the API have the root of ca.crt alone.
fn assert_in_objects(node: &Node) {
    let data = BASE64_STANDARD.encode(node.text(CA_CRT));
    let info = node.kubectl("-n kube-public get configmap cluster-info -o yaml");
    assert!(info.contains(&format!("certificate-authority-data: {data}\n")), "{info}");
    let webhook = node.kubectl(
        "get validatingwebhookconfiguration by-hand \
         -o jsonpath='{.webhooks[0].clientConfig.caBundle}'",
    );
    assert_eq!(webhook, data);
    let clients = node.kubectl(
        "-n kube-system get configmap extension-apiserver-authentication \
         -o jsonpath='{.data.client-ca-file}'",
    );
    assert_eq!(clients, node.text(CA_CRT));
}

fn assert_no_failure<const N: usize>(meters: [(&str, Meter); N]) {
    for (known, meter) in meters {
        let figures = meter.stop();
        print_figure(&format!("a client that knows {known}: {figures}"));
        assert_eq!(figures.failed, 0, "{known}: {figures}");
    }
}
