//! Read-only commands never recover, remove or write anything, in any state of the files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::common::requirements::require;
use super::common::{Node, STATE, walk};

const READ_ONLY_COMMANDS: &[&[&str]] = &[
    &["check"],
    &["check", "-o", "wide"],
    &["check", "-o", "json"],
    &["status"],
    &["renew", "--dry-run"],
    &["renew", "--dry-run", "--force"],
    &["restore", "--list"],
    &["config", "check"],
    &["config", "show"],
];

/// All objects with their times, those of owner and mode changes included.
type Listing = BTreeMap<PathBuf, (u64, u32, u64, (i64, i64), (i64, i64))>;

fn list_files(node: &Node) -> Listing {
    let mut found = BTreeMap::new();
    walk(node.root(), &mut |path| {
        let stat = std::fs::symlink_metadata(path).unwrap();
        let times = ((stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec()));
        found.insert(path.to_owned(), (stat.ino(), stat.mode(), stat.size(), times.0, times.1));
    });
    found
}

fn assert_nothing_written(node: &Node, case: &str) {
    let before = list_files(node);
    for command in READ_ONLY_COMMANDS {
        let run = node.run(command);
        assert!([0, 3, 5].contains(&run.code), "{case}: {command:?}: {}", run.text);
        assert_eq!(list_files(node), before, "{case}: {command:?}");
    }
}

#[test]
fn read_only_commands_create_no_state_directory() {
    let node = Node::due();
    assert_nothing_written(&node, "no state directory");
    assert!(!node.path("var").exists() && !node.path("run").exists());
}

#[test]
fn read_only_commands_leave_unfinished_transaction() {
    require!("strace");
    let node = Node::due();
    let status = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=renameat",
            "-e",
            "inject=renameat:signal=KILL:when=4",
        ])
        .arg(env!("CARGO_BIN_EXE_kubecertd"))
        .arg("--root")
        .arg(node.root())
        .arg("renew")
        .output()
        .unwrap()
        .status;
    assert_ne!(status.code(), Some(0));
    assert!(!node.dot_files().is_empty(), "staged files are left");
    assert!(
        node.journal_text().contains("\"do\":\"replace\""),
        "the journal names the unfinished transaction"
    );
    assert_nothing_written(&node, "unfinished");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

#[test]
fn read_only_commands_leave_damaged_state() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, 0);
    node.age_all(10);
    node.write(&format!("{STATE}/journal"), "kubecertd-journal 2 and so on");
    for file in ["state.json", "services.json", "hold.json", "last-good-configuration.json"] {
        node.write(&format!("{STATE}/{file}"), "{");
    }
    node.write("etc/kubernetes/pki/.apiserver.key.kubecertd-0badcafe", "left behind");
    assert_nothing_written(&node, "damaged");
}

trait Journal {
    fn journal_text(&self) -> String;
}

impl Journal for Node {
    fn journal_text(&self) -> String {
        String::from_utf8_lossy(&self.read(&format!("{STATE}/journal"))).into_owned()
    }
}
