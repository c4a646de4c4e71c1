//! Static pods that say their flags otherwise, and other users of renewed files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use kubecertd::formats::x509::{PrivateKey, certificates};
use kubecertd::model::{Timestamp, days};

use crate::common::{Node, PKI, RSA, Run, fixture, now};
use crate::support::{self, json};

const MANIFESTS: &str = "etc/kubernetes/manifests";
const ETCD: &str = "etc/kubernetes/manifests/etcd.yaml";
const APISERVER: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
/// Where the certificates of etcd are in these tests: not at the usual place.
const MEMBER: &str = "etc/kubernetes/pki/member";

/// A node with everything due, whose etcd has its certificates at another place than usual.
fn node() -> Node {
    let node = Node::due();
    fs::rename(node.path("etc/kubernetes/pki/etcd"), node.path(MEMBER)).unwrap();
    node.edit(APISERVER, "/pki/etcd/", "/pki/member/");
    node.remove(ETCD);
    node
}

/// Writes the manifest of a pod that sees the certificates and `/srv/etcd` as `/etc/etcd`.
fn pod(node: &Node, file: &str, name: &str, labels: &str, container: &str) {
    let text = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: kube-system, labels: {{{labels}}}}}
spec:
  hostNetwork: true
  containers:
  - volumeMounts:
    - {{name: pki, mountPath: /etc/kubernetes/pki}}
    - {{name: etcd, mountPath: /etc/etcd}}
{}
  volumes:
  - {{name: pki, hostPath: {{path: /etc/kubernetes/pki}}}}
  - {{name: etcd, hostPath: {{path: /srv/etcd}}}}
",
        container.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    );
    node.write(&format!("{MANIFESTS}/{file}"), text);
    node.backdate_manifests();
}

/// The flags that name the pairs of etcd, one a line.
fn flags(before: &str) -> String {
    let flag = |(flag, file): (&str, &str)| format!("{before}--{flag}=/{MEMBER}/{file}");
    [
        ("cert-file", "server.crt"),
        ("key-file", "server.key"),
        ("peer-cert-file", "peer.crt"),
        ("peer-key-file", "peer.key"),
        ("trusted-ca-file", "ca.crt"),
        ("peer-trusted-ca-file", "ca.crt"),
    ]
    .map(flag)
    .join("\n")
}

fn expiry(node: &Node, file: &str) -> Timestamp {
    certificates(&node.read(file)).unwrap().remove(0).not_after
}

fn is_renewed(node: &Node, file: &str) -> bool {
    expiry(node, file) > now().plus(days(300))
}

