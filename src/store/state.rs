//! What is kept in the state folder besides journal and backups: what the daemon remembers, an
//! operator's hold, and the last configuration that was right. What is remembered is only ever a
//! brake.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::small::{read, write};
use crate::model::{AbsolutePath, AskedHold, Refused, Timestamp};
use crate::sys::{FileError, Root};

const STATE: &str = "state.json";
const HOLD: &str = "hold.json";
const LAST_GOOD: &str = "last-good-configuration.json";

/// What the daemon remembers. Each is unknown on a node that is new, or whose state file was
/// deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The time when the clock was last believed.
    pub last_seen: Option<Timestamp>,
    /// When a pass last began.
    pub last_pass_began: Option<Timestamp>,
    /// When a pass last ended well.
    pub last_pass_succeeded: Option<Timestamp>,
    /// A pass began and did not end well: it was cut short, or something in it failed.
    pub unfinished: bool,
    /// Up to which moment scheduled passes were made: one between it and now was missed.
    pub scheduled_until: Option<Timestamp>,
    /// Until when the daemon, new on this node, only looks.
    pub observing_until: Option<Timestamp>,
    /// The new certificates that servers refused of late.
    pub refused: Vec<Refused>,
}

impl State {
    /// Reads the state file. The text says what is wrong with it, if something is.
    #[must_use]
    pub fn read(root: &Root, state: &AbsolutePath) -> (Self, Option<String>) {
        let (found, note) = read(root, state, STATE, "nothing is remembered");
        (found.unwrap_or_default(), note)
    }

