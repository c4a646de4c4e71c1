//! kubelet's client certificate on a node that was off: kubecertd issues it only when kubelet can't
//! renew it any more.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use kubecertd::formats::x509::{Certificate, certificates, verify_renewed};

use crate::common::kubelet::{CONF, CURRENT, NODE_NAME, PKI_DIR};
use crate::common::{ECDSA, Node, PKI, RSA, now};

/// Makes a node as kubeadm and kubelet leave it. `days_left` is that of kubelet's certificate.
fn kubelet_node(tree: &str, days_left: i64) -> Node {
    let node = Node::fresh(tree);
    node.add_kubelet_certificate(days_left);
    node.link_kubelet_conf();
    node
}

fn read_ca(node: &Node) -> Certificate {
    certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0)
}

/// Asserts that one new file holds a valid certificate of this node, that the link leads to it, and
/// that no other file was left.
fn assert_reissued(node: &Node, before: &[String]) -> Certificate {
    let new = node.kubelet_certificate();
    assert!(
        new.not_after > now().plus(kubecertd::model::days(360))
            || new.not_after == read_ca(node).not_after
    );
    assert!(new.is_signed_by(&read_ca(node)));
    assert_eq!(
        new.subject.to_string(),
        kubecertd::formats::x509::kubelet_template(NODE_NAME).unwrap().subject.to_string()
    );
    let added: Vec<_> =
        node.kubelet_files().into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(added.len(), 1, "{added:?}");
    let stamp = added[0]
        .strip_prefix("kubelet-client-")
        .and_then(|rest| rest.strip_suffix(".pem"))
        .unwrap();
    let form: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00-00-00-00", "as kubelet names it");
    assert_eq!(
        node.kubelet_link().to_str().unwrap(),
        format!("/{PKI_DIR}/{}", added[0]),
        "the whole path, as kubelet has it"
    );
    let pem = node.path(PKI_DIR).join(&added[0]);
    assert_eq!(fs::metadata(&pem).unwrap().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&pem).unwrap();
    assert!(
        text.starts_with("-----BEGIN CERTIFICATE-----\n") && text.contains("PRIVATE KEY-----"),
        "the certificate comes first"
    );
    assert_eq!(node.dot_files(), Vec::<std::path::PathBuf>::new());
    let again = node.run(&["renew"]);
    assert_eq!(again.code, 0, "{}", again.text);
    assert_eq!(
        node.kubelet_certificate().serial,
        new.serial,
        "a second pass does nothing: {}",
        again.text
    );
    new
}

#[test]
fn expired_kubelet_certificate_is_reissued_and_conf_kept() {
    for tree in [RSA, ECDSA] {
        let node = kubelet_node(tree, -30);
        let (old, files, conf) =
            (node.kubelet_certificate(), node.kubelet_files(), node.text(CONF));
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            run.text.contains("kubelet-client") && run.text.contains("expired 29 days ago"),
            "{}",
            run.text
        );
        let new = assert_reissued(&node, &files);
        verify_renewed(&new, &old, &read_ca(&node), now()).unwrap();
        assert_eq!(node.text(CONF), conf, "it points there already");
        assert!(
            node.path(PKI_DIR).join("kubelet-client-2025-10-01-12-00-00.pem").exists(),
            "the old one stays, as kubelet leaves it"
        );
    }
}