/// Has everything renewed, and asserts that the pairs of etcd are.
fn assert_etcd_is_renewed(node: &Node) {
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    for name in ["server", "peer", "healthcheck-client"] {
        assert!(is_renewed(node, &format!("{MEMBER}/{name}.crt")), "{name}: {}", run.text);
    }
    let run = node.run(&["check"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(alarms(node), [""; 0]);
}

/// The alarms in force after a pass, by kind and entity.
fn alarms(node: &Node) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = support::alarms(node);
    all.iter().map(|one| format!("{} {}", text(&one["id"]), text(&one["entity"]))).collect()
}

/// Asserts that a manifest is reported as unclear by `check`, its JSON and an alarm.
fn assert_unclear(node: &Node, file: &str, words: &str) -> Run {
    let run = node.run(&["renew"]);
    assert!(run.text.contains(words), "{}", run.text);
    let check = node.run(&["check"]);
    assert_eq!(check.code, 3, "{}", check.text);
    assert!(check.text.contains(words), "{}", check.text);
    let json = json(node);
    assert_eq!(json["unclearManifests"][0]["file"], format!("/{MANIFESTS}/{file}"));
    assert!(json["unclearManifests"][0]["reason"].as_str().unwrap().contains(words), "{json}");
    assert_eq!(alarms(node), [format!("manifest-unclear file=/{MANIFESTS}/{file}")]);
    run
}

// ---- settings that are no flags ----

#[test]
fn etcd_is_found_by_variables() {
    let node = node();
    let variables: Vec<String> = flags("")
        .lines()
        .map(|flag| {
            let (name, value) = flag.trim_start_matches('-').split_once('=').unwrap();
            let name = name.replace('-', "_").to_uppercase();
            format!("- {{name: ETCD_{name}, value: {value}}}")
        })
        .collect();
    let container = format!("name: etcd\ncommand: [etcd]\nenv:\n{}", variables.join("\n"));
    pod(&node, "etcd.yaml", "etcd", "", &container);
    assert_etcd_is_renewed(&node);
}

/// A node whose etcd has a configuration file.
fn configured() -> Node {
    let node = node();
    let section = |name: &str| {
        format!(
            "  cert-file: /{MEMBER}/{name}.crt\n  key-file: /{MEMBER}/{name}.key\n  \
             trusted-ca-file: /{MEMBER}/ca.crt\n"
        )
    };
    let file = format!(
        "name: cp1\nclient-transport-security:\n{}peer-transport-security:\n{}",
        section("server"),
        section("peer")
    );
    node.write("srv/etcd/etcd.yaml", file);
    // With a file, flags and variables do not count.
    let container = "name: etcd\ncommand: [etcd, --cert-file=/opt/x.crt]\n\
        env: [{name: ETCD_CONFIG_FILE, value: /etc/etcd/etcd.yaml}]";
    pod(&node, "etcd.yaml", "etcd", "", container);
    node
}

#[test]
fn etcd_is_found_by_its_configuration_file() {
    assert_etcd_is_renewed(&configured());
    let node = configured();
    node.remove("srv/etcd/etcd.yaml");
    assert_unclear(&node, "etcd.yaml", "ETCD_CONFIG_FILE=/etc/etcd/etcd.yaml: ");
}

#[test]
fn configuration_file_of_others_names_no_certificate() {
    for (path, mode) in [("srv/etcd/etcd.yaml", 0o666), ("srv/etcd", 0o777)] {
        let node = configured();
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(mode)).unwrap();
        assert_unclear(&node, "etcd.yaml", "ETCD_CONFIG_FILE=/etc/etcd/etcd.yaml: ");
        assert!(!is_renewed(&node, &format!("{MEMBER}/server.crt")), "{path}");
    }
}

#[test]
fn scheduler_is_found_by_its_configuration_file() {
    let node = Node::due();
    fs::rename(
        node.path("etc/kubernetes/scheduler.conf"),
        node.path("etc/kubernetes/pki/scheduler.conf"),
    )
    .unwrap();
    node.write(
        "srv/etcd/scheduler.yaml",
        "kind: KubeSchedulerConfiguration\n\
         clientConnection: {kubeconfig: /etc/kubernetes/pki/scheduler.conf}\n",
    );
    let container = "name: kube-scheduler\n\
        command: [kube-scheduler, --config=/etc/etcd/scheduler.yaml]";
    pod(&node, "kube-scheduler.yaml", "kube-scheduler", "", container);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(node.certificate("scheduler.conf").not_after > now().plus(days(300)), "{}", run.text);
    assert_eq!(alarms(&node), [""; 0]);
}

#[test]
fn variables_in_arguments_are_replaced() {
    let node = node();
    let flags = flags("- ").replace(&format!("/{MEMBER}"), "$(DIR)");
    let container = format!(
        "name: etcd\ncommand: [etcd]\nargs:\n{flags}\n\
         env: [{{name: PKI, value: /etc/kubernetes/pki}}, {{name: DIR, value: $(PKI)/member}}]"
    );
    pod(&node, "etcd.yaml", "etcd", "", &container);
    assert_etcd_is_renewed(&node);
}

#[test]
fn script_of_a_shell_is_read() {
    let node = node();
    let container = format!(
        "name: etcd\ncommand: [/bin/bash, -ec]\nargs:\n- |\n  set -o pipefail\n  \
         mkdir -p /var/lib/etcd && exec etcd \\\n{} \\\n    --name \"cp 1\" 2>&1",
        flags("    ").replace('\n', " \\\n")
    );
    pod(&node, "etcd.yaml", "etcd", "", &container);
    assert_etcd_is_renewed(&node);
}

