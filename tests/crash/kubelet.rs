//! kubelet's client certificate is issued here and the program is killed at every change. The link
//! leads to the old PEM file or to a whole new one, and kubelet.conf is the old one or refers to
//! the link. The next start leaves one new PEM file and nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use kubecertd::formats::x509::{PrivateKey, certificates};

use crate::common::kubelet::{CONF, CURRENT, PKI_DIR};
use crate::common::requirements::require;
use crate::common::{ECDSA, Node, now};
use crate::points::{Point, list_points};
use crate::strace::{Call, inject, record, run_on_each_core};
use crate::tree::{TreeCopy, empty_tree, holds_key};

const OLD_PEM: &str = "kubelet-client-2025-10-01-12-00-00.pem";

/// Makes a node on which only kubelet's certificate has expired, in the PEM file and in
/// kubelet.conf.
fn tree() -> TreeCopy {
    let copy = empty_tree();
    copy.node.fill(&crate::common::fixture(ECDSA));
    copy.node.add_kubelet_certificate(-30);
    copy.node.embed_kubelet_certificate(-30);
    fs::set_permissions(copy.node.path(CONF), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    copy.node.backdate_files();
    copy
}

fn copy_tree(tree: &Node) -> TreeCopy {
    let copy = empty_tree();
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

/// Returns the name of the PEM file that the link leads to, and asserts that it is whole, old or
/// new.
fn check_pem(node: &Node, case: &str) -> String {
    let link = fs::read_link(node.path(CURRENT))
        .unwrap_or_else(|e| panic!("{case}: there is no link: {e}"));
    let name = link.file_name().unwrap().to_str().unwrap().to_owned();
    let content = fs::read(node.path(PKI_DIR).join(&name))
        .unwrap_or_else(|e| panic!("{case}: the link leads nowhere: {e}"));
    let certificate = certificates(&content).unwrap().remove(0);
    assert!(PrivateKey::from_pem(&content).unwrap().fits(&certificate), "{case}");
    assert_eq!(name == OLD_PEM, !certificate.is_valid_at(now()), "{case}: {name}");
    name
}

fn assert_invariants(node: &Node, tree: &Node, case: &str) {
    check_pem(node, case);
    let (before, after) = (tree.text(CONF), node.text(CONF));
    assert!(
        after == before || after.contains(&format!("client-certificate: /{CURRENT}\n")),
        "{case}: {after}"
    );
    assert!(node.path(PKI_DIR).join(OLD_PEM).exists(), "{case}");
    crate::common::walk(node.root(), &mut |path| {
        let found = fs::symlink_metadata(path).unwrap();
        let open =
            found.is_file() && found.mode() & 0o077 != 0 && holds_key(&fs::read(path).unwrap());
        assert!(!open, "{case}: {} can be read by others", path.display());
    });
}

fn assert_reissued(node: &Node, case: &str) {
    let name = check_pem(node, case);
    assert_eq!(
        node.kubelet_files(),
        [OLD_PEM, name.as_str(), "kubelet-client-current.pem"],
        "{case}"
    );
    assert!(node.text(CONF).contains(&format!("client-certificate: /{CURRENT}\n")), "{case}");
    let hidden: Vec<_> = node.dot_files();
    assert!(hidden.is_empty(), "{case}: {hidden:?}");
    let check = node.run(&["check"]);
    assert_eq!(check.code, 0, "{case}: {}", check.text);
}

#[test]
fn kubelet_repair_survives_kill_at_every_change() {
    require!("strace", "taskset");
    let tree = tree();
    let recorded = copy_tree(&tree.node);
    let calls = record(recorded.node.root(), &["renew"]);
    assert_reissued(&recorded.node, "recorded");
    // A read leaves the disk as the change before it did.
    let points = list_points(&calls, &recorded.node, Call::is_changing);
    let swaps = points
        .iter()
        .filter(|point| matches!(point.call.as_str(), "symlinkat" | "renameat"))
        .count();
    assert!(swaps >= 4, "a symlink, and the pem, the link and kubelet.conf: {swaps}");
    run_on_each_core(&points, |Point { call, number, .. }, core| {
        let case = format!("kubelet's, killed at {call} {number}");
        let copy = copy_tree(&tree.node);
        let run = inject(copy.node.root(), call, *number, "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        assert_invariants(&copy.node, &tree.node, &case);
        let run = copy.node.run(&["renew"]);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        assert_reissued(&copy.node, &case);
    });
    println!("kubelet's: killed at {} points", points.len());
}