#[test]
fn due_kubelet_certificate_is_not_reissued() {
    for days_left in [1, 10, 100] {
        let node = kubelet_node(ECDSA, days_left);
        let before = node.snapshot();
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        let link = std::path::Path::new(CURRENT);
        assert_eq!(node.snapshot().0.get(link), before.0.get(link), "{}", run.text);
    }
    let node = kubelet_node(ECDSA, 100);
    let (old, files) = (node.kubelet_certificate(), node.kubelet_files());
    let run = node.run(&["renew", "kubelet-client", "--force"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_ne!(assert_reissued(&node, &files).serial, old.serial);
}

/// Damages the PEM file of this name.
type Damage = fn(&Node, &str);

#[test]
fn unusable_kubelet_certificate_is_reissued() {
    let pem = format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem");
    let damage: [(&str, Damage); 7] = [
        ("the link leads nowhere", |node, pem| node.remove(pem)),
        ("there is no link", |node, _| node.remove(CURRENT)),
        ("half of it is lost", |node, pem| {
            let text = node.text(pem);
            node.write(pem, text.split("-----BEGIN EC").next().unwrap());
        }),
        ("the key is another's", |node, pem| {
            let (own, other) = (node.text(pem), node.kubelet_pem(100));
            let key = other.find("-----BEGIN EC").unwrap();
            node.write(pem, own.split("-----BEGIN EC").next().unwrap().to_owned() + &other[key..]);
        }),
        ("it is empty", |node, pem| node.write(pem, "")),
        ("it is no file", |node, pem| {
            node.remove(pem);
            fs::create_dir(node.path(pem)).unwrap();
        }),
        ("the link leads in a circle", |node, _| {
            node.remove(CURRENT);
            symlink(format!("/{CURRENT}"), node.path(CURRENT)).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let node = kubelet_node(ECDSA, 100);
        damage(&node, &pem);
        // A file that was written recently is read again first, as it may be incomplete.
        node.backdate_kubelet_files();
        let files = node
            .kubelet_files()
            .into_iter()
            .filter(|name| !name.ends_with("-current.pem"))
            .collect::<Vec<_>>();
        let before: Vec<_> =
            files.into_iter().chain(["kubelet-client-current.pem".to_owned()]).collect();
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{what}: {}", run.text);
        assert_reissued(&node, &before);
    }
}

/// kubeadm leaves this state when kubelet received its own certificate later (kubernetes #99645).
#[test]
fn kubelet_conf_with_expired_data_is_pointed_to_link() {
    for pem in [Some(-30), Some(200), None] {
        let node = Node::fresh(RSA);
        if let Some(days_left) = pem {
            node.add_kubelet_certificate(days_left);
        }
        node.embed_kubelet_certificate(-30);
        let before = node.text(CONF);
        fs::create_dir_all(node.path(PKI_DIR)).unwrap();
        let files: Vec<_> = node
            .kubelet_files()
            .into_iter()
            .chain(["kubelet-client-current.pem".to_owned()])
            .collect();
        let check = node.run(&["check"]);
        assert!(check.text.contains("kubelet-client"), "{}", check.text);
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{pem:?}: {}", run.text);
        assert!(
            run.text.contains(
                "kubelet.conf embeds a client certificate of its own: expired 29 days ago"
            ),
            "{}",
            run.text
        );
        let changed: Vec<_> = before
            .lines()
            .zip(node.text(CONF).lines())
            .filter(|(old, new)| old != new)
            .map(|(_, new)| new.to_owned())
            .collect();
        assert_eq!(
            changed,
            [format!("    client-certificate: /{CURRENT}"), format!("    client-key: /{CURRENT}")]
        );
        assert!(node.backups().contains(before.as_bytes()), "what it was is in a backup");
        assert_reissued(&node, &files);
    }
}

#[test]
fn kubelet_conf_with_valid_data_is_not_changed() {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(100);
    node.embed_kubelet_certificate(20);
    let before = node.text(CONF);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!((node.text(CONF), node.kubelet_files().len()), (before, 2));
}

#[test]
fn unknown_node_name_is_never_guessed() {
    let unnamed_node = || {
        let node = kubelet_node(ECDSA, 100);
        node.write(&format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem"), "");
        node.backdate_kubelet_files();
        let conf = node.text(CONF).replace(&format!("system:node:{NODE_NAME}"), "default-auth");
        node.write(CONF, conf);
        node.write("etc/hostname", "guessed\n");
        node
    };
    let node = unnamed_node();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text.contains("the name of this node is not known")
            && run.text.contains("--hostname-override=NAME"),
        "{}",
        run.text
    );
    assert!(!run.text.contains("guessed"));
    let node = unnamed_node();
    node.write(
        "var/lib/kubelet/kubeadm-flags.env",
        format!("KUBELET_KUBEADM_ARGS=\"--hostname-override={NODE_NAME} --v=2\"\n"),
    );
    let files = node.kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_reissued(&node, &files);
}

/// Neither is a choice: the one may be of a cloned disk, and the other edited.
#[test]
fn certificate_and_conf_of_different_nodes_are_an_error() {
    let node = kubelet_node(ECDSA, -30);
    let conf = node.text(CONF).replace(&format!("system:node:{NODE_NAME}"), "system:node:other");
    node.write(CONF, conf);
    let files = node.kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!((run.code, node.kubelet_files()), (1, files), "{}", run.text);
    let several = format!(
        "there are several (the old certificate: {NODE_NAME}, the user in \
         /etc/kubernetes/kubelet.conf: other)"
    );
    assert!(run.text.contains(&several), "{}", run.text);
}

/// A certificate of another CA may be in use for a reason until it expires.
#[test]
fn foreign_kubelet_certificate_is_kept_until_expiry() {
    let node_with_foreign = |days_left| {
        let (node, other) = (kubelet_node(ECDSA, 100), Node::fresh(RSA));
        node.write(
            &format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem"),
            other.kubelet_pem(days_left),
        );
        node
    };
    let node = node_with_foreign(100);
    let files = node.kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!((run.code, node.kubelet_files()), (0, files.clone()), "{}", run.text);
    assert_eq!(node.run(&["renew", "kubelet-client", "--force"]).code, 0);
    assert_reissued(&node, &files);
    let node = node_with_foreign(-1);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_reissued(&node, &files);
}

/// The certificate and key may be in one plain file; then that file is replaced.
#[test]
fn kubelet_certificate_in_plain_file_is_replaced_in_place() {
    let node = Node::fresh(ECDSA);
    node.write("srv/kubelet.pem", node.kubelet_pem(-5));
    node.link_kubelet_conf();
    node.write(CONF, node.text(CONF).replace(&format!("/{CURRENT}"), "/srv/kubelet.pem"));
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let new = certificates(&node.read("srv/kubelet.pem")).unwrap().remove(0);
    assert!(
        new.is_valid_at(now())
            && fs::symlink_metadata(node.path("srv/kubelet.pem")).unwrap().is_file()
    );
    assert_eq!(fs::read_dir(node.path("srv")).unwrap().count(), 1);
}

#[test]
fn unsynchronised_clock_issues_from_ca_not_before() {
    let node = kubelet_node(ECDSA, -30);
    assert_eq!(node.run(&["renew"]).code, 0);
    let new = node.kubelet_certificate();
    let authority = read_ca(&node).not_before;
    let recent = now().minus(std::time::Duration::from_secs(900));
    // The clock of the test machine may be synchronised or not.
    assert!(new.not_before == authority || new.not_before > recent, "{}", new.not_before);
}
