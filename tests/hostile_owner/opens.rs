//! The files and directories that a pass opens, from a trace of its calls.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::common::Node;
use super::node::{OWN_DIRS, TEMPLATE};
use super::strace::{Call, OPEN_CALLS, record_ending_with};

/// A pass without anything hostile.
pub struct Trace {
    pub calls: Vec<Call>,
    /// The files and directories below the root that were there before, and were opened.
    pub opened: BTreeSet<PathBuf>,
    root: PathBuf,
}

pub static TRACE: LazyLock<Trace> = LazyLock::new(|| Trace::of(|_| {}));

impl Trace {
    /// Makes a pass on a copy of the template, after a change of it.
    pub fn of(change: impl FnOnce(&Node)) -> Self {
        let copy = TEMPLATE.copy();
        change(&copy.node);
        let root = copy.node.root().to_owned();
        // What a change makes unusable is reported: 4.
        let calls = record_ending_with(&root, &["renew"], &[0, 4]);
        let opened = opened_in(&calls, &root);
        Self { calls, opened, root }
    }

    /// The path, below the root, that a call opens or renames to.
    pub fn path_of(&self, call: &Call) -> Option<PathBuf> {
        let path = match call.name.as_str() {
            "renameat" => call.entry(2),
            name if OPEN_CALLS.contains(&name) => call.opened.clone()?,
            _ => return None,
        };
        Some(path.strip_prefix(&self.root).ok()?.to_owned())
    }
}

/// The files and directories that these calls open below a root, and that the template has.
pub fn opened_in(calls: &[Call], root: &Path) -> BTreeSet<PathBuf> {
    let opened = calls.iter().filter_map(|call| call.opened.as_ref());
    let below = opened.filter_map(|path| path.strip_prefix(root).ok());
    below.filter(|path| exists(&TEMPLATE.node, path)).map(Path::to_owned).collect()
}

fn exists(node: &Node, path: &Path) -> bool {
    !path.as_os_str().is_empty() && node.root().join(path).symlink_metadata().is_ok()
}

/// Whether a user with this directory could replace the program's own directories.
pub fn is_own(path: &Path) -> bool {
    OWN_DIRS.iter().any(|own| path.starts_with(own) || Path::new(own).starts_with(path))
}