#[test]
fn value_that_is_not_known_is_reported() {
    for (value, shown) in [
        ("/etc/kubernetes/pki/$(NODE).crt", "/etc/kubernetes/pki/$(NODE).crt"),
        ("$(hostname).crt", "$(hostname).crt"),
    ] {
        let node = node();
        let flags = flags("- ").replace(&format!("=/{MEMBER}/server.crt"), &format!("={value}"));
        let container = format!(
            "name: etcd\ncommand: [etcd]\nargs:\n{flags}\n\
             env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]"
        );
        pod(&node, "etcd.yaml", "etcd", "", &container);
        assert_unclear(
            &node,
            "etcd.yaml",
            &format!(
                "manifest etcd.yaml: --cert-file={shown}: it depends on a variable or a command \
                 whose value is not known here"
            ),
        );
        assert!(is_renewed(&node, &format!("{MEMBER}/peer.crt")), "the other pair is");
    }
}

/// Every step of the script is common; together they show that nothing of it is mistaken for what
/// it is not.
#[test]
fn script_with_preparations_is_read() {
    let node = node();
    let container = format!(
        "name: etcd\ncommand: [tini, --, /bin/bash, -ec]\nargs:\n- |\n  \
         cat <<EOF >/tmp/motd\n  don't touch: etcd --cert-file=/x\n  EOF\n  \
         command -v etcd >/dev/null || exit 1\n  \
         [ -d /var/lib/etcd ] || mkdir -p /var/lib/etcd\n  \
         DIR=/etc/kubernetes/pki; DIR+=/member\n  set -- --name cp1 \"$@\"\n  \
         exec etcd \\\n{} \\\n    \"$@\" 2>&1 | tee -a /var/log/etcd.log",
        flags("    ").replace(&format!("/{MEMBER}"), "$DIR").replace('\n', " \\\n")
    );
    pod(&node, "etcd.yaml", "etcd", "", &container);
    assert_etcd_is_renewed(&node);
}

#[test]
fn value_that_is_set_under_a_condition_is_not_known() {
    for set in ["[ -f /x ] &&", "test -f /x ||", "if [ -f /x ]; then", "true; false ||"] {
        let node = node();
        let flags = flags("    ").replace(&format!("/{MEMBER}/server."), "$P.");
        let end = if set.starts_with("if") { "; fi" } else { "" };
        let container = format!(
            "name: etcd\ncommand: [sh, -c]\nargs:\n- |\n  P=/{MEMBER}/server\n  \
             {set} P=/{MEMBER}/other{end}\n  exec etcd \\\n{}",
            flags.replace('\n', " \\\n")
        );
        copy_pair(&node, &format!("{MEMBER}/server"), &format!("{MEMBER}/other"));
        pod(&node, "etcd.yaml", "etcd", "", &container);
        let words = "manifest etcd.yaml: --cert-file=$P.crt: it depends on a variable or a command";
        assert_unclear(&node, "etcd.yaml", words);
        for file in ["server", "other"] {
            assert!(!is_renewed(&node, &format!("{MEMBER}/{file}.crt")), "{set}: {file}");
        }
    }
}

#[test]
fn relative_path_is_reported() {
    let node = node();
    let flags = flags("- ").replace(&format!("/{MEMBER}/server."), "server.");
    let container = format!("name: etcd\nworkingDir: /{MEMBER}\ncommand: [etcd]\nargs:\n{flags}");
    pod(&node, "etcd.yaml", "etcd", "", &container);
    let words = "manifest etcd.yaml: --cert-file=server.crt: it is not an absolute path";
    assert_unclear(&node, "etcd.yaml", words);
}

#[test]
fn manifest_of_a_component_that_cannot_be_read_is_reported() {
    let node = node();
    node.write(ETCD, "kind: Pod\nmetadata: {name: etcd\n");
    node.backdate_manifests();
    assert_unclear(&node, "etcd.yaml", "manifest etcd.yaml: it can't be read as a pod: ");
    let node = self::node();
    node.write(ETCD, "#".repeat(2 << 20));
    node.backdate_manifests();
    assert_unclear(&node, "etcd.yaml", "/etc/kubernetes/manifests/etcd.yaml: is larger than ");
    // Other files, and a broken copy beside the manifest, change nothing for the component.
    let node = Node::due();
    for file in ["notes.txt", "etcd.yaml.bak"] {
        node.write(&format!("{MANIFESTS}/{file}"), "kind: Pod\nmetadata: {name: etcd\n");
    }
    node.write(&format!("{MANIFESTS}/large.yaml"), "#".repeat(2 << 20));
    node.backdate_manifests();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(alarms(&node), [""; 0]);
}

