//! Credentials and directories that are gone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kubecertd::formats::kubeconfig::{Kubeconfig, PemSource};
use kubecertd::formats::x509::{Certificate, PrivateKey, Terms, certificates, reissue};
use kubecertd::model::days;

use crate::common::kubelet::{NODE_NAME, PKI_DIR};
use crate::common::requirements::require;
use crate::common::{ECDSA, Node, PKI, RSA, now, terms_with_days_left};
use crate::support::{embed, embedded, json};

/// A node whose kubelet.conf points into a directory that was removed.
fn node_without_kubelet_pki() -> Node {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(100);
    node.link_kubelet_conf();
    fs::remove_dir_all(node.path(PKI_DIR)).unwrap();
    node.backdate_dir("var/lib/kubelet");
    node
}

fn mode(node: &Node, path: &str) -> u32 {
    fs::metadata(node.path(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn removed_directory_of_kubelet_is_made_again() {
    let node = node_without_kubelet_pki();
    let check = node.run(&["check"]);
    assert_eq!(check.code, 3, "{}", check.text);
    let line = check.text.lines().find(|line| line.starts_with("kubelet-client ")).unwrap();
    assert!(line.contains("missing") && line.contains("renew"), "{line}");
    let dry_run = node.run(&["renew", "--dry-run"]);
    assert!(dry_run.text.contains("would renew"), "{}", dry_run.text);
    assert!(!node.path(PKI_DIR).exists(), "a dry run makes nothing");

    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(mode(&node, PKI_DIR), 0o755, "as kubelet makes it");
    let certificate = node.kubelet_certificate();
    let ca = certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
    assert!(certificate.is_signed_by(&ca));
    assert_eq!(
        certificate.subject.to_string(),
        format!("CN=system:node:{NODE_NAME},O=system:nodes")
    );
    let link = node.kubelet_link();
    let name = link.strip_prefix(format!("/{PKI_DIR}")).unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("kubelet-client-20") && name.ends_with(".pem"), "{name}");
    assert_eq!(mode(&node, link.strip_prefix("/").unwrap().to_str().unwrap()), 0o600);
    assert_eq!(node.kubelet_files().len(), 2, "{:?}", node.kubelet_files());
    assert_eq!(node.run(&["renew"]).code, 0, "a second pass has nothing to do");
    assert_eq!(node.kubelet_files().len(), 2);
}

/// Without it kubelet has no configuration either: nothing that is made there would help.
#[test]
fn directory_above_that_of_kubelet_is_not_made() {
    let node = node_without_kubelet_pki();
    fs::remove_dir_all(node.path("var/lib/kubelet")).unwrap();
    node.backdate_dir("var/lib");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("/var/lib/kubelet: does not exist"), "{}", run.text);
    assert!(!node.path("var/lib/kubelet").exists());
}

/// A user who can write there could have removed it, and have any place made.
#[test]
fn directory_of_others_is_not_made() {
    let node = node_without_kubelet_pki();
    fs::set_permissions(node.path("var/lib/kubelet"), fs::Permissions::from_mode(0o777)).unwrap();
    node.backdate_dir("var/lib/kubelet");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("/var/lib/kubelet: has mode 0777"), "{}", run.text);
    assert!(!node.path(PKI_DIR).exists());
}

/// A file in another directory of kubelet needs a drop-in for the daemon's unit.
#[test]
fn other_directory_of_kubelet_needs_drop_in() {
    let node = node_without_kubelet_pki();
    let unit_lacks = "ReadWritePaths=-/srv/kubelet\n";
    assert!(!node.run(&["config", "check"]).text.contains("ReadWritePaths"));
    node.write(
        "etc/kubernetes/kubelet.conf",
        node.text("etc/kubernetes/kubelet.conf").replace("/var/lib/kubelet/pki", "/srv/kubelet"),
    );
    let check = node.run(&["config", "check"]);
    assert!(check.text.contains(unit_lacks), "{}", check.text);
}

