//! kubelet's own client certificate is issued here: killed at every change, the link leads to the
//! old pem or to a whole new one, kubelet.conf is the old one or points to the link, and after the
//! next start there is one new pem and nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use kubecertd::formats::x509::{PrivateKey, certificates};

use crate::common::kubelet::{CONF, CURRENT, FOLDER};
use crate::common::{ECDSA, Node, now};
use crate::points::{Point, points};
use crate::strace::{Call, inject, on_each_core, record};
use crate::tree::{Copy, blank, holds_key};

const OLD: &str = "kubelet-client-2025-10-01-12-00-00.pem";

/// Everything else is well; kubelet's has ended, in the pem and in kubelet.conf.
fn tree() -> Copy {
    let copy = blank();
    copy.node.fill(&crate::common::fixture(ECDSA));
    copy.node.give_kubelet(-30);
    copy.node.embed_in_kubelet_conf(-30);
    fs::set_permissions(copy.node.path(CONF), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    copy.node.rest();
    copy
}

fn copy_of(tree: &Node) -> Copy {
    let copy = blank();
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(tree.root().join("."))
            .arg(copy.node.root())
            .status()
            .unwrap()
            .success()
    );
    copy
}

/// The pem that the link leads to: whole, be it the old one or a new one.
fn pem(node: &Node, case: &str) -> String {
    let link = fs::read_link(node.path(CURRENT))
        .unwrap_or_else(|e| panic!("{case}: there is no link: {e}"));
    let name = link.file_name().unwrap().to_str().unwrap().to_owned();
    let content = fs::read(node.path(FOLDER).join(&name))
        .unwrap_or_else(|e| panic!("{case}: the link leads nowhere: {e}"));
    let certificate = certificates(&content).unwrap().remove(0);
    assert!(PrivateKey::from_pem(&content).unwrap().fits(&certificate), "{case}");
    assert_eq!(name == OLD, !certificate.is_valid_at(now()), "{case}: {name}");
    name
}

fn holds_now(node: &Node, tree: &Node, case: &str) {
    pem(node, case);
    let (before, after) = (tree.text(CONF), node.text(CONF));
    assert!(
        after == before || after.contains(&format!("client-certificate: /{CURRENT}\n")),
        "{case}: {after}"
    );
    assert!(node.path(FOLDER).join(OLD).exists(), "{case}");
    crate::common::walk(node.root(), &mut |path| {
        let found = fs::symlink_metadata(path).unwrap();
        let open =
            found.is_file() && found.mode() & 0o077 != 0 && holds_key(&fs::read(path).unwrap());
        assert!(!open, "{case}: {} can be read by others", path.display());
    });
}

fn is_healed(node: &Node, case: &str) {
    let name = pem(node, case);
    assert_eq!(node.kubelet_files(), [OLD, name.as_str(), "kubelet-client-current.pem"], "{case}");
    assert!(node.text(CONF).contains(&format!("client-certificate: /{CURRENT}\n")), "{case}");
    let dots: Vec<_> = node.dot_files();
    assert!(dots.is_empty(), "{case}: {dots:?}");
    let check = node.run(&["check"]);
    assert_eq!(check.code, 0, "{case}: {}", check.text);
}

#[test]
fn killed_at_every_change_of_kubelets_repair() {
    let tree = tree();
    let recorded = copy_of(&tree.node);
    let calls = record(recorded.node.root(), &["renew"]);
    is_healed(&recorded.node, "recorded");
    // A call that only looks leaves the disk as the change before it did.
    let points = points(&calls, &recorded.node, Call::is_changing);
    let swaps = points
        .iter()
        .filter(|point| matches!(point.call.as_str(), "symlinkat" | "renameat"))
        .count();
    assert!(swaps >= 4, "a symlink, and the pem, the link and kubelet.conf: {swaps}");
    on_each_core(&points, |Point { call, number, .. }, core| {
        let case = format!("kubelet's, killed at {call} {number}");
        let copy = copy_of(&tree.node);
        let run = inject(copy.node.root(), call, *number, "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        holds_now(&copy.node, &tree.node, &case);
        let run = copy.node.run(&["renew"]);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        is_healed(&copy.node, &case);
    });
    println!("kubelet's: killed at {} points", points.len());
}
