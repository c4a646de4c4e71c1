//! `ca install` is killed at every change. There is never a certificate without its key, and the
//! same command completes the installation.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use kubecertd::formats::x509::{PrivateKey, certificates};

use crate::common::requirements::require;
use crate::common::{CA_CRT, CA_KEY, Node};
use crate::points::{Point, list_points};
use crate::strace::{Call, inject_into, record, run_on_each_core};
use crate::tree::{empty_tree, holds_key};

fn assert_invariants(node: &Node, case: &str) {
    if node.path(CA_CRT).exists() {
        let certificate = certificates(&node.read(CA_CRT)).unwrap().remove(0);
        let key = fs::read(node.path(CA_KEY))
            .unwrap_or_else(|e| panic!("{case}: a certificate without its key: {e}"));
        assert!(PrivateKey::from_pem(&key).unwrap().fits(&certificate), "{case}");
    }
    crate::common::walk(node.root(), &mut |path| {
        let found = fs::symlink_metadata(path).unwrap();
        let open =
            found.is_file() && found.mode() & 0o077 != 0 && holds_key(&fs::read(path).unwrap());
        assert!(!open, "{case}: {} can be read by others", path.display());
    });
}

#[test]
fn root_installation_survives_kill_at_every_change() {
    require!("strace", "taskset", "openssl");
    let desk = tempfile::tempdir().unwrap();
    let file = desk.path().join("company.pem");
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=company", "-days", "3650", "-keyout"])
        .arg(&file)
        .args(["-addext", "keyUsage = critical, keyCertSign"])
        .output()
        .unwrap();
    assert!(openssl.status.success(), "{openssl:?}");
    let mut both = openssl.stdout;
    both.extend(fs::read(&file).unwrap());
    fs::write(&file, both).unwrap();
    let arguments = ["ca", "install", file.to_str().unwrap()];

    let recorded = empty_tree();
    let calls = record(recorded.node.root(), &arguments);
    assert_invariants(&recorded.node, "recorded");
    let points = list_points(&calls, &recorded.node, Call::is_changing);
    assert!(points.iter().filter(|point| point.call == "renameat").count() >= 2, "both files");
    run_on_each_core(&points, |Point { call, number, .. }, core| {
        let case = format!("installation, killed at {call} {number}");
        let copy = empty_tree();
        let root = copy.node.root();
        let run = inject_into(root, &arguments, (call, *number), "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        assert_invariants(&copy.node, &case);
        let run = copy.node.run(&arguments);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        assert!(copy.node.path(CA_CRT).exists(), "{case}");
        assert_invariants(&copy.node, &case);
        assert!(copy.node.dot_files().is_empty(), "{case}: {:?}", copy.node.dot_files());
    });
    println!("installation of a root: killed at {} points", points.len());
}
