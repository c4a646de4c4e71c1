//! Hostile files: symlinks and hard links replace the files of kubecertd, before it runs and while
//! it runs. Nothing outside is written or read as state; the link is refused with a clear message;
//! everything else is renewed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

#[path = "../common/mod.rs"]
mod common;

mod links;
mod swapped;

use std::fs;
use std::path::PathBuf;

use common::{Node, Snapshot};
use tempfile::TempDir;

/// A directory on the same file system, with files that must stay untouched.
struct OutsideDir {
    dir: TempDir,
    before: Snapshot,
}

impl OutsideDir {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let before = Node::at(dir.path()).snapshot();
        Self { dir, before }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn assert_untouched(&self, context: &str) {
        let differences = self.before.differences(&Node::at(self.dir.path()).snapshot());
        assert!(differences.is_empty(), "{context}: {differences:#?}");
    }
}

/// Returns the number of credentials with a new certificate.
fn count_renewed(node: &Node) -> usize {
    let whole = node.usable_credentials().into_values();
    whole
        .filter(|stored| stored.certificate.not_after.seconds_since(common::now()) > 300 * 86_400)
        .count()
}
