//! Manifests as kubeadm writes them, and as operators change them.

use proptest::prelude::*;

use super::*;

const APISERVER_20: &str = include_str!(
    "../../../tests/fixtures/kubeadm-1.20-rsa2048/etc/kubernetes/manifests/kube-apiserver.yaml"
);
const APISERVER_36: &str = include_str!(
    "../../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/manifests/kube-apiserver.yaml"
);
const ETCD_36: &str = include_str!(
    "../../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/manifests/etcd.yaml"
);

/// Returns a pod with these container fields and these volumes, in JSON, which is YAML too.
fn pod(container: &str, spec: &str) -> Pod {
    Pod::parse(&format!(
        "{{\"kind\": \"Pod\", \"metadata\": {{\"name\": \"x\"}}, \
         \"spec\": {{\"containers\": [{{\"name\": \"x\", {container}}}], {spec}}}}}"
    ))
    .unwrap()
}

fn with_args(args: &[&str]) -> Pod {
    pod(&format!("\"command\": [\"x\"], \"args\": {args:?}"), "\"volumes\": null")
}

#[test]
fn manifests_of_kubeadm_are_read() {
    for (text, name, health) in [
        (APISERVER_20, "kube-apiserver", "https://10.200.0.1:6443/readyz"),
        (APISERVER_36, "kube-apiserver", "https://10.200.0.1:6443/readyz"),
        (ETCD_36, "etcd", "http://127.0.0.1:2381/readyz"),
    ] {
        let pod = Pod::parse(text).unwrap();
        assert_eq!(pod.name(), name);
        assert_eq!(pod.health().as_deref(), Some(health));
    }
    let pod = Pod::parse(APISERVER_36).unwrap();
    assert_eq!(pod.flag("secure-port"), Some("6443"));
    assert_eq!(pod.flag("tls-cert-file"), Some("/etc/kubernetes/pki/apiserver.crt"));
    assert_eq!(pod.flag("tls-cert"), None);
    assert_eq!(
        pod.host_path("/etc/kubernetes/pki/apiserver.crt").unwrap().to_string(),
        "/etc/kubernetes/pki/apiserver.crt"
    );
}

#[test]
fn flags_are_found_in_every_notation() {
    for args in [
        &["--cert-file=/a"][..],
        &["--cert-file", "/a"],
        &["-cert-file=/a"],
        &["--cert_file=/a"],
        &["--cert-file=/old", "--cert-file=/a"],
        &["--client-cert-auth", "--cert-file=/a"],
        &["word", "--cert-file=/a", "--", "--cert-file=/b"],
    ] {
        assert_eq!(with_args(args).flag("cert-file"), Some("/a"), "{args:?}");
    }
}

#[test]
fn flag_without_value_is_absent() {
    for args in [
        &[][..],
        &["--cert-file="],
        &["--cert-file"],
        &["--cert-file", "--other=1"],
        &["--peer-cert-file=/a"],
        &["--", "--cert-file=/a"],
    ] {
        assert_eq!(with_args(args).flag("cert-file"), None, "{args:?}");
    }
}

