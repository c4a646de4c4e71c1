//! Reads, checks, versions and writes the files of the state directory.
//!
//! A file is used only if root alone can have written it. A [`StateFile`] is JSON with a format
//! number. One that can't be used is reported and counts as missing. A write replaces the whole
//! file or nothing. The first file of a newer format is kept for the version that wrote it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use nix::sys::stat::FileStat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileContent, FileError, FileProblem, Root, check_root_only, read_regular};

const FORMAT: u32 = 1;

/// The end of a draft's name.
const DRAFT_SUFFIX: &str = ".new";

/// The size limit of a state file in bytes, much more than any of them has.
const MAX_SIZE: u64 = 4 << 20;

/// The content of a file with its format number.
#[derive(Serialize)]
struct Versioned<'c, T> {
    format: u32,
    #[serde(flatten)]
    content: &'c T,
}

/// The format number, which is read before the rest of the content.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// A JSON file in a state directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateFile {
    name: &'static str,
    /// The consequence of a file that can't be used, for the note about it.
    consequence: &'static str,
}

impl StateFile {
    pub(crate) const fn new(name: &'static str, consequence: &'static str) -> Self {
        Self { name, consequence }
    }

    /// Reads the file; `None` where it does not exist. The text is the problem with the file, if
    /// there is one, and its consequence.
    pub(crate) fn read<T: DeserializeOwned>(
        self,
        root: &Root,
        state: &AbsolutePath,
    ) -> (Option<T>, Option<String>) {
        match self.content(root, state) {
            Ok(content) => (content, None),
            Err(problem) => (None, Some(format!("{problem}; {}", self.consequence))),
        }
    }

    /// Does the same with an empty memory in place of a missing one.
    pub(crate) fn read_or_default<T: DeserializeOwned + Default>(
        self,
        root: &Root,
        state: &AbsolutePath,
    ) -> (T, Option<String>) {
        let (found, note) = self.read(root, state);
        (found.unwrap_or_default(), note)
    }

