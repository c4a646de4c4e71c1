//! Hostile files: what kubecertd uses is replaced by symlinks and hard links that lead elsewhere,
//! before it runs and while it runs. Nothing outside is written, or believed as if it were ours; it
//! is refused with a clear word; what can be renewed is renewed.
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

/// A folder on the same file system, with files that are nobody's business.
struct Outside {
    folder: TempDir,
    before: Snapshot,
}

impl Outside {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let before = Node::at(folder.path()).snapshot();
        Self { folder, before }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn untouched(&self, context: &str) {
        let differences = self.before.differences(&Node::at(self.folder.path()).snapshot());
        assert!(differences.is_empty(), "{context}: {differences:#?}");
    }
}

/// How many credentials have a new certificate.
fn renewed(node: &Node) -> usize {
    let whole = node.whole().into_values();
    whole
        .filter(|stored| stored.certificate.not_after.seconds_since(common::now()) > 300 * 86_400)
        .count()
}
