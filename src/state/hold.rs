//! The operator's hold: `hold.json`.

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::model::{AbsolutePath, Hold, Timestamp};
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("hold.json", "the hold is ignored");

#[derive(Serialize, Deserialize)]
pub(super) struct HoldContent {
    until: Timestamp,
    reason: String,
}

/// Reads the hold, expired or not. The text is the problem with the file, if there is one.
#[must_use]
pub fn read_hold(root: &Root, state: &AbsolutePath) -> (Option<Hold>, Option<String>) {
    let (found, note) = FILE.read(root, state);
    (found.map(|HoldContent { until, reason }| Hold { until, reason }), note)
}

/// Writes the hold, and replaces an earlier one.
///
/// # Errors
/// When the file can't be written; it keeps its earlier content then.
pub fn write_hold(root: &Root, state: &AbsolutePath, hold: &Hold) -> Result<(), FileError> {
    FILE.write(root, state, &HoldContent { until: hold.until, reason: hold.reason.clone() })
}

/// Removes the hold. Succeeds where there is none.
///
/// # Errors
/// When the system refuses.
pub fn remove_hold(root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
    FILE.remove(root, state)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    struct Node {
        disk: tempfile::TempDir,
        root: Root,
    }

    impl Node {
        fn new() -> Self {
            let disk = tempfile::tempdir().unwrap();
            let root = Root::open(disk.path()).unwrap();
            Self { disk, root }
        }

        fn file(&self) -> PathBuf {
            self.disk.path().join("var/lib/kubecertd/hold.json")
        }
    }

    fn path() -> AbsolutePath {
        AbsolutePath::constant("/var/lib/kubecertd")
    }

    fn hold() -> Hold {
        Hold {
            until: Timestamp::from_seconds(1_826_817_282),
            reason: "upgrade \"on\" Sunday".to_owned(),
        }
    }

    #[test]
    fn concurrent_writers_never_mix_content() {
        let node = Node::new();
        let long = Hold { reason: "a long reason ".repeat(1_000), ..hold() };
        write_hold(&node.root, &path(), &long).unwrap();
        std::thread::scope(|scope| {
            for hold in [&hold(), &long] {
                let (root, hold) = (&node.root, hold.clone());
                scope.spawn(move || {
                    (0..100).for_each(|_| write_hold(root, &path(), &hold).unwrap())
                });
            }
            for _ in 0..1_000 {
                let (found, note) = read_hold(&node.root, &path());
                assert_eq!(note, None);
                assert!(found == Some(hold()) || found.as_ref() == Some(&long));
            }
        });
    }

    #[test]
    fn hold_round_trips_and_is_removed() {
        let node = Node::new();
        let read = || read_hold(&node.root, &path());
        remove_hold(&node.root, &path()).unwrap();
        assert_eq!(read(), (None, None));
        write_hold(&node.root, &path(), &hold()).unwrap();
        assert_eq!(read(), (Some(hold()), None));
        assert_eq!(fs::metadata(node.file()).unwrap().permissions().mode() & 0o7777, 0o600);
        remove_hold(&node.root, &path()).unwrap();
        assert_eq!(read(), (None, None));
    }

    #[test]
    fn hold_without_end_is_reported_and_ignored() {
        let node = Node::new();
        fs::create_dir_all(node.file().parent().unwrap()).unwrap();
        fs::write(node.file(), "{\"format\": 1, \"reason\": \"for ever\"}").unwrap();
        let (found, note) = read_hold(&node.root, &path());
        assert_eq!(found, None);
        let expected = "/var/lib/kubecertd/hold.json: can't be understood: missing field `until` \
            at line 1 column 35; the hold is ignored";
        assert_eq!(note.as_deref(), Some(expected));
    }
}