#[test]
fn first_argument_is_a_flag_without_command() {
    assert_eq!(
        pod(r#""args": ["--cert-file=/a"]"#, r#""volumes": []"#).flag("cert-file"),
        Some("/a")
    );
    assert_eq!(pod(r#""command": ["--cert-file=/a"]"#, r#""volumes": []"#).flag("cert-file"), None);
}

#[test]
fn flag_value_may_contain_equals_sign() {
    assert_eq!(
        with_args(&["--initial-cluster=cp1=https://a"]).flag("initial-cluster"),
        Some("cp1=https://a")
    );
}

#[test]
fn container_with_the_pods_name_is_read() {
    let text = "
kind: Pod
metadata: {name: etcd}
spec:
  containers:
  - {name: helper, command: [helper, --cert-file=/helper]}
  - {name: etcd, command: [etcd, --cert-file=/etcd]}
";
    assert_eq!(Pod::parse(text).unwrap().flag("cert-file"), Some("/etcd"));
}

#[test]
fn variables_stand_for_flags_of_etcd() {
    let text = "
kind: Pod
metadata: {name: etcd}
spec:
  containers:
  - name: etcd
    command: [etcd, --key-file=/flag.key, --peer-key-file=]
    env:
    - {name: ETCD_CERT_FILE, value: /a.crt}
    - {name: ETCD_KEY_FILE, value: /a.key}
    - {name: ETCD_PEER_KEY_FILE, value: /p.key}
    - {name: ETCD_PEER_CERT_FILE, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
";
    let pod = Pod::parse(text).unwrap();
    assert_eq!(pod.flag("cert-file"), Some("/a.crt"));
    assert_eq!(pod.setting("cert-file").unwrap().by, "ETCD_CERT_FILE");
    assert_eq!(pod.flag("key-file"), Some("/flag.key"), "a flag is stronger");
    assert_eq!(pod.flag("peer-key-file"), None, "an empty flag is one");
    let unknown = pod.setting("peer-cert-file").unwrap();
    assert!(!unknown.known && pod.host_file(&unknown) == Err(NoHostPath::NotKnown));
    let other = text.replace("etcd", "kube-apiserver");
    assert_eq!(Pod::parse(&other).unwrap().flag("cert-file"), None);
}

#[test]
fn configuration_file_of_etcd_counts_alone() {
    let text = "
kind: Pod
metadata: {name: member}
spec:
  containers:
  - name: member
    command: [etcd, --cert-file=/flag.crt, --config-file=/etc/etcd.yaml]
    env: [{name: ETCD_KEY_FILE, value: /a.key}]
";
    let mut pod = Pod::parse(text).unwrap().of_component("etcd");
    assert_eq!(pod.configuration_file().unwrap().value, "/etc/etcd.yaml");
    let file = "client-transport-security: {cert-file: /file.crt}";
    pod.take_configuration("/srv/etcd.yaml", Some(file)).unwrap();
    let cert = pod.setting("cert-file").unwrap();
    assert_eq!(cert.value, "/file.crt");
    assert_eq!(cert.by, "client-transport-security.cert-file in /srv/etcd.yaml");
    assert_eq!(pod.flag("key-file"), None);
    assert!(pod.take_configuration("/srv/etcd.yaml", Some("[")).is_err());
    assert_eq!(pod.flag("cert-file"), None, "what it says is not known");
}

#[test]
fn pod_of_a_component_is_recognised() {
    let likeness = |name: &str, labels: &str, container: &str| {
        let text = format!(
            "{{kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}}}, \
             spec: {{containers: [{{{container}}}]}}}}"
        );
        Pod::parse(&text).unwrap().likeness("etcd")
    };
    for (name, labels, container, expected) in [
        ("etcd", "", "name: x", Some(Likeness::Named)),
        ("etcd0", "", "name: etcd0, command: [etcd]", Some(Likeness::Runs)),
        ("m", "", "name: m, image: 'quay.io/coreos/etcd:v3'", Some(Likeness::Runs)),
        ("etcd0", "component: etcd", "name: x, command: [/run.sh]", Some(Likeness::Labelled)),
        ("m", "", "name: etcd, command: [/run.sh]", Some(Likeness::Labelled)),
        ("m", "", "name: m, image: 'quay.io/etcd:v3', command: [/x]", Some(Likeness::Labelled)),
        ("etcd-backup", "component: etcd", "name: etcd, command: [etcdctl, snapshot]", None),
        ("etcd-manager", "component: etcd-manager", "name: m, command: [etcd-manager]", None),
        ("kube-vip", "", "name: kube-vip", None),
    ] {
        assert_eq!(likeness(name, labels, container), expected, "{name} {labels} {container}");
    }
}

#[test]
fn files_that_are_mounted_or_named_are_used() {
    let text = r#"
kind: Pod
metadata: {name: vip}
spec:
  containers:
  - name: vip
    args: [manager, "--cert=/pki/a.crt,/pki/a.key:name"]
    env: [{name: CONF, value: "/conf/x.conf"}]
    livenessProbe: {exec: {command: [curl, --cacert, /pki/ca.crt]}}
    volumeMounts:
    - {name: conf, mountPath: /in/admin.conf, subPath: admin.conf}
    - {name: pki, mountPath: /pki}
    - {name: conf, mountPath: /conf}
  - {name: agent, volumeMounts: [{name: root, mountPath: /host}]}
  volumes:
  - {name: conf, hostPath: {path: /etc/kubernetes}}
  - {name: pki, hostPath: {path: /etc/kubernetes/pki}}
  - {name: root, hostPath: {path: /}}
"#;
    let pod = Pod::parse(text).unwrap();
    let found: Vec<_> = pod
        .files()
        .into_iter()
        .map(|(name, files)| {
            let files: Vec<_> = files.iter().map(ToString::to_string).collect();
            (name, files.join(" "))
        })
        .collect();
    let vip = "/etc/kubernetes /etc/kubernetes/admin.conf /etc/kubernetes/pki \
               /etc/kubernetes/pki/a.crt /etc/kubernetes/pki/a.key /etc/kubernetes/pki/ca.crt \
               /etc/kubernetes/x.conf";
    assert_eq!(found, [("vip", vip.to_owned()), ("agent", String::new())]);
}

const MOUNTS: &str = r#"
    "volumeMounts": [
        {"name": "pki", "mountPath": "/etc/pki/"},
        {"name": "etcd", "mountPath": "/etc/pki/etcd"},
        {"name": "secret", "mountPath": "/etc/pki/secret"},
        {"name": "tree", "mountPath": "/sub", "subPath": "a/b"},
        {"name": "tree", "mountPath": "/file.crt", "subPath": "one.crt"},
        {"name": "tree", "mountPath": "/expr", "subPathExpr": "$(NODE)"},
        {"name": "root", "mountPath": "/host"},
        {"name": "lost", "mountPath": "/lost"}
    ]"#;
const VOLUMES: &str = r#"
    "volumes": [
        {"name": "pki", "hostPath": {"path": "/srv/pki"}},
        {"name": "etcd", "hostPath": {"path": "/srv/etcd-pki", "type": "Directory"}},
        {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "tree", "hostPath": {"path": "/srv/tree/"}},
        {"name": "root", "hostPath": {"path": "/"}}
    ]"#;

#[test]
fn container_paths_are_mapped_to_host_paths() {
    let pod = pod(MOUNTS, VOLUMES);
    for (container, host) in [
        ("/etc/pki/ca.crt", "/srv/pki/ca.crt"),
        ("/etc/pki/./x/../ca.crt", "/srv/pki/ca.crt"),
        ("/etc/pki/etcd/ca.crt", "/srv/etcd-pki/ca.crt"),
        ("/etc/pki/etcd-old/ca.crt", "/srv/pki/etcd-old/ca.crt"),
        ("/sub/c.crt", "/srv/tree/a/b/c.crt"),
        ("/file.crt", "/srv/tree/one.crt"),
        ("/host/etc/x.crt", "/etc/x.crt"),
    ] {
        assert_eq!(
            pod.host_path(container).map(|path| path.to_string()),
            Ok(host.to_owned()),
            "{container}"
        );
    }
}

#[test]
fn paths_without_host_path_have_a_reason() {
    let pod = pod(MOUNTS, VOLUMES);
    let other = |name: &str| NoHostPath::OtherVolume(name.to_owned());
    for (container, why) in [
        ("/usr/share/ca.crt", NoHostPath::NoMount),
        ("/etc/pki-2/ca.crt", NoHostPath::NoMount),
        ("/etc/pki/secret/ca.crt", other("secret")),
        ("/expr/ca.crt", other("tree")),
        ("/lost/ca.crt", other("lost")),
        ("pki/ca.crt", NoHostPath::NotAbsolute),
        ("/etc/pki/$(NODE).crt", NoHostPath::NotKnown),
    ] {
        assert_eq!(pod.host_path(container), Err(why), "{container}");
    }
}

#[test]
fn probes_become_urls() {
    let host_network = r#""hostNetwork": true"#;
    let probe = |get: &str| {
        format!(
            "\"livenessProbe\": {{\"httpGet\": {{{get}}}}}, \
             \"ports\": [{{\"name\": \"p\", \"containerPort\": 70}}]"
        )
    };
    for (get, url) in [
        (
            r#""port": 6443, "scheme": "HTTPS", "path": "/livez", "host": "10.0.0.1""#,
            Some("https://10.0.0.1:6443/livez"),
        ),
        (r#""port": "p", "path": "healthz""#, Some("http://127.0.0.1:70/healthz")),
        (r#""port": "8080", "host": """#, Some("http://127.0.0.1:8080/")),
        (r#""port": 1, "host": "::1", "path": "/x""#, Some("http://[::1]:1/x")),
        (r#""port": "unknown""#, None),
    ] {
        assert_eq!(pod(&probe(get), host_network).health().as_deref(), url, "{get}");
    }
    assert_eq!(pod(&probe(r#""port": 1"#), r#""hostNetwork": false"#).health(), None);
    for liveness in [r#"{"exec": {"command": ["x"]}}"#, r#"{"httpGet": {"port": 2}}"#] {
        let both = format!(
            "\"livenessProbe\": {liveness}, \"readinessProbe\": {{\"httpGet\": {{\"port\": 1}}}}"
        );
        assert_eq!(pod(&both, host_network).health().as_deref(), Some("http://127.0.0.1:1/"));
    }
}

#[test]
fn first_document_and_last_value_are_used() {
    let text = "---\nkind: Pod\nmetadata: {name: old, name: x}\nspec: {containers: [{name: \
        x}]}\n---\nkind: Other\n";
    assert_eq!(Pod::parse(text).unwrap().name(), "x");
}

#[test]
fn manifest_of_no_pod_is_refused() {
    let table = [
        ("", "it can't be read as a pod: it is empty"),
        (
            "kind: Service\nmetadata: {name: x}\nspec: {containers: []}",
            "it is a Service, and kubelet takes only a Pod",
        ),
        ("kind: Pod\nmetadata: {name: x}\nspec: {containers: []}", "its pod has no container"),
    ];
    for (text, expected) in table {
        assert_eq!(Pod::parse(text).unwrap_err().to_string(), expected);
    }
    for text in [
        "kind: Pod",
        "a: [",
        "\u{0}",
        "just text",
        "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, command: 3}]}",
    ] {
        let error = Pod::parse(text).unwrap_err();
        assert!(
            matches!(&error, ManifestError::Unreadable(why) if !why.contains('\n')),
            "{text:?}: {error:?}"
        );
    }
}

proptest! {
    #[test]
    fn path_never_leaves_its_volume(path in "(/(etc|pki|etcd|x|\\.\\.|\\.)){0,6}") {
        let pod = pod(MOUNTS, VOLUMES);
        if let Ok(host) = pod.host_path(&format!("/etc/pki{path}")) {
            prop_assert!(host.as_path().starts_with("/srv"), "{host}");
        }
    }

    #[test]
    fn parser_never_panics_on_arbitrary_text(
        text in "(kind: Pod\n|metadata: |name: x|spec:|containers:|- \
                 |\n|  |\\{|\\[|\"|\\PC){0,30}"
    ) {
        let _ = Pod::parse(&text);
    }
}
