//! The quarantine: a journal that is not followed, and the staged files that it may have named.
//! They are kept for an operator, because one of them may be the only copy of a key.

use std::ffi::OsStr;
use std::io::Write as _;

use super::{LARGEST_FILE, StoreError};
use crate::model::Secret;
use crate::sys::{Dir, FileError, FileProblem, read_regular};

/// The directory of quarantined staged files in the state directory.
pub(super) const DIR: &str = "set-aside";

/// Renames an entry of the state directory and returns its new name.
pub(super) fn quarantine_entry(state: &Dir, name: &str) -> Result<String, StoreError> {
    let mut result = Ok(());
    // The first name may be taken by an entry that can't be replaced: a directory by a file.
    for kept in
        [format!("{name}.refused"), format!("{name}.refused-2"), format!("{name}.refused-3")]
    {
        result = state.rename(OsStr::new(name), OsStr::new(&kept));
        if result.is_ok() {
            return Ok(kept);
        }
    }
    Ok(result.map(|()| String::new())?)
}

/// Writes a quarantined copy of a file, replaces an earlier copy, and returns its name.
pub(super) fn quarantine_copy(state: &Dir, name: &str, bytes: &[u8]) -> Result<String, StoreError> {
    let kept = format!("{name}.refused");
    state.remove(OsStr::new(&kept))?;
    write(state, OsStr::new(&kept), bytes)?;
    Ok(kept)
}

/// Quarantines a staged file: copies it to the quarantine directory, or, where the disk is full,
/// renames it beside its target to a name that recovery does not remove.
pub(super) fn quarantine_staged(dir: &Dir, name: &OsStr, state: &Dir) {
    if copy(dir, name, state).is_err() {
        let mut kept = OsStr::new(".kept-by-kubecertd").to_owned();
        kept.push(name);
        // Where renaming fails too, the file stays: removing it fails as well.
        let _ = dir.rename(name, &kept);
    }
}

fn copy(dir: &Dir, name: &OsStr, state: &Dir) -> Result<(), FileError> {
    let content = match read(dir, name) {
        // Only a regular file can hold a key.
        Err(FileError {
            problem: FileProblem::Link | FileProblem::NotAFile(_) | FileProblem::NotFound,
            ..
        }) => return Ok(()),
        result => result?,
    };
    let dir = state.create_dir(OsStr::new(DIR))?;
    dir.make_private()?;
    // The name without the leading dot is not hidden.
    let shown = OsStr::new(name.to_str().map_or("staged", |name| name.trim_start_matches('.')));
    if read(&dir, shown).is_ok_and(|earlier| earlier == content) {
        return Ok(());
    }
    write(&dir, shown, content.expose())?;
    dir.sync()?;
    state.sync()
}

fn read(dir: &Dir, name: &OsStr) -> Result<Secret, FileError> {
    read_regular(dir.open(name)?, &dir.path().join(name), LARGEST_FILE).map(|content| content.bytes)
}

fn write(dir: &Dir, name: &OsStr, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = dir.create_new(name)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|e| {
        let _ = dir.remove(name);
        FileError::from_io(dir.path().join(name), "write", e)
    })
}