// ---- pods by other names ----

#[test]
fn pod_of_a_component_may_have_another_name() {
    let flags = flags("- ");
    for (name, labels, container) in [
        ("etcd0", "", format!("name: etcd0\ncommand: [/usr/local/bin/etcd]\nargs:\n{flags}")),
        ("etcd0", "component: etcd", format!("name: x\ncommand: [/run.sh]\nargs:\n{flags}")),
        ("member", "", format!("name: etcd\ncommand: [/run.sh]\nargs:\n{flags}")),
        ("member", "", format!("name: m\nimage: quay.io/coreos/etcd:v3.5.1\nargs:\n{flags}")),
    ] {
        let node = node();
        pod(&node, "member.yaml", name, labels, &container);
        assert_etcd_is_renewed(&node);
    }
}

#[test]
fn component_without_certificates_is_reported() {
    let node = node();
    pod(&node, "etcd.yaml", "etcd", "", "name: etcd\ncommand: [/run.sh]");
    let words = "manifest etcd.yaml: the pod etcd seems to run etcd, and names no certificate";
    assert_unclear(&node, "etcd.yaml", words);
    // The operator lists what it uses.
    let own = |name: &str, file: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\ncertificate = \"/{MEMBER}/{file}.crt\"\n\
             key = \"/{MEMBER}/{file}.key\"\n"
        )
    };
    node.write(
        "etc/kubecertd/kubecertd.toml",
        own("etcd/server", "server") + &own("etcd/peer", "peer"),
    );
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(is_renewed(&node, &format!("{MEMBER}/server.crt")), "{}", run.text);
    assert_eq!(alarms(&node), [""; 0], "it is cleared");
}

#[test]
fn component_without_tls_names_no_certificates() {
    let node = node();
    let container = "name: etcd\ncommand: [etcd, '--listen-client-urls=http://127.0.0.1:2379', \
        '--listen-peer-urls=http://127.0.0.1:2380']";
    pod(&node, "etcd.yaml", "etcd", "", container);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(alarms(&node), [""; 0]);
}

#[test]
fn copy_of_a_manifest_is_reported() {
    for file in ["etcd.yaml.bak", "etcd-old.yaml", "etcd"] {
        let node = Node::due();
        node.write(&format!("{MANIFESTS}/{file}"), node.text(ETCD).replace("/server.", "/old."));
        node.backdate_manifests();
        let words = format!("manifests etcd.yaml and {file} are both for the pod etcd");
        assert_unclear(&node, file, &words);
        assert!(is_renewed(&node, "etc/kubernetes/pki/etcd/server.crt"), "{file}");
    }
    let node = Node::due();
    node.write(&format!("{MANIFESTS}/.etcd.yaml"), node.text(ETCD));
    node.run(&["renew"]);
    assert_eq!(node.run(&["check"]).code, 0, "kubelet does not read it");
}

#[test]
fn second_pod_of_a_component_is_reported() {
    let node = Node::due();
    let container = "name: etcd0\ncommand: [etcd, --cert-file=/etc/kubernetes/pki/etcd0.crt]";
    pod(&node, "etcd0.yaml", "etcd0", "", container);
    let words = "manifest etcd0.yaml: the pod etcd0 runs etcd, as the pod of etcd.yaml does";
    assert_unclear(&node, "etcd0.yaml", words);
    assert!(is_renewed(&node, "etc/kubernetes/pki/etcd/server.crt"));
    // One that the operator lists is meant to be there.
    node.write(
        "etc/kubecertd/kubecertd.toml",
        "[[service]]\nname = \"etcd0\"\npod = \"etcd0\"\n\
         uses = [{ credential = \"etcd/server\", takes = \"reloads\" }]\n",
    );
    assert_eq!(node.run(&["check"]).code, 0, "{}", node.run(&["check"]).text);
}

