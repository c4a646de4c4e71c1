//! Small files that may be deleted at any time without harm: JSON with a format number, written
//! whole or not at all.
//!
//! What can't be understood is said and counts as not there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileContent, FileError, FileProblem, Root, check_root_only, read_regular};

const FORMAT: u32 = 1;
/// Much more than any of them holds.
const LARGEST: u64 = 4 << 20;

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

/// Reads a small file. None where it does not exist; the text says what is wrong with it, if
/// something is, and ends with what follows from it.
pub(crate) fn read<T: DeserializeOwned>(
    root: &Root,
    state: &AbsolutePath,
    name: &str,
    otherwise: &str,
) -> (Option<T>, Option<String>) {
    let content = match own(root, state, OsStr::new(name)) {
        Ok((content, path)) => parse(content.bytes.expose())
            .map(Some)
            .map_err(|problem| format!("{}: {problem}", path.display())),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.to_string()),
    };
    match content {
        Ok(content) => (content, None),
        Err(problem) => (None, Some(format!("{problem}; {otherwise}"))),
    }
}

/// Reads a file of ours: never through a symlink, and not one that has another name elsewhere or
/// that others can have written.
fn own(
    root: &Root,
    state: &AbsolutePath,
    name: &OsStr,
) -> Result<(FileContent, PathBuf), FileError> {
    let folder = root.trusted_dir(state.as_path())?;
    let path = folder.path().join(name);
    let content = read_regular(folder.open(name)?, &path, LARGEST)?;
    alone(&content.stat, &path)?;
    check_root_only(&content.stat, &path)?;
    Ok((content, path))
}

/// A file with another name may be somebody else's: it is neither believed nor written to.
pub(super) fn alone(stat: &FileStat, path: &Path) -> Result<(), FileError> {
    if stat.st_nlink > 1 {
        Err(FileError { path: path.to_owned(), problem: FileProblem::ManyNames(stat.st_nlink) })
    } else {
        Ok(())
    }
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let not_understood = |e: serde_json::Error| format!("can't be understood: {e}");
    let Number { format } = serde_json::from_slice(bytes).map_err(not_understood)?;
    if format != FORMAT {
        return Err(format!("has format {format}, and this version knows format {FORMAT}"));
    }
    serde_json::from_slice(bytes).map_err(not_understood)
}

/// Writes a small file, whole or not at all.
///
/// # Errors
/// When it can't be written; what was there before stays.
pub(crate) fn write<T: Serialize>(
    root: &Root,
    state: &AbsolutePath,
    name: &str,
    content: &T,
) -> Result<(), FileError> {
    root.create_dir(state)?;
    let folder = root.trusted_dir(state.as_path())?;
    let failed = |e: std::io::Error| FileError::from_io(folder.path().join(name), "write", e);
    let bytes = text(content).map_err(|e| failed(e.into()))?;
    replace(&folder, OsStr::new(name), &bytes)
}

pub(super) fn text<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&Numbered { format: FORMAT, content })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Written beside it under a dot-name, and renamed over it when it is on the disk.
pub(super) fn replace(folder: &Dir, name: &OsStr, bytes: &[u8]) -> Result<(), FileError> {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    let mut file = draft_alone(folder, &draft)?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written =
        write(&mut file).map_err(|e| FileError::from_io(folder.path().join(&draft), "write", e));
    if let Err(e) = written.and_then(|()| folder.rename(&draft, name)) {
        // On a full disk half a draft would take room for nothing.
        let _ = folder.remove(&draft);
        return Err(e);
    }
    folder.sync()
}

/// The draft, held alone: a command and the daemon may write at the same time, and a process that
/// was killed may have left a draft behind.
fn draft_alone(folder: &Dir, name: &OsStr) -> Result<File, FileError> {
    let failed = |e| FileError::from_io(folder.path().join(name), "lock", e);
    loop {
        let file = folder.open_or_create(name)?;
        match file.lock() {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            locked => locked.map_err(failed)?,
        }
        let own = nix::sys::stat::fstat(&file).map_err(|e| failed(e.into()))?;
        // Whoever held it before has renamed it: then it is no draft any more, but the file itself.
        if folder
            .stat(name)?
            .is_some_and(|named| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino))
        {
            alone(&own, &folder.path().join(name))?;
            return Ok(file);
        }
    }
}
