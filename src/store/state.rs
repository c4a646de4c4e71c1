//! Two small files in the state folder: what the daemon remembers, and an operator's hold.
//!
//! Both are JSON with a format number, written whole or not at all, and either may be deleted at any time without harm:
//! what is remembered is only ever a brake. What can't be understood is said and counts as not there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{AbsolutePath, AskedHold, Timestamp};
use crate::sys::{Dir, FileError, Root};

const STATE: &str = "state.json";
const HOLD: &str = "hold.json";
const FORMAT: u32 = 1;
/// Much more than either file holds.
const LARGEST: u64 = 64 * 1024;

/// What the daemon remembers. Each is unknown on a node that is new, or whose state file was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The time when the clock was last believed.
    pub last_seen: Option<Timestamp>,
    /// When a pass last began.
    pub last_pass_began: Option<Timestamp>,
    /// When a pass last ended well.
    pub last_pass_succeeded: Option<Timestamp>,
    /// Up to which moment scheduled passes were made: one between it and now was missed.
    pub scheduled_until: Option<Timestamp>,
    /// Until when the daemon, new on this node, only looks.
    pub observing_until: Option<Timestamp>,
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
struct HoldFile {
    until: Timestamp,
    reason: String,
}

/// Reads the hold file, whether or not the hold has ended. The text says what is wrong with it, if something is.
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
    match root.folder(state.as_path()) {
        Ok(folder) => folder.remove(OsStr::new(HOLD)).and_then(|()| folder.sync()),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(e),
    }
}

/// A file's content under its format number.
#[derive(Serialize)]
struct Numbered<'c, T> {
    format: u32,
    #[serde(flatten)]
    content: &'c T,
}

/// What is read first, whatever else there is.
#[derive(Deserialize)]
struct Number {
    format: u32,
}

fn read<T: DeserializeOwned>(root: &Root, state: &AbsolutePath, name: &str, otherwise: &str) -> (Option<T>, Option<String>) {
    let content = state.join(name).map_err(|e| e.to_string()).and_then(|path| match root.read(&path, LARGEST) {
        Ok(content) => parse(content.bytes.expose()).map(Some).map_err(|problem| format!("{path}: {problem}")),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.to_string()),
    });
    match content {
        Ok(content) => (content, None),
        Err(problem) => (None, Some(format!("{problem}; {otherwise}"))),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let not_understood = |e: serde_json::Error| format!("can't be understood: {e}");
    let Number { format } = serde_json::from_slice(bytes).map_err(not_understood)?;
    if format != FORMAT {
        return Err(format!("has format {format}, and this version knows format {FORMAT}"));
    }
    serde_json::from_slice(bytes).map_err(not_understood)
}

fn write<T: Serialize>(root: &Root, state: &AbsolutePath, name: &str, content: &T) -> Result<(), FileError> {
    let folder = root.create_folder(state)?;
    let failed = |e: std::io::Error| FileError::from_io(folder.path().join(name), "write", e);
    let mut bytes = serde_json::to_vec_pretty(&Numbered { format: FORMAT, content }).map_err(|e| failed(e.into()))?;
    bytes.push(b'\n');
    replace(&folder, OsStr::new(name), &bytes)
}

/// Written beside it under a dot-name, and renamed over it when it is on the disk.
fn replace(folder: &Dir, name: &OsStr, bytes: &[u8]) -> Result<(), FileError> {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    let mut file = draft_alone(folder, &draft)?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write(&mut file).map_err(|e| FileError::from_io(folder.path().join(&draft), "write", e))?;
    folder.rename(&draft, name)?;
    folder.sync()
}

/// The draft, held alone: a command and the daemon may write at the same time, and a process that was killed may have
/// left a draft behind.
fn draft_alone(folder: &Dir, name: &OsStr) -> Result<Flock<File>, FileError> {
    let failed = |errno| FileError::from_errno(folder.path().join(name), "lock", errno);
    loop {
        let file = match Flock::lock(folder.open_or_create(name)?, FlockArg::LockExclusive) {
            Ok(file) => file,
            Err((_, Errno::EINTR)) => continue,
            Err((_, errno)) => return Err(failed(errno)),
        };
        let own = nix::sys::stat::fstat(&*file).map_err(failed)?;
        // Whoever held it before has renamed it: then it is no draft any more, but the file itself.
        if folder.stat(name)?.is_some_and(|named| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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

        fn file(&self, name: &str) -> std::path::PathBuf {
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
        State { last_seen: at(1), last_pass_began: at(2), last_pass_succeeded: at(3), scheduled_until: at(4), observing_until: None }
    }

    fn hold() -> AskedHold {
        AskedHold { until: Timestamp::from_seconds(1_826_817_282), reason: "upgrade \"on\" Sunday".to_owned() }
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
        assert!(text.starts_with("{\n  \"format\": 1,\n  \"last_seen\": \"1970-01-01T00:00:01Z\",\n"), "{text}");
        let names: Vec<_> = fs::read_dir(node.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["state.json"], "nothing else stays behind");
    }

    #[test]
    fn what_is_not_understood_is_said_and_not_there() {
        let node = Node::new();
        let cases = [
            ("", "can't be understood: EOF while parsing"),
            ("{\"last_seen\": null}", "can't be understood: missing field `format`"),
            ("{\"format\": 1, \"last_seen\": \"soon\"}", "can't be understood: \"soon\" is not a date and time with a zone"),
            ("{\"format\": 2}", "has format 2, and this version knows format 1"),
            ("{\"format\": 2, \"last_seen\": {\"boot\": 7}}", "has format 2, and this version knows format 1"),
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
        node.put("state.json", "{\"format\": 1, \"color\": \"blue\", \"last_seen\": \"1970-01-01T00:00:01Z\"}");
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
        assert_eq!(error.to_string(), format!("{FOLDER}/.state.json.new: is a symlink that leads in a circle"));
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
                scope.spawn(move || (0..100).for_each(|_| write_hold(root, &path(), &hold).unwrap()));
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
        assert_eq!(fs::metadata(node.file("hold.json")).unwrap().permissions().mode() & 0o7777, 0o600);
        remove_hold(&node.root, &path()).unwrap();
        assert_eq!(read(), (None, None));
    }

    #[test]
    fn a_hold_without_an_end_is_no_hold_and_is_said() {
        let node = Node::new();
        node.put("hold.json", "{\"format\": 1, \"reason\": \"for ever\"}");
        let (found, note) = read_hold(&node.root, &path());
        assert_eq!(found, None);
        let expected =
            "/var/lib/kubecertd/hold.json: can't be understood: missing field `until` at line 1 column 35; nothing is held for it";
        assert_eq!(note.as_deref(), Some(expected));
    }
}