#[test]
fn pod_that_only_gets_a_path_of_a_component_is_another() {
    for command in [
        "[nice, -n, '5', tar, czf, /backup.tgz, /var/lib/etcd]",
        "[sh, -c, 'while sleep 60; do exec rsync -a /var/lib/etcd /backup; done']",
    ] {
        let node = Node::due();
        pod(&node, "backup.yaml", "backup", "", &format!("name: backup\ncommand: {command}"));
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert_eq!(alarms(&node), [""; 0], "{command}");
    }
}

// ---- other users of renewed files ----

/// A static pod that mounts one file of the host by itself.
fn kube_vip(node: &Node, more: &str) {
    let text = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: kube-vip, namespace: kube-system}}
spec:
  containers:
  - {{name: kube-vip, args: [manager], volumeMounts: [{{name: c, mountPath: /in/admin.conf}}]}}
  {more}
  volumes:
  - {{name: c, hostPath: {{path: /etc/kubernetes/admin.conf}}}}
  - {{name: k, hostPath: {{path: /etc/kubernetes}}}}
"
    );
    node.write(&format!("{MANIFESTS}/kube-vip.yaml"), text);
    node.backdate_manifests();
}

#[test]
fn static_pod_that_uses_a_file_is_named() {
    let node = Node::due();
    kube_vip(&node, "");
    let named = "the static pod kube-vip (kube-vip.yaml, container kube-vip) uses admin.conf: \
        kubecertd does not restart it";
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains(named), "{}", run.text);
    let restart = "The static pod kube-vip uses admin.conf, and kubecertd does not restart it";
    assert!(run.text.contains(restart), "{}", run.text);
    for arguments in [&["check"][..], &["check", "-o", "wide"]] {
        let check = node.run(arguments);
        assert_eq!(check.code, 0, "{}", check.text);
        assert!(check.text.contains(named), "{}", check.text);
    }
    let expected = serde_json::json!([{
        "pod": "kube-vip", "manifest": "kube-vip.yaml", "container": "kube-vip",
        "credentials": ["admin.conf"]
    }]);
    assert_eq!(json(&node)["consumers"], expected);
    let run = node.run(&["restore", "admin.conf"]);
    assert!(run.text.contains(restart), "{}", run.text);
}

#[test]
fn static_pod_that_is_listed_is_a_service() {
    let node = Node::due();
    kube_vip(&node, "");
    node.write(
        "etc/kubecertd/kubecertd.toml",
        "[[service]]\nname = \"vip\"\npod = \"kube-vip\"\n\
         uses = [{ credential = \"admin.conf\", takes = \"restart\" }]\n",
    );
    let run = node.run(&["renew"]);
    assert!(run.text.contains("vip reads admin.conf only when it starts: restart it"));
    assert!(!run.text.contains("does not restart it"), "{}", run.text);
    assert_eq!(json(&node)["consumers"], serde_json::json!([]));
}

#[test]
fn mounted_directory_is_no_use_but_a_named_file_is() {
    let uses = |container: &str| {
        let node = Node::due();
        kube_vip(&node, container);
        let all = json(&node)["consumers"].as_array().unwrap().clone();
        let other = all.into_iter().find(|one| one["container"] == "other");
        other.map(|one| one["credentials"].to_string())
    };
    let mounted = "volumeMounts: [{name: k, mountPath: /k8s}]";
    for (container, expected) in [
        ("command: [/agent, --dir=/k8s/pki]", None),
        ("command: [curl, --cert, /k8s/pki/apiserver-etcd-client.crt]", Some("apiserver-etcd")),
        ("command: [sh, -c, 'exec exporter --key=\"/k8s/pki/etcd/peer.key\"']", Some("etcd/peer")),
        ("command: [sh, -c, 'D=/k8s; exec x --kubeconfig=$D/admin.conf']", Some("admin.conf")),
        ("env: [{name: KUBECONFIG, value: /k8s/scheduler.conf}]", Some("scheduler.conf")),
        ("livenessProbe: {exec: {command: [x, /k8s/pki/etcd/server.crt]}}", Some("etcd/server")),
        ("command: [x, /k8s/pki/ca.crt, /k8s/pki/sa.key]", None),
        ("command: [x, /other/scheduler.conf]", None),
    ] {
        let found = uses(&format!("- {{name: other, {container}, {mounted}}}"));
        match expected {
            None => assert_eq!(found, None, "{container}"),
            Some(name) => assert!(found.unwrap().contains(name), "{container}"),
        }
    }
}