    /// Writes the state file.
    ///
    /// # Errors
    /// When the state folder can't be written to; the file is what it was then.
    pub fn write(&self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        write(root, state, STATE, self)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct HoldFile {
    until: Timestamp,
    reason: String,
}

/// Reads the hold file, whether or not the hold has ended. The text says what is wrong with it, if
/// something is.
#[must_use]
pub fn read_hold(root: &Root, state: &AbsolutePath) -> (Option<AskedHold>, Option<String>) {
    let (found, note) = read(root, state, HOLD, "nothing is held for it");
    (found.map(|HoldFile { until, reason }| AskedHold { until, reason }), note)
}

/// Writes the hold file, in the place of an earlier one.
///
/// # Errors
/// When the state folder can't be written to; the file is what it was then.
pub fn write_hold(root: &Root, state: &AbsolutePath, hold: &AskedHold) -> Result<(), FileError> {
    write(root, state, HOLD, &HoldFile { until: hold.until, reason: hold.reason.clone() })
}

/// Removes the hold file. None there is fine.
///
/// # Errors
/// When the system refuses.
pub fn remove_hold(root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
    match root.open_dir(state.as_path()) {
        Ok(folder) => folder.remove(OsStr::new(HOLD)).and_then(|()| folder.sync()),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(e),
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ConfigurationFile {
    files: Vec<(PathBuf, String)>,
}

/// Reads the configuration files that were in force last, by their names and texts.
#[must_use]
pub fn read_last_good(
    root: &Root,
    state: &AbsolutePath,
) -> (Option<Vec<(PathBuf, String)>>, Option<String>) {
    let (found, note) = read(root, state, LAST_GOOD, "there is no configuration to fall back on");
    (found.map(|ConfigurationFile { files }| files), note)
}

/// Keeps the configuration files that are in force.
///
/// # Errors
/// When the file can't be written.
pub fn write_last_good(
    root: &Root,
    state: &AbsolutePath,
    files: &[(PathBuf, String)],
) -> Result<(), FileError> {
    write(root, state, LAST_GOOD, &ConfigurationFile { files: files.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::CredentialName;

    const FOLDER: &str = "/var/lib/kubecertd";

    struct Node {
        folder: tempfile::TempDir,
        root: Root,
    }

    impl Node {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::open(folder.path()).unwrap();
            Self { folder, root }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join("var/lib/kubecertd").join(name)
        }

        fn put(&self, name: &str, text: &str) {
            fs::create_dir_all(self.file("")).unwrap();
            fs::write(self.file(name), text).unwrap();
        }

        fn read(&self) -> (State, Option<String>) {
            State::read(&self.root, &path())
        }

        fn write(&self, state: &State) -> Result<(), FileError> {
            state.write(&self.root, &path())
        }
    }

    fn path() -> AbsolutePath {
        AbsolutePath::constant(FOLDER)
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_seconds(seconds))
    }

    fn state() -> State {
        State {
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

    fn hold() -> AskedHold {
        AskedHold {
            until: Timestamp::from_seconds(1_826_817_282),
            reason: "upgrade \"on\" Sunday".to_owned(),
        }
    }

    #[test]
    fn the_state_goes_out_and_comes_back() {
        let node = Node::new();
        assert_eq!(node.read(), (State::default(), None), "no file is nothing to say");
        node.write(&state()).unwrap();
        assert_eq!(node.read(), (state(), None));
        node.write(&State::default()).unwrap();
        assert_eq!(node.read(), (State::default(), None));
    }

    #[test]
    fn the_file_is_for_its_owner_alone_and_readable_by_people() {
        let node = Node::new();
        node.write(&state()).unwrap();
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
    fn what_is_not_understood_is_said_and_not_there() {
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
            let (state, note) = node.read();
            let note = note.unwrap();
            assert_eq!(state, State::default());
            assert!(note.starts_with(&format!("{FOLDER}/state.json: {problem}")), "{note}");
            assert!(note.ends_with("; nothing is remembered"), "{note}");
        }
        node.write(&state()).unwrap();
        assert_eq!(node.read(), (state(), None), "it is put right by the next write");
    }

    #[test]
    fn a_field_that_is_not_known_or_not_there_does_no_harm() {
        let node = Node::new();
        node.put(
            "state.json",
            "{\"format\": 1, \"color\": \"blue\", \"last_seen\": \"1970-01-01T00:00:01Z\"}",
        );
        assert_eq!(node.read(), (State { last_seen: at(1), ..State::default() }, None));
    }

    #[test]
    fn a_draft_that_a_killed_process_left_is_overwritten() {
        let node = Node::new();
        node.put(".state.json.new", &"x".repeat(10_000));
        node.write(&state()).unwrap();
        assert_eq!(node.read(), (state(), None));
        assert!(!node.file(".state.json.new").exists());
    }

    #[test]
    fn a_failed_write_leaves_the_file_as_it_was() {
        let node = Node::new();
        node.write(&state()).unwrap();
        std::os::unix::fs::symlink("elsewhere", node.file(".state.json.new")).unwrap();
        let error = node.write(&State::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{FOLDER}/.state.json.new: is a symlink, which is not followed here; remove it, or \
                 put the thing itself in its place"
            )
        );
        assert_eq!(node.read(), (state(), None));
        assert!(!node.file("elsewhere").exists());
    }

    #[test]
    fn writers_at_the_same_time_never_mix() {
        let node = Node::new();
        let long = AskedHold { reason: "a long reason ".repeat(1_000), ..hold() };
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
    fn a_hold_goes_out_comes_back_and_is_removed() {
        let node = Node::new();
        let read = || read_hold(&node.root, &path());
        remove_hold(&node.root, &path()).unwrap();
        assert_eq!(read(), (None, None));
        write_hold(&node.root, &path(), &hold()).unwrap();
        assert_eq!(read(), (Some(hold()), None));
        assert_eq!(
            fs::metadata(node.file("hold.json")).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        remove_hold(&node.root, &path()).unwrap();
        assert_eq!(read(), (None, None));
    }

    #[test]
    fn a_hold_without_an_end_is_no_hold_and_is_said() {
        let node = Node::new();
        node.put("hold.json", "{\"format\": 1, \"reason\": \"for ever\"}");
        let (found, note) = read_hold(&node.root, &path());
        assert_eq!(found, None);
        let expected = "/var/lib/kubecertd/hold.json: can't be understood: missing field `until` \
            at line 1 column 35; nothing is held for it";
        assert_eq!(note.as_deref(), Some(expected));
    }
}