/// A pair or a kubeconfig, its files, and what kubeadm 1.36 has in its certificate.
const MADE: [(&str, &[&str]); 9] = [
    ("apiserver", &["pki/apiserver.crt", "pki/apiserver.key"]),
    (
        "apiserver-kubelet-client",
        &["pki/apiserver-kubelet-client.crt", "pki/apiserver-kubelet-client.key"],
    ),
    ("apiserver-etcd-client", &["pki/apiserver-etcd-client.crt", "pki/apiserver-etcd-client.key"]),
    ("front-proxy-client", &["pki/front-proxy-client.crt", "pki/front-proxy-client.key"]),
    ("etcd/server", &["pki/etcd/server.crt", "pki/etcd/server.key"]),
    ("etcd/peer", &["pki/etcd/peer.crt", "pki/etcd/peer.key"]),
    (
        "etcd/healthcheck-client",
        &["pki/etcd/healthcheck-client.crt", "pki/etcd/healthcheck-client.key"],
    ),
    ("controller-manager.conf", &["controller-manager.conf"]),
    ("scheduler.conf", &["scheduler.conf"]),
];

fn files(name: &str) -> Vec<String> {
    let (_, files) = MADE.iter().find(|(other, _)| *other == name).unwrap();
    files.iter().map(|file| format!("etc/kubernetes/{file}")).collect()
}

fn lose(node: &Node, name: &str) {
    files(name).iter().for_each(|file| node.remove(file));
    node.backdate_files();
}

/// The state and the action of a credential, and the reason, by the JSON of `check`.
fn judged(node: &Node, name: &str) -> (String, String, String) {
    let found = json(node);
    let all = found["certificates"].as_array().unwrap();
    let one = all.iter().find(|one| one["credential"] == name).unwrap();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("action"), text("reason"))
}

/// The number of an extension, whether it is critical, and its value.
type ExtensionContent = (String, bool, Vec<u8>);

/// The fields that kubeadm wrote, but for key, dates and serial number.
fn content(certificate: &Certificate) -> (String, Vec<String>, Vec<ExtensionContent>) {
    let extensions = certificate.extensions.iter().map(|one| {
        // The names are compared as a set below: kubeadm.yaml has some that nothing here tells.
        let value =
            if one.oid.to_id_string() == "2.5.29.17" { Vec::new() } else { one.value.clone() };
        (one.oid.to_id_string(), one.critical, value)
    });
    let subject = certificate.subject.to_string();
    (subject, certificate.names(), extensions.collect())
}

