//! kubelet's client certificate on a node that is off: issued here when kubelet can't renew it any
//! more, and only then.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use kubecertd::formats::x509::{Certificate, certificates, verify_renewed};

use crate::common::kubelet::{CONF, CURRENT, FOLDER, NODE};
use crate::common::{ECDSA, Node, PKI, RSA, now};

/// As kubeadm and kubelet leave it; `days_left` is kubelet's.
fn node(tree: &str, days_left: i64) -> Node {
    let node = Node::fresh(tree);
    node.give_kubelet(days_left);
    node.point_kubelet();
    node
}

fn authority(node: &Node) -> Certificate {
    certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0)
}

/// It is for this node, good, in a file of its own that the link leads to, and nothing lies about.
fn assert_healed(node: &Node, before: &[String]) -> Certificate {
    let new = node.kubelet_certificate();
    assert!(
        new.not_after > now().plus(kubecertd::model::days(360))
            || new.not_after == authority(node).not_after
    );
    assert!(new.is_signed_by(&authority(node)));
    assert_eq!(
        new.subject.to_string(),
        kubecertd::formats::x509::kubelet_template(NODE).unwrap().subject.to_string()
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
        format!("/{FOLDER}/{}", added[0]),
        "the whole path, as kubelet has it"
    );
    let pem = node.path(FOLDER).join(&added[0]);
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
fn one_that_has_ended_is_issued_again_byte_for_byte() {
    for tree in [RSA, ECDSA] {
        let node = node(tree, -30);
        let (old, files, conf) =
            (node.kubelet_certificate(), node.kubelet_files(), node.text(CONF));
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            run.text.contains("kubelet-client") && run.text.contains("expired 29 days ago"),
            "{}",
            run.text
        );
        let new = assert_healed(&node, &files);
        verify_renewed(&new, &old, &authority(&node), now()).unwrap();
        assert_eq!(node.text(CONF), conf, "it points there already");
        assert!(
            node.path(FOLDER).join("kubelet-client-2025-10-01-12-00-00.pem").exists(),
            "the old one stays, as kubelet leaves it"
        );
    }
}

#[test]
fn never_because_it_is_due() {
    for days_left in [1, 10, 100] {
        let node = node(ECDSA, days_left);
        let before = node.snapshot();
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        let link = std::path::Path::new(CURRENT);
        assert_eq!(node.snapshot().0.get(link), before.0.get(link), "{}", run.text);
    }
    let node = node(ECDSA, 100);
    let (old, files) = (node.kubelet_certificate(), node.kubelet_files());
    let run = node.run(&["renew", "kubelet-client", "--force"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_ne!(assert_healed(&node, &files).serial, old.serial);
}

/// Does something to the pem of this name.
type Damage = fn(&Node, &str);

#[test]
fn whatever_makes_it_useless_it_is_issued_anew() {
    let pem = format!("{FOLDER}/kubelet-client-2025-10-01-12-00-00.pem");
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
        let node = node(ECDSA, 100);
        damage(&node, &pem);
        // What was written a moment ago is looked at again first, in case somebody is not done yet.
        node.rest_kubelet();
        let files = node
            .kubelet_files()
            .into_iter()
            .filter(|name| !name.ends_with("-current.pem"))
            .collect::<Vec<_>>();
        let before: Vec<_> =
            files.into_iter().chain(["kubelet-client-current.pem".to_owned()]).collect();
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{what}: {}", run.text);
        assert_healed(&node, &before);
    }
}

/// kubeadm leaves it like this where kubelet had its own certificate only later (kubernetes
/// #99645).
#[test]
fn a_kubelet_conf_that_embeds_an_old_one_is_pointed_to_the_link() {
    for pem in [Some(-30), Some(200), None] {
        let node = Node::fresh(RSA);
        if let Some(days_left) = pem {
            node.give_kubelet(days_left);
        }
        node.embed_in_kubelet_conf(-30);
        let before = node.text(CONF);
        fs::create_dir_all(node.path(FOLDER)).unwrap();
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
        assert_healed(&node, &files);
    }
}

#[test]
fn while_what_it_embeds_is_good_kubelet_conf_stays_as_it_is() {
    let node = Node::fresh(ECDSA);
    node.give_kubelet(100);
    node.embed_in_kubelet_conf(20);
    let before = node.text(CONF);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!((node.text(CONF), node.kubelet_files().len()), (before, 2));
}

#[test]
fn which_node_it_is_for_is_never_guessed() {
    let lost = || {
        let node = node(ECDSA, 100);
        node.write(&format!("{FOLDER}/kubelet-client-2025-10-01-12-00-00.pem"), "");
        node.rest_kubelet();
        let conf = node.text(CONF).replace(&format!("system:node:{NODE}"), "default-auth");
        node.write(CONF, conf);
        node.write("etc/hostname", "guessed\n");
        node
    };
    let node = lost();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text.contains("which node this is can't be told")
            && run.text.contains("--hostname-override=NAME"),
        "{}",
        run.text
    );
    assert!(!run.text.contains("guessed"));
    let node = lost();
    node.write(
        "var/lib/kubelet/kubeadm-flags.env",
        format!("KUBELET_KUBEADM_ARGS=\"--hostname-override={NODE} --v=2\"\n"),
    );
    let files = node.kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_healed(&node, &files);
}

/// An authority of somebody else may be in force for a reason; what has ended is in force nowhere.
#[test]
fn a_foreign_one_is_reported_while_it_is_valid() {
    let foreign = |days_left| {
        let (node, other) = (node(ECDSA, 100), Node::fresh(RSA));
        node.write(
            &format!("{FOLDER}/kubelet-client-2025-10-01-12-00-00.pem"),
            other.kubelet_pem(days_left),
        );
        node
    };
    let node = foreign(100);
    let files = node.kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!((run.code, node.kubelet_files()), (0, files.clone()), "{}", run.text);
    assert_eq!(node.run(&["renew", "kubelet-client", "--force"]).code, 0);
    assert_healed(&node, &files);
    let node = foreign(-1);
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_healed(&node, &files);
}

/// Somebody keeps it in a plain file, or in two: then these are replaced.
#[test]
fn what_is_no_link_is_replaced_where_it_is() {
    let node = Node::fresh(ECDSA);
    node.write("srv/kubelet.pem", node.kubelet_pem(-5));
    node.point_kubelet();
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

/// By a clock that nobody vouches for it begins with its authority.
#[test]
fn by_an_unsynchronised_clock_it_begins_with_its_authority() {
    let node = node(ECDSA, -30);
    assert_eq!(node.run(&["renew"]).code, 0);
    let new = node.kubelet_certificate();
    let authority = authority(&node).not_before;
    let recent = now().minus(std::time::Duration::from_secs(900));
    // Whether this machine's clock is synchronised is not the test's to say.
    assert!(new.not_before == authority || new.not_before > recent, "{}", new.not_before);
}