#[test]
fn init_container_that_goes_on_running_is_named() {
    for (policy, expected) in [("restartPolicy: Always, ", 1), ("", 0)] {
        let node = Node::due();
        node.edit(
            "etc/kubernetes/manifests/kube-scheduler.yaml",
            "spec:\n  containers:\n",
            &format!(
                "spec:\n  initContainers:\n  - {{name: beside, {policy}volumeMounts: [{{name: \
                 kubeconfig, mountPath: /etc/kubernetes/scheduler.conf}}]}}\n  containers:\n"
            ),
        );
        let json = json(&node);
        assert_eq!(json["consumers"].as_array().unwrap().len(), expected, "{json}");
    }
}

#[test]
fn container_beside_a_component_is_named() {
    let node = Node::due();
    node.edit(
        "etc/kubernetes/manifests/kube-scheduler.yaml",
        "spec:\n  containers:\n",
        "spec:\n  containers:\n  - name: beside\n    command: [x, /etc/kubernetes/scheduler.conf]\n\
         \x20   volumeMounts: [{name: kubeconfig, mountPath: /etc/kubernetes/scheduler.conf}]\n",
    );
    let json = json(&node);
    assert_eq!(json["consumers"].as_array().unwrap().len(), 1);
    assert_eq!(json["consumers"][0]["container"], "beside");
    assert_eq!(node.run(&["renew"]).code, 0);
}

// ---- serving certificates that only flags name ----

/// Copies a pair of the node.
fn copy_pair(node: &Node, from: &str, to: &str) {
    for end in ["crt", "key"] {
        node.write(&format!("{to}.{end}"), node.read(&format!("{from}.{end}")));
    }
}

fn add_flags(node: &Node, component: &str, flags: &[&str]) {
    let file = format!("{MANIFESTS}/{component}.yaml");
    let first = format!("    - {component}\n");
    let flags: String = flags.iter().map(|flag| format!("    - {flag}\n")).collect();
    node.edit(&file, &first, &(first.clone() + &flags));
}

/// A node whose components have serving certificates of their own.
fn serving() -> Node {
    let node = Node::due();
    let pki = "etc/kubernetes/pki";
    for to in ["cm", "public", "other", "apart/public"] {
        copy_pair(&node, &format!("{pki}/apiserver"), &format!("{pki}/{to}"));
    }
    add_flags(
        &node,
        "kube-controller-manager",
        &[
            "--tls-cert-file=/etc/kubernetes/pki/cm.crt",
            "--tls-private-key-file=/etc/kubernetes/pki/cm.key",
        ],
    );
    add_flags(
        &node,
        "kube-apiserver",
        &[
            "--tls-sni-cert-key=/etc/kubernetes/pki/public.crt,/etc/kubernetes/pki/public.key",
            "'--tls-sni-cert-key=/etc/kubernetes/pki/other.crt,/etc/kubernetes/pki/other.key:\
             api.example.com,*.example.com'",
            "--tls-sni-cert-key",
            "/etc/kubernetes/pki/apart/public.crt,/etc/kubernetes/pki/apart/public.key",
        ],
    );
    node
}

const SERVING: [(&str, &str); 4] = [
    ("controller-manager-serving", "cm"),
    ("apiserver-sni/public", "public"),
    ("apiserver-sni/other", "other"),
    ("apiserver-sni/public-2", "apart/public"),
];

#[test]
fn serving_certificates_of_flags_are_renewed_by_the_ca_that_signed_them() {
    let node = serving();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    for (name, file) in SERVING {
        assert!(is_renewed(&node, &format!("etc/kubernetes/pki/{file}.crt")), "{}", run.text);
        let own = node.managed_credentials().into_iter().find(|one| one.name.as_str() == name);
        assert_eq!(own.unwrap().authority.unwrap().as_str(), "ca");
        assert!(node.usable_credentials().contains_key(name), "its key fits");
    }
    assert_eq!(node.run(&["check"]).code, 0);
    assert_eq!(alarms(&node), [""; 0]);
}