#[test]
fn lost_credentials_are_made_as_kubeadm_makes_them() {
    for (name, _) in MADE {
        let node = Node::fresh(ECDSA);
        let old = node.certificate(name);
        let texts: Vec<String> = files(name).iter().map(|file| node.text(file)).collect();
        lose(&node, name);
        let (state, action, reason) = judged(&node, name);
        assert_eq!((state.as_str(), action.as_str()), ("missing", "make by the profile"), "{name}");
        assert!(reason.contains("lost: made by the profile for CN="), "{name}: {reason}");
        let before = node.snapshot();
        let dry_run = node.run(&["renew", "--dry-run"]);
        assert!(dry_run.text.contains("would make"), "{name}: {}", dry_run.text);
        assert_eq!(node.snapshot(), before, "{name}: a dry run changes nothing");

        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{name}: {}", run.text);
        assert!(run.text.contains("lost: made by the profile"), "{name}: {}", run.text);
        let new = node.certificate(name);
        let ((subject, names, extensions), (old_subject, mut old_names, old_extensions)) =
            (content(&new), content(&old));
        // No file tells certSANs.
        old_names.retain(|name| name != "203.0.113.10");
        let kept = [("apiserver-kubelet-client", "CN=kube-apiserver-kubelet-client")];
        let expected =
            kept.iter().find(|(one, _)| *one == name).map_or(old_subject.as_str(), |one| one.1);
        assert_eq!((subject.as_str(), names), (expected, old_names), "{name}");
        assert_eq!(extensions, old_extensions, "{name}");
        assert_eq!(new.key_algorithm, old.key_algorithm, "{name}");
        for (file, text) in files(name).iter().zip(texts) {
            let expected = if file.ends_with(".crt") { 0o644 } else { 0o600 };
            assert_eq!(mode(&node, file), expected, "{file}");
            let shape = |text: &str| -> Vec<String> {
                let lines = text.lines().filter(|line| line.len() < 80 || line.contains(": "));
                lines.map(|line| line.split("data: ").next().unwrap().to_owned()).collect()
            };
            if file.ends_with(".conf") {
                assert_eq!(shape(&node.text(file)), shape(&text), "{file}");
                let authority = |text: &str| {
                    text.lines()
                        .find(|line| line.contains("certificate-authority"))
                        .unwrap()
                        .to_owned()
                };
                assert_eq!(authority(&node.text(file)), authority(&text), "{file}");
            }
        }
        assert_eq!(node.dot_files(), Vec::<std::path::PathBuf>::new());
        assert_eq!(node.run(&["check"]).code, 0, "{name}");
    }
}

#[test]
fn all_lost_credentials_are_made_in_one_pass_and_verify() {
    require!("openssl");
    let node = Node::fresh(RSA);
    for (name, _) in MADE {
        files(name).iter().for_each(|file| node.remove(file));
    }
    node.backdate_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let masters = ",O=system:masters";
    for (name, subject) in [
        ("apiserver-kubelet-client", format!("CN=kube-apiserver-kubelet-client{masters}")),
        ("etcd/server", "CN=cp1".to_owned()),
        ("scheduler.conf", "CN=system:kube-scheduler".to_owned()),
    ] {
        assert_eq!(node.certificate(name).subject.to_string(), subject);
        assert_eq!(node.certificate(name).key_algorithm.to_string(), "RSA-2048");
    }
    for (pair, ca, purpose) in [
        ("apiserver", "ca", "sslserver"),
        ("apiserver-kubelet-client", "ca", "sslclient"),
        ("front-proxy-client", "front-proxy-ca", "sslclient"),
        ("etcd/server", "etcd/ca", "sslserver"),
        ("etcd/peer", "etcd/ca", "sslclient"),
        ("etcd/healthcheck-client", "etcd/ca", "sslclient"),
    ] {
        let [pair, ca] = [pair, ca].map(|name| node.path(&format!("{PKI}/{name}.crt")));
        let verified = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .args([&ca, &pair])
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}: {verified:?}", pair.display());
    }
    for conf in ["controller-manager.conf", "scheduler.conf"] {
        let text = node.text(&format!("etc/kubernetes/{conf}"));
        assert!(text.contains("server: https://10.200.0.1:6443\n"), "by the manifest: {text}");
    }
}

