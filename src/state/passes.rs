//! The memory of earlier passes: `state.json`.

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::model::{AbsolutePath, Refused, Timestamp};
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("state.json", "the history of passes is lost");

/// What the daemon remembers of earlier passes. Each field is unknown on a new node, and where the
/// file was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PassMemory {
    /// The last time at which the clock was trusted.
    pub last_seen: Option<Timestamp>,
    /// When the last pass began.
    pub last_pass_began: Option<Timestamp>,
    /// When the last successful pass was finished.
    pub last_pass_succeeded: Option<Timestamp>,
    /// Whether the last pass was interrupted, or something in it failed.
    pub unfinished: bool,
    /// The time up to which scheduled passes were made: one between it and now was missed.
    pub scheduled_until: Option<Timestamp>,
    /// The time until which the daemon, new on this node, only observes.
    pub observing_until: Option<Timestamp>,
    /// The new certificates that servers refused recently.
    pub refused: Vec<Refused>,
}

impl PassMemory {
    /// Reads the file. The text is the problem with the file, if there is one.
    #[must_use]
    pub fn read(root: &Root, state: &AbsolutePath) -> (Self, Option<String>) {
        FILE.read_or_default(root, state)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the file can't be written; it keeps its earlier content then.
    pub fn write(&self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        FILE.write(root, state, self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::model::CredentialName;

    const DIR: &str = "/var/lib/kubecertd";

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

        fn file(&self, name: &str) -> PathBuf {
            self.disk.path().join("var/lib/kubecertd").join(name)
        }

        fn put(&self, name: &str, text: &str) {
            fs::create_dir_all(self.file("")).unwrap();
            fs::write(self.file(name), text).unwrap();
        }

        fn read(&self) -> (PassMemory, Option<String>) {
            PassMemory::read(&self.root, &path())
        }

        fn write(&self, memory: &PassMemory) -> Result<(), FileError> {
            memory.write(&self.root, &path())
        }
    }

    fn path() -> AbsolutePath {
        AbsolutePath::constant(DIR)
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_seconds(seconds))
    }

    fn memory() -> PassMemory {
        PassMemory {
            last_seen: at(1),
            last_pass_began: at(2),
            last_pass_succeeded: at(3),
            unfinished: true,
            scheduled_until: at(4),
            observing_until: None,
            refused: vec![Refused {
                credential: CredentialName::new("admin.conf").unwrap(),
                fingerprint: "00".to_owned(),
                server: "https://10.0.0.1:6443".to_owned(),
                answer: "status 401".to_owned(),
                at: Timestamp::from_seconds(5),
            }],
        }
    }

    #[test]
    fn pass_memory_round_trips() {
        let node = Node::new();
        assert_eq!(node.read(), (PassMemory::default(), None), "no file is nothing to say");
        node.write(&memory()).unwrap();
        assert_eq!(node.read(), (memory(), None));
        node.write(&PassMemory::default()).unwrap();
        assert_eq!(node.read(), (PassMemory::default(), None));
    }

    #[test]
    fn file_has_mode_0600_and_indented_json() {
        let node = Node::new();
        node.write(&memory()).unwrap();
        let file = node.file("state.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with("{\n  \"format\": 1,\n  \"last_seen\": \"1970-01-01T00:00:01Z\",\n"),
            "{text}"
        );
        let names: Vec<_> =
            fs::read_dir(node.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["state.json"], "nothing else stays behind");
    }

    #[test]
    fn invalid_file_is_reported_and_ignored() {
        let node = Node::new();
        let cases = [
            ("", "can't be understood: EOF while parsing"),
            ("{\"last_seen\": null}", "can't be understood: missing field `format`"),
            (
                "{\"format\": 1, \"last_seen\": \"soon\"}",
                "can't be understood: \"soon\" is not a date and time with a zone",
            ),
            ("{\"format\": 2}", "has format 2, and this version knows format 1"),
            (
                "{\"format\": 2, \"last_seen\": {\"boot\": 7}}",
                "has format 2, and this version knows format 1",
            ),
        ];
        for (text, problem) in cases {
            node.put("state.json", text);
            let (memory, note) = node.read();
            let note = note.unwrap();
            assert_eq!(memory, PassMemory::default());
            assert!(note.starts_with(&format!("{DIR}/state.json: {problem}")), "{note}");
            assert!(note.ends_with("; the history of passes is lost"), "{note}");
        }
        node.write(&memory()).unwrap();
        assert_eq!(node.read(), (memory(), None), "the next write replaces it");
    }

    #[test]
    fn unknown_and_missing_fields_are_accepted() {
        let node = Node::new();
        node.put(
            "state.json",
            "{\"format\": 1, \"color\": \"blue\", \"last_seen\": \"1970-01-01T00:00:01Z\"}",
        );
        assert_eq!(node.read(), (PassMemory { last_seen: at(1), ..PassMemory::default() }, None));
    }

    #[test]
    fn draft_of_killed_process_is_overwritten() {
        let node = Node::new();
        node.put(".state.json.new", &"x".repeat(10_000));
        node.write(&memory()).unwrap();
        assert_eq!(node.read(), (memory(), None));
        assert!(!node.file(".state.json.new").exists());
    }

    #[test]
    fn failed_write_keeps_earlier_content() {
        let node = Node::new();
        node.write(&memory()).unwrap();
        std::os::unix::fs::symlink("elsewhere", node.file(".state.json.new")).unwrap();
        let error = node.write(&PassMemory::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{DIR}/.state.json.new: is a symlink, which is not followed here; remove it, or \
                 put the file or directory itself in its place"
            )
        );
        assert_eq!(node.read(), (memory(), None));
        assert!(!node.file("elsewhere").exists());
    }
}