#[test]
fn serving_certificates_of_other_cas_are_watched() {
    let node = serving();
    let foreign = fixture(RSA);
    let pki = |file: &str| foreign[&format!("etc/kubernetes/pki/{file}")].clone();
    let ca = certificates(&pki("ca.crt")).unwrap().remove(0);
    let key = PrivateKey::from_pem(&pki("ca.key")).unwrap();
    node.sign_with("apiserver-sni/public", &ca, &key, 5);
    let other = node.read("etc/kubernetes/pki/public.crt");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.read("etc/kubernetes/pki/public.crt"), other);
    let json = json(&node);
    let watched = json["watched"].as_array().unwrap();
    let public = watched.iter().find(|one| one["name"] == "apiserver-sni/public").unwrap();
    assert_eq!(public["attention"], true, "{public}");
    let raised = alarms(&node);
    assert_eq!(raised, ["expiring-soon system.certificate.apiserver-sni/public"]);
    assert_eq!(node.run(&["check"]).code, 3);
}

/// A pair that is renewed under one name must not be renewed again under another.
#[test]
fn pair_that_is_named_through_links_is_renewed_once() {
    let node = Node::due();
    for end in ["crt", "key"] {
        symlink(format!("apiserver.{end}"), node.path(&format!("{PKI}/link.{end}"))).unwrap();
        let client = format!("{PKI}/etcd/healthcheck-client.{end}");
        node.remove(&client);
        symlink(format!("server.{end}"), node.path(&client)).unwrap();
    }
    symlink("pki", node.path("etc/kubernetes/pki2")).unwrap();
    let sni = |pair: &str| format!("--tls-sni-cert-key={pair}.crt,{pair}.key");
    let sni = ["/etc/kubernetes/pki/link", "/etc/kubernetes/pki2/apiserver"].map(sni);
    add_flags(&node, "kube-apiserver", &sni.each_ref().map(String::as_str));
    let from = "    - mountPath: /etc/kubernetes/pki\n";
    node.edit(
        APISERVER,
        from,
        &format!("    - {{mountPath: /etc/kubernetes/pki2, name: p2}}\n{from}"),
    );
    node.edit(
        APISERVER,
        "  volumes:\n",
        "  volumes:\n  - {name: p2, hostPath: {path: /etc/kubernetes/pki2}}\n",
    );
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(is_renewed(&node, "etc/kubernetes/pki/apiserver.crt"));
    assert!(is_renewed(&node, "etc/kubernetes/pki/etcd/server.crt"));
    assert!(!run.text.contains("apiserver-sni"), "{}", run.text);
    let link = fs::read_link(node.path(&format!("{PKI}/link.crt"))).unwrap();
    assert_eq!(link.to_str(), Some("apiserver.crt"));
    assert_eq!(node.run(&["check"]).code, 0);
    assert_eq!(alarms(&node), [""; 0]);
}

/// Entries that were made for such files before they were known stay what they are.
#[test]
fn own_entries_for_serving_certificates_stay() {
    let node = serving();
    node.write(
        "etc/kubecertd/kubecertd.toml",
        "[[credential]]\nname = \"own\"\nca = \"ca\"\n\
         certificate = \"/etc/kubernetes/pki/public.crt\"\n\
         key = \"/etc/kubernetes/pki/public.key\"\n\
         [[copy]]\nof = \"apiserver\"\ncertificate = \"/etc/kubernetes/pki/other.crt\"\n\
         key = \"/etc/kubernetes/pki/other.key\"\n",
    );
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let managed = node.managed_credentials();
    let names: Vec<_> = managed.iter().map(|one| one.name.as_str()).collect();
    assert!(names.contains(&"own") && names.contains(&"apiserver-sni/public"), "{names:?}");
    assert!(!names.contains(&"apiserver-sni/other"), "{names:?}");
    let other = node.read("etc/kubernetes/pki/other.crt");
    assert_eq!(other, node.read("etc/kubernetes/pki/apiserver.crt"), "the copy follows");
}