#[test]
fn group_of_kubelet_client_follows_the_version() {
    for (tag, subject) in [
        ("v1.28.15", "CN=kube-apiserver-kubelet-client,O=system:masters"),
        ("v1.29.0", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
        ("v1.36.0", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
        ("v1.36.1", "CN=kube-apiserver-kubelet-client"),
        ("latest", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
    ] {
        let node = Node::fresh(ECDSA);
        node.edit("etc/kubernetes/manifests/kube-apiserver.yaml", "v1.36.2", tag);
        lose(&node, "apiserver-kubelet-client");
        assert_eq!(node.run(&["renew"]).code, 0, "{tag}");
        assert_eq!(node.certificate("apiserver-kubelet-client").subject.to_string(), subject);
    }
}

/// What was seen in place says more than the profile: names that no file tells.
#[test]
fn lost_credential_is_made_as_it_was_last_seen() {
    let node = Node::fresh(ECDSA);
    node.age("front-proxy-client", 5);
    assert_eq!(node.run(&["renew"]).code, 0, "it remembers the certificates");
    let old = node.certificate("apiserver");
    assert!(old.names().contains(&"203.0.113.10".to_owned()));
    lose(&node, "apiserver");
    let (_, _, reason) = judged(&node, "apiserver");
    assert!(reason.contains("for the subject and names that it last had"), "{reason}");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(node.certificate("apiserver").names(), old.names());
}

#[test]
fn damaged_file_is_backed_up_and_made() {
    for (name, file) in [("etcd/peer", "pki/etcd/peer.crt"), ("scheduler.conf", "scheduler.conf")] {
        let node = Node::fresh(ECDSA);
        let file = format!("etc/kubernetes/{file}");
        node.write(&file, "not what it was\n");
        node.backdate_files();
        assert_eq!(judged(&node, name).0, "damaged");
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(node.certificate(name).is_valid_at(now()));
        assert!(node.backups().contains(b"not what it was\n".as_slice()), "{name}");
    }
}

/// The rest of a kubeconfig is the site's: only what is damaged is replaced.
#[test]
fn damaged_certificate_in_kubeconfig_leaves_the_rest() {
    let node = Node::fresh(ECDSA);
    let file = "etc/kubernetes/scheduler.conf";
    let site = node.text(file).replace("https://10.200.0.1:6443", "https://lb.example.com:8443");
    let line = |line: &str| match line.split_once("client-certificate-data: ") {
        Some((indent, _)) => format!("{indent}client-certificate-data: bm9uZQ==\n"),
        None => format!("{line}\n"),
    };
    node.write(file, site.lines().map(line).collect::<String>());
    node.backdate_files();
    assert_eq!(judged(&node, "scheduler.conf").0, "damaged");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert!(node.certificate("scheduler.conf").is_valid_at(now()));
    assert!(node.text(file).contains("server: https://lb.example.com:8443\n"));
}

#[test]
fn sibling_kubeconfig_says_the_server() {
    let node = Node::fresh(ECDSA);
    let scheduler = "etc/kubernetes/scheduler.conf";
    node.edit(scheduler, "https://10.200.0.1:6443", "https://127.0.0.1:8443");
    lose(&node, "controller-manager.conf");
    assert_eq!(node.run(&["renew"]).code, 0);
    let made = node.text("etc/kubernetes/controller-manager.conf");
    assert!(made.contains("server: https://127.0.0.1:8443\n"), "{made}");
}

/// A sibling that asks a server with another CA says nothing of one that trusts this CA.
#[test]
fn sibling_of_another_ca_does_not_say_the_server() {
    let node = Node::fresh(ECDSA);
    let scheduler = "etc/kubernetes/scheduler.conf";
    node.edit(scheduler, "https://10.200.0.1:6443", "https://proxy.example.com:8443");
    let other = node.read("etc/kubernetes/pki/front-proxy-ca.crt");
    embed(&node, scheduler, "certificate-authority-data", &other);
    lose(&node, "controller-manager.conf");
    assert_eq!(node.run(&["renew"]).code, 0);
    let made = node.text("etc/kubernetes/controller-manager.conf");
    assert!(made.contains("server: https://10.200.0.1:6443\n"), "{made}");
}

const ADMIN: &str = "etc/kubernetes/admin.conf";
const ENDPOINT: &str = "k8s-api.example.com";

/// The address by which the clients of the cluster ask for it is in no manifest.
#[test]
fn server_of_the_cluster_is_a_name_of_the_made_certificate() {
    type Form = (&'static str, fn(&Node));
    let forms: [Form; 3] = [
        ("it embeds the CA", |_| ()),
        ("it refers to the CA", |node| {
            let data = embedded(node, ADMIN, "certificate-authority-data");
            let data = format!("certificate-authority-data: {}", BASE64_STANDARD.encode(data));
            node.edit(ADMIN, &data, "certificate-authority: pki/ca.crt");
        }),
        ("the CA was renewed with its key", |node| {
            let ca = certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
            let key = PrivateKey::from_pem(&node.read(&format!("{PKI}/ca.key"))).unwrap();
            let not_before = now().minus(days(30));
            let terms = Terms { not_before, ..terms_with_days_left(3000) };
            let der = reissue(&ca, &ca, &key, &key, &terms).unwrap();
            let renewed = Certificate::from_der(&der).unwrap().to_pem();
            node.write(&format!("{PKI}/ca.crt"), renewed);
        }),
    ];
    for (form, set) in forms {
        let node = Node::fresh(ECDSA);
        set(&node);
        lose(&node, "apiserver");
        let run = node.run(&["renew", "apiserver"]);
        assert_eq!(run.code, 0, "{form}: {}", run.text);
        let names = node.certificate("apiserver").names();
        assert!(names.contains(&ENDPOINT.to_owned()), "{form}: {names:?}");
    }
}

#[test]
fn unknown_server_of_the_cluster_is_not_left_out() {
    type Lack = (&'static str, fn(&Node));
    let lacks: [Lack; 3] = [
        ("it is missing", |node| node.remove(ADMIN)),
        ("it can't be read", |node| node.write(ADMIN, "not what it was")),
        ("others can write it", |node| {
            fs::set_permissions(node.path(ADMIN), fs::Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (lack, set) in lacks {
        let node = Node::fresh(ECDSA);
        set(&node);
        lose(&node, "apiserver");
        let run = node.run(&["renew", "apiserver"]);
        assert_eq!(run.code, 1, "{lack}: {}", run.text);
        let words = "admin.conf does not say by which name clients reach the server";
        assert!(run.text.contains(words), "{lack}: {}", run.text);
        assert!(!node.path(&format!("{PKI}/apiserver.crt")).exists(), "{lack}");
    }
    // That of another CA is asked for by no client that trusts this one.
    let node = Node::fresh(ECDSA);
    let other = node.read("etc/kubernetes/pki/front-proxy-ca.crt");
    embed(&node, ADMIN, "certificate-authority-data", &other);
    lose(&node, "apiserver");
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
    assert!(!node.certificate("apiserver").names().contains(&ENDPOINT.to_owned()));
}

#[test]
fn key_of_the_configured_kind_is_made() {
    let node = Node::fresh(ECDSA);
    node.write("etc/kubecertd/kubecertd.toml", "[renewal]\nkey_algorithm = \"RSA-2048\"\n");
    lose(&node, "front-proxy-client");
    assert_eq!(node.run(&["renew"]).code, 0);
    let made = node.certificate("front-proxy-client").key_algorithm.to_string();
    assert_eq!(made, "RSA-2048");
}

#[test]
fn lost_administrator_is_made_on_request_only() {
    let node = Node::fresh(ECDSA);
    let [admin, super_admin] =
        ["admin.conf", "super-admin.conf"].map(|name| format!("etc/kubernetes/{name}"));
    for file in [&admin, &super_admin] {
        if node.path(file).exists() {
            node.remove(file);
        }
    }
    node.backdate_files();
    assert_eq!(judged(&node, "admin.conf").0, "absent");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert!(!node.path(&admin).exists() && !node.path(&super_admin).exists());

    node.write("etc/kubecertd/kubecertd.toml", "[renewal]\nmake_admin_conf = true\n");
    assert_eq!(judged(&node, "admin.conf").1, "make by the profile");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(
        node.certificate("admin.conf").subject.to_string(),
        "CN=kubernetes-admin,O=kubeadm:cluster-admins"
    );
    assert_eq!(mode(&node, &admin), 0o600);
    assert!(!node.path(&super_admin).exists(), "never");
    node.write(&super_admin, "");
    node.backdate_files();
    assert_eq!(judged(&node, "super-admin.conf").1, "error");
}

/// What can't be made is left as it is, with the reason.
#[test]
fn credential_that_is_not_described_is_not_made() {
    type Lack = (&'static str, &'static str, fn(&Node), &'static str);
    let cases: [Lack; 5] = [
        (
            "apiserver",
            "the CA's key is elsewhere",
            |node| node.remove("etc/kubernetes/pki/ca.key"),
            "/etc/kubernetes/pki/ca.key is not on this node",
        ),
        (
            "apiserver",
            "a name is not known",
            |node| {
                let manifest = "etc/kubernetes/manifests/kube-apiserver.yaml";
                node.edit(manifest, "    - --advertise-address=10.200.0.1\n", "");
            },
            "it is not made by the profile: kube-apiserver.yaml does not say --advertise-address",
        ),
        (
            "front-proxy-client",
            "others can write its directory",
            |node| {
                let open = fs::Permissions::from_mode(0o777);
                fs::set_permissions(node.path(PKI), open).unwrap();
            },
            "/etc/kubernetes/pki has mode 0777, so others than root could use it",
        ),
        (
            "etcd/server",
            "the node's name is not known",
            |node| {
                let manifest = "etc/kubernetes/manifests/etcd.yaml";
                node.edit(manifest, "    - --name=cp1\n", "");
                node.edit(
                    manifest,
                    "cp1=https://10.200.0.1:2380",
                    "etcd_0=https://10.200.0.1:2380",
                );
                node.remove("etc/kubernetes/kubelet.conf");
                files("etcd/peer").iter().for_each(|file| node.remove(file));
            },
            "the name of this node is not known",
        ),
        (
            "scheduler.conf",
            "an entry of the operator's",
            |node| {
                node.write(
                    "etc/kubecertd/kubecertd.toml",
                    "[[credential]]\nname = \"scheduler.conf\"\n\
                     kubeconfig = \"/etc/kubernetes/scheduler.conf\"\n",
                );
            },
            "there is no backup of it: make it again",
        ),
    ];
    for (name, case, lack, reason) in cases {
        let node = Node::fresh(ECDSA);
        files(name).iter().for_each(|file| node.remove(file));
        lack(&node);
        node.backdate_files();
        let run = node.run(&["renew"]);
        assert_ne!(run.code, 0, "{case}: {}", run.text);
        assert!(run.text.contains(reason), "{case}: {}", run.text);
        assert!(files(name).iter().all(|file| !node.path(file).exists()), "{case}");
    }
}

/// Another key there would be no better: the other nodes have the old one.
#[test]
fn key_of_service_accounts_is_not_made() {
    let node = Node::fresh(ECDSA);
    let manifest = "etc/kubernetes/manifests/kube-apiserver.yaml";
    let flag = "--service-account-signing-key-file=/etc/kubernetes/pki/";
    node.edit(manifest, &format!("{flag}sa.key"), &format!("{flag}apiserver.key"));
    lose(&node, "apiserver");
    let run = node.run(&["renew", "apiserver"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("apiserver.key: holds a key that is never replaced"), "{}", run.text);
    assert!(files("apiserver").iter().all(|file| !node.path(file).exists()));
}

/// Nothing names it, and no CA signs it here: it is not missed.
#[test]
fn healthcheck_client_of_external_etcd_is_not_missed() {
    let node = Node::fresh(ECDSA);
    node.remove("etc/kubernetes/pki/etcd/ca.key");
    lose(&node, "etcd/healthcheck-client");
    assert_eq!(judged(&node, "etcd/healthcheck-client").0, "absent");
    let node = Node::fresh(ECDSA);
    node.remove("etc/kubernetes/manifests/etcd.yaml");
    lose(&node, "etcd/healthcheck-client");
    assert_eq!(judged(&node, "etcd/healthcheck-client").0, "absent");
}

#[test]
fn lost_directory_of_etcd_has_its_ca_lost_too() {
    let node = Node::fresh(ECDSA);
    fs::remove_dir_all(node.path("etc/kubernetes/pki/etcd")).unwrap();
    node.backdate_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("/etc/kubernetes/pki/etcd/ca.crt does not exist"), "{}", run.text);
    assert!(!node.path("etc/kubernetes/pki/etcd").exists());
}

/// A backup says more than anything else.
#[test]
fn backup_goes_before_the_profile() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, 0);
    // No manifest names the second one.
    for name in ["apiserver", "etcd/healthcheck-client"] {
        lose(&node, name);
        assert_eq!(judged(&node, name).1, "repair from backup", "{name}");
    }
}

/// kubelet's unit as kubeadm's packages write it.
const KUBELET_UNIT: &str = "[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=\
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
    --kubeconfig=/etc/kubernetes/kubelet.conf\"\nExecStart=/usr/bin/kubelet \
    $KUBELET_KUBECONFIG_ARGS\n";

const KUBELET_CONF: &str = "etc/kubernetes/kubelet.conf";

/// A node whose kubelet.conf is gone.
fn node_without_kubelet_conf() -> Node {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(100);
    fs::remove_file(node.path(KUBELET_CONF)).unwrap();
    node.write("usr/lib/systemd/system/kubelet.service", KUBELET_UNIT);
    node.backdate_dir("etc/kubernetes");
    node
}

#[test]
fn lost_kubelet_conf_is_made_with_a_new_certificate() {
    let node = node_without_kubelet_conf();
    let check = node.run(&["check"]);
    assert_eq!(check.code, 3, "{}", check.text);
    let reason = "/etc/kubernetes/kubelet.conf does not exist, and kubelet does not start without";
    assert!(check.text.contains(reason), "{}", check.text);
    let old = node.kubelet_certificate();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let new = node.kubelet_certificate();
    assert_eq!(new.subject.to_string(), old.subject.to_string());
    assert_ne!(new.fingerprint, old.fingerprint);
    assert_eq!(mode(&node, KUBELET_CONF), 0o600);
    let conf = Kubeconfig::parse(&node.read(KUBELET_CONF)).unwrap();
    assert_eq!(conf.user.name, format!("system:node:{NODE_NAME}"));
    let pem = format!("/{PKI_DIR}/kubelet-client-current.pem");
    let client = &conf.user.client;
    assert_eq!(client.certificate, PemSource::File(pem.clone()));
    assert_eq!(client.key, PemSource::File(pem));
    let cluster = conf.cluster.unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://10.200.0.1:6443"), "that of this node");
    let ca = certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0).to_pem();
    assert_eq!(cluster.authority, PemSource::Embedded(ca.into()));
    let check = node.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.text);
    assert_eq!(node.run(&["renew"]).code, 0, "a second pass has nothing to do");
    assert_eq!(node.kubelet_certificate().fingerprint, new.fingerprint);
}

#[test]
fn kubelet_conf_is_not_made_for_a_node_that_is_not_known() {
    let node = node_without_kubelet_conf();
    fs::remove_dir_all(node.path(PKI_DIR)).unwrap();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("there is no old certificate of kubelet"), "{}", run.text);
    assert!(!node.path(KUBELET_CONF).exists());
    // kubelet gets its certificate and kubelet.conf from the cluster.
    node.write("etc/kubernetes/bootstrap-kubelet.conf", "");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
}

#[test]
fn kubelet_conf_is_not_made_where_others_can_write() {
    let node = node_without_kubelet_conf();
    fs::set_permissions(node.path("etc/kubernetes"), fs::Permissions::from_mode(0o777)).unwrap();
    node.backdate_dir("etc/kubernetes");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("so others than root could use it"), "{}", run.text);
    assert!(!node.path(KUBELET_CONF).exists());
}
