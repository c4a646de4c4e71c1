//! kubelet's serving certificate, by its configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::common::kubelet::PKI_DIR;
use crate::common::requirements::require;
use crate::common::{ECDSA, Node};
use crate::support;

const CONFIG: &str = "var/lib/kubelet/config.yaml";
const SERVING: &str = "kubelet-serving";
/// A configuration that names a pair of files.
const NAMED: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
    rotateCertificates: true\ntlsCertFile: /etc/kubelet/tls.crt\n\
    tlsPrivateKeyFile: /etc/kubelet/tls.key\n";

/// Writes a certificate with `days_left` days left, and its key.
fn put_pair(node: &Node, certificate: &str, key: &str, days_left: i64) {
    let pem = node.kubelet_pem(days_left);
    let at = pem.find("-----BEGIN EC").or_else(|| pem.find("-----BEGIN PRIVATE")).unwrap();
    node.write(certificate, &pem[..at]);
    node.write(key, &pem[at..]);
    fs::set_permissions(node.path(key), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes the pair that kubelet makes itself, with `days_left` days left.
fn put_own_pair(node: &Node, days_left: u32) {
    let file = |end: &str| node.path(&format!("{PKI_DIR}/kubelet.{end}"));
    fs::create_dir_all(node.path(PKI_DIR)).unwrap();
    let (certificate, key) = (file("crt"), file("key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let request = node.path("request");
    let request = request.to_str().unwrap();
    #[rustfmt::skip]
    let arguments = [
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cp1@1764200000",
        "-out", request, "-keyout", key,
    ];
    assert!(support::run_tool("openssl", &arguments));
    let arguments = ["-selfsign", "-keyfile", key, "-in", request, "-out", certificate];
    support::sign_backdated(&arguments, days_left);
    fs::remove_file(request).unwrap();
}

fn put_bundle(node: &Node, days_left: i64) {
    let file = format!("{PKI_DIR}/kubelet-server-current.pem");
    node.write(&file, node.kubelet_pem(days_left));
}

/// Returns the line about a credential that `config show` prints.
fn shown(node: &Node, name: &str) -> String {
    let text = node.run(&["config", "show"]).text;
    let start = format!("# credential {name}: ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).to_owned()
}

/// Returns what `check` says of a credential that needs attention, and its exit code.
fn advice(node: &Node, name: &str) -> (i32, String) {
    let run = node.run(&["check"]);
    let start = format!("{name}: ");
    let line = run.text.lines().find_map(|line| line.trim_start().strip_prefix(&start));
    (run.code, line.unwrap_or_default().to_owned())
}

/// Returns the alarms about a credential after a pass: the id, and what to do.
fn alarms(node: &Node, name: &str) -> Vec<(String, String)> {
    node.run(&["run", "--once"]);
    let text = |alarm: &Value, key: &str| alarm[key].as_str().unwrap_or_default().to_owned();
    let all = support::alarms(node);
    all.iter()
        .filter(|alarm| text(alarm, "entity").ends_with(&format!(".{name}")))
        .map(|alarm| (text(alarm, "id"), text(alarm, "repair")))
        .collect()
}

#[test]
fn pair_that_kubelet_made_names_what_to_do() {
    require!("openssl");
    let node = Node::fresh(ECDSA);
    put_own_pair(&node, 5);
    let (code, advice) = advice(&node, SERVING);
    assert_eq!(code, 3);
    assert!(advice.contains("kubelet made it once and never renews it"), "{advice}");
    let remove = format!("remove /{PKI_DIR}/kubelet.crt and /{PKI_DIR}/kubelet.key and run");
    assert!(advice.contains(&remove) && advice.contains("serverTLSBootstrap: true"), "{advice}");
    let status = node.run(&["status"]).text;
    let line = status.lines().find(|line| line.starts_with(SERVING)).unwrap();
    assert!(line.ends_with("by the operator"), "{line}");
    let found = alarms(&node, SERVING);
    assert!(
        matches!(&found[..], [(id, repair)] if id == "expiring-soon" && repair.contains("emove /")),
        "{found:?}"
    );
    put_own_pair(&node, 300);
    assert_eq!(alarms(&node, SERVING), []);
    assert_eq!(advice_code(&node), 0);
}

/// Often the cluster's CA has signed it, so that others can verify kubelet: a pair that kubelet
/// makes in its place would end that.
#[test]
fn pair_of_the_operator_in_the_place_of_kubelets_is_not_to_be_removed() {
    let node = Node::fresh(ECDSA);
    let file = |end: &str| format!("{PKI_DIR}/kubelet.{end}");
    put_pair(&node, &file("crt"), &file("key"), 5);
    let (code, advice) = advice(&node, SERVING);
    assert_eq!(code, 3);
    let why = "kubelet did not make it (it is for CN=system:node:cp1,O=system:nodes), and never";
    assert!(advice.contains(why) && !advice.contains("remove"), "{advice}");
    let found = alarms(&node, SERVING);
    assert!(
        matches!(&found[..], [(_, repair)] if repair.starts_with("Renew it where it was made")),
        "{found:?}"
    );
}

fn advice_code(node: &Node) -> i32 {
    advice(node, SERVING).0
}

#[test]
fn configuration_decides_which_certificate_kubelet_serves() {
    require!("openssl");
    let own = format!("pair /{PKI_DIR}/kubelet.crt, /{PKI_DIR}/kubelet.key, watched, renewed by");
    let bundle = format!("bundle /{PKI_DIR}/kubelet-server-current.pem, renewed by kubelet");
    let named = "pair /etc/kubelet/tls.crt, /etc/kubelet/tls.key, watched, renewed by";
    let by_file = format!("{named} the operator, needed by tlsCertFile in /{CONFIG}");
    let by_flag = format!("{named} the operator, needed by --tls-cert-file in kubelet's flags");
    let env = "var/lib/kubelet/kubeadm-flags.env";
    let unit = "etc/systemd/system/kubelet.service.d/10-kubeadm.conf";
    let start = "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/etc/own.yaml\n";
    let dir = "[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS=--config-dir=/etc/kubelet.d\"\n";
    let bootstrap = "serverTLSBootstrap: true\n";
    let both = format!("{NAMED}{bootstrap}");
    let flags = "KUBELET_KUBEADM_ARGS=\"--tls-cert-file=/etc/kubelet/tls.crt \
        --tls-private-key-file=/etc/kubelet/tls.key\"\n";
    let instance = "var/lib/kubelet/instance-config.yaml";
    type Files<'f> = &'f [(&'f str, &'f str)];
    let cases: [(&str, Files<'_>, &str); 9] = [
        ("a pem that was left over", &[(CONFIG, "serverTLSBootstrap: false\n")], &own),
        ("requested from the cluster", &[(CONFIG, bootstrap)], &bundle),
        ("named in the file", &[(CONFIG, NAMED)], &by_file),
        ("the cluster's takes precedence", &[(CONFIG, &both)], &bundle),
        ("named by flags", &[(CONFIG, "port: 10250\n"), (env, flags)], &by_flag),
        ("switched on by a flag", &[(CONFIG, NAMED), (env, BOOTSTRAP_FLAG)], &bundle),
        ("another file", &[(CONFIG, NAMED), ("etc/own.yaml", bootstrap), (unit, start)], &bundle),
        (
            "a drop-in",
            &[(CONFIG, NAMED), (unit, dir), ("etc/kubelet.d/50-x.conf", bootstrap)],
            &bundle,
        ),
        ("what kubeadm has merged", &[(CONFIG, NAMED), (instance, NAMED)], &by_file),
    ];
    for (case, files, expected) in cases {
        let node = Node::fresh(ECDSA);
        put_own_pair(&node, 200);
        put_bundle(&node, 200);
        put_pair(&node, "etc/kubelet/tls.crt", "etc/kubelet/tls.key", 200);
        files.iter().for_each(|(file, text)| node.write(file, text));
        let found = shown(&node, SERVING);
        assert!(found.starts_with(expected), "{case}: {found}");
        assert_eq!(advice_code(&node), 0, "{case}");
    }
}

const BOOTSTRAP_FLAG: &str = "KUBELET_KUBEADM_ARGS=\"--rotate-server-certificates\"\n";

#[test]
fn pair_of_kubelets_configuration_is_watched() {
    let node = Node::fresh(ECDSA);
    put_bundle(&node, 300);
    node.write(CONFIG, NAMED);
    let (code, text) = advice(&node, SERVING);
    let missing = format!("/etc/kubelet/tls.crt does not exist, and tlsCertFile in /{CONFIG}");
    assert!(code == 3 && text.starts_with(&missing), "{code} {text}");
    put_pair(&node, "etc/kubelet/tls.crt", "etc/kubelet/tls.key", 5);
    let before = node.read("etc/kubelet/tls.crt");
    let (code, text) = advice(&node, SERVING);
    assert!(code == 3 && text.contains("kubelet does not renew it: renew it where"), "{text}");
    let found = alarms(&node, SERVING);
    assert!(matches!(&found[..], [(id, _)] if id == "expiring-soon"), "{found:?}");
    assert_eq!(node.read("etc/kubelet/tls.crt"), before, "it is not renewed here");
    put_pair(&node, "etc/kubelet/tls.crt", "etc/kubelet/tls.key", -2);
    let found = alarms(&node, SERVING);
    assert!(matches!(&found[..], [(id, _)] if id == "expired"), "{found:?}");
}

/// An own entry with an authority says that kubecertd renews it, by either name.
#[test]
fn own_entry_has_pair_of_kubelets_configuration_renewed() {
    for name in [SERVING, "kubelet-tls"] {
        let node = Node::fresh(ECDSA);
        node.write(CONFIG, NAMED);
        put_pair(&node, "etc/kubelet/tls.crt", "etc/kubelet/tls.key", 5);
        let entry = format!(
            "[[credential]]\nname = \"{name}\"\nca = \"ca\"\n\
             certificate = \"/etc/kubelet/tls.crt\"\nkey = \"/etc/kubelet/tls.key\"\n"
        );
        node.write("etc/kubecertd/kubecertd.toml", entry);
        let before = node.read("etc/kubelet/tls.crt");
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{name}: {}", run.text);
        assert_ne!(node.read("etc/kubelet/tls.crt"), before, "{name}: {}", run.text);
        let uses = node.run(&["config", "show"]).text;
        assert!(uses.contains(name) && (name == SERVING || !uses.contains(SERVING)), "{uses}");
    }
}

#[test]
fn own_entry_has_combined_pem_of_kubelets_configuration_renewed() {
    let node = Node::fresh(ECDSA);
    let file = "etc/kubelet/tls.pem";
    node.write(CONFIG, NAMED.replace("tls.crt", "tls.pem").replace("tls.key", "tls.pem"));
    node.write(file, node.kubelet_pem(5));
    fs::set_permissions(node.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(shown(&node, SERVING).starts_with(&format!("bundle /{file}, watched, renewed by the")));
    let entry = format!("[[credential]]\nname = \"tls\"\nca = \"ca\"\nbundle = \"/{file}\"\n");
    node.write("etc/kubecertd/kubecertd.toml", entry);
    let before = node.read(file);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_ne!(node.read(file), before, "{}", run.text);
}

/// kubelet and the API server can share a pair: it is renewed, and kubelet is refreshed for it.
#[test]
fn pair_of_api_server_in_kubelets_configuration_is_renewed() {
    let node = Node::due();
    let text = NAMED.replace("/etc/kubelet/tls", "/etc/kubernetes/pki/apiserver");
    node.write(CONFIG, text);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let shown = node.run(&["config", "show"]).text;
    assert!(!shown.contains("# credential kubelet-serving"), "{shown}");
    assert!(shown.contains("kubelet-serving and apiserver are the same credential"), "{shown}");
}

#[test]
fn configuration_of_other_users_does_not_count() {
    require!("openssl");
    let node = Node::fresh(ECDSA);
    put_own_pair(&node, 200);
    put_pair(&node, "etc/kubelet/tls.crt", "etc/kubelet/tls.key", 200);
    node.write(CONFIG, NAMED);
    assert!(shown(&node, SERVING).contains("tls.crt"));
    fs::set_permissions(node.path(CONFIG), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(shown(&node, SERVING).contains("kubelet.crt"));
    let text = node.run(&["check"]).text;
    assert!(text.contains(CONFIG) && text.contains("has mode 0666"), "{text}");
}

#[test]
fn client_certificate_without_rotation_is_not_left_to_kubelet() {
    let client = "kubelet-client";
    let with_rotation = |value: &str| {
        let node = Node::fresh(ECDSA);
        node.add_kubelet_certificate(10);
        node.link_kubelet_conf();
        node.write(CONFIG, format!("kind: KubeletConfiguration\nrotateCertificates: {value}\n"));
        node
    };
    let (_, text) = advice(&with_rotation("true"), client);
    assert!(text.ends_with("kubelet renews it, not kubecertd"), "{text}");
    let node = with_rotation("false");
    let (code, text) = advice(&node, client);
    assert!(code == 3 && !text.contains("kubelet renews it"), "{text}");
    let why = format!("kubelet does not renew it: rotateCertificates in /{CONFIG} is false");
    assert!(text.contains(&why), "{text}");
    assert!(text.contains("kubecertd renew kubelet-client --force"), "{text}");
    let found = alarms(&node, client);
    assert!(matches!(&found[..], [(id, _)] if id == "expiring-soon"), "{found:?}");
    let before = node.kubelet_certificate().serial;
    let run = node.run(&["renew", client, "--force"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_ne!(node.kubelet_certificate().serial, before);
}