    fn content<T: DeserializeOwned>(
        self,
        root: &Root,
        state: &AbsolutePath,
    ) -> Result<Option<T>, String> {
        let name = OsStr::new(self.name);
        let dir = match root.trusted_dir(state.as_path()) {
            Err(e) if e.is_not_found() => return Ok(None),
            dir => dir.map_err(|e| e.to_string())?,
        };
        match read_own(&dir, name, MAX_SIZE) {
            Ok(content) => parse(content.bytes.expose())
                .map(Some)
                .map_err(|problem| format!("{}: {problem}", dir.path().join(name).display())),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Writes the file. Creates the state directory where it does not exist.
    ///
    /// # Errors
    /// When the file can't be written; it keeps its earlier content then.
    pub(crate) fn write<T: Serialize>(
        self,
        root: &Root,
        state: &AbsolutePath,
        content: &T,
    ) -> Result<(), FileError> {
        root.create_dir(state)?;
        let dir = root.trusted_dir(state.as_path())?;
        let failed = |e: std::io::Error| FileError::from_io(dir.path().join(self.name), "write", e);
        let bytes = to_json(content).map_err(|e| failed(e.into()))?;
        self.keep_newer_format(&dir)?;
        replace(&dir, OsStr::new(self.name), &bytes)
    }

    /// Renames a file of a newer format to `NAME.refused`, unless there is one already.
    fn keep_newer_format(self, dir: &Dir) -> Result<(), FileError> {
        let kept = OsString::from(format!("{}.refused", self.name));
        let content = read_own(dir, OsStr::new(self.name), MAX_SIZE).ok();
        let version =
            content.and_then(|content| serde_json::from_slice(content.bytes.expose()).ok());
        match version {
            Some(Version { format }) if format > FORMAT && dir.stat(&kept)?.is_none() => {
                dir.rename(OsStr::new(self.name), &kept)
            }
            _ => Ok(()),
        }
    }

    /// Removes the file. Succeeds where it does not exist.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn remove(self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        match root.open_dir(state.as_path()) {
            Ok(dir) => dir.remove(OsStr::new(self.name)).and_then(|()| dir.sync()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Reads a regular file of at most `limit` bytes that root alone can have written. Follows no
/// symlink, and refuses a file that has a second name.
pub(super) fn read_own(dir: &Dir, name: &OsStr, limit: u64) -> Result<FileContent, FileError> {
    let path = dir.path().join(name);
    let content = read_regular(dir.open(name)?, &path, limit)?;
    check_single_name(&content.stat, &path)?;
    check_root_only(&content.stat, &path)?;
    Ok(content)
}

/// Refuses a file with a second name (hard link): a user may have given it one, and it may be the
/// user's file.
fn check_single_name(stat: &FileStat, path: &Path) -> Result<(), FileError> {
    if stat.st_nlink > 1 {
        Err(FileError { path: path.to_owned(), problem: FileProblem::ManyNames(stat.st_nlink) })
    } else {
        Ok(())
    }
}

/// Parses the content of a file. Refuses a format other than [`FORMAT`] and names it.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let not_understood = |e: serde_json::Error| format!("can't be understood: {e}");
    let Version { format } = serde_json::from_slice(bytes).map_err(not_understood)?;
    if format != FORMAT {
        return Err(format!("has format {format}, and this version knows format {FORMAT}"));
    }
    serde_json::from_slice(bytes).map_err(not_understood)
}

pub(super) fn to_json<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&Versioned { format: FORMAT, content })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Replaces a file atomically: writes and syncs a draft under a dot-name beside it, then renames
/// the draft over it.
pub(super) fn replace(dir: &Dir, name: &OsStr, bytes: &[u8]) -> Result<(), FileError> {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(DRAFT_SUFFIX);
    let mut file = open_draft(dir, &draft)?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written =
        write(&mut file).map_err(|e| FileError::from_io(dir.path().join(&draft), "write", e));
    if let Err(e) = written.and_then(|()| dir.rename(&draft, name)) {
        // On a full disk an incomplete draft only takes up space.
        let _ = dir.remove(&draft);
        return Err(e);
    }
    dir.sync()
}

/// Removes the drafts in a directory that killed processes left behind. A draft that is being
/// written is waited for.
///
/// # Errors
/// When the directory can't be read, or a draft can't be locked or removed.
pub fn remove_drafts(dir: &Dir) -> Result<(), FileError> {
    for name in dir.names()?.into_iter().filter(|name| is_draft(name)) {
        let _locked = open_draft(dir, &name)?;
        dir.remove(&name)?;
    }
    Ok(())
}

fn is_draft(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".") && bytes.ends_with(DRAFT_SUFFIX.as_bytes())
}

/// Opens the draft and locks it: a command and the daemon may write at the same time, and a killed
/// process may have left a draft.
fn open_draft(dir: &Dir, name: &OsStr) -> Result<File, FileError> {
    let failed = |e| FileError::from_io(dir.path().join(name), "lock", e);
    loop {
        let file = dir.open_or_create(name)?;
        match file.lock() {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            locked => locked.map_err(failed)?,
        }
        let locked = nix::sys::stat::fstat(&file).map_err(|e| failed(e.into()))?;
        // The previous holder of the lock has renamed its draft: then the locked file is no longer
        // the draft, but the state file itself.
        if dir
            .stat(name)?
            .is_some_and(|named| (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino))
        {
            check_single_name(&locked, &dir.path().join(name))?;
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    #[test]
    fn first_file_of_newer_format_is_kept() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let file = StateFile::new("some.json", "it is not used");
        let [path, kept] =
            ["some.json", "some.json.refused"].map(|name| disk.path().join("state").join(name));
        file.write(&root, &state, &BTreeMap::from([("since", 1)])).unwrap();
        for (content, expected) in [
            (None, None),
            (Some("not JSON"), None),
            (Some(r#"{"format": 2, "first": 1}"#), Some(r#"{"format": 2, "first": 1}"#)),
            (Some(r#"{"format": 2, "second": 1}"#), Some(r#"{"format": 2, "first": 1}"#)),
        ] {
            content.iter().for_each(|content| fs::write(&path, content).unwrap());
            file.write(&root, &state, &BTreeMap::from([("since", 2)])).unwrap();
            assert!(fs::read_to_string(&path).unwrap().contains("\"since\": 2"), "{content:?}");
            assert_eq!(fs::read_to_string(&kept).ok().as_deref(), expected, "{content:?}");
        }
    }
}
