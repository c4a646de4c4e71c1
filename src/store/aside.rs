//! What is kept for an operator because nobody can say whether it is still needed: a journal that
//! is not followed, and the staged files that it may have been about. One of them may be the only
//! copy of a key.

use std::ffi::OsStr;
use std::io::Write as _;

use super::{LARGEST_FILE, StoreError};
use crate::model::Secret;
use crate::sys::{Dir, FileError, FileProblem, read_regular};

/// The folder of staged files, in the state folder.
pub(super) const FOLDER: &str = "set-aside";

/// Renames what stands in the place of a file of ours, and says how it is called now.
pub(super) fn rename(state: &Dir, name: &str) -> Result<String, StoreError> {
    let mut result = Ok(());
    // Something that can't be replaced may have the first name: a folder, where the other is a
    // file.
    for aside in
        [format!("{name}.refused"), format!("{name}.refused-2"), format!("{name}.refused-3")]
    {
        result = state.rename(OsStr::new(name), OsStr::new(&aside));
        if result.is_ok() {
            return Ok(aside);
        }
    }
    Ok(result.map(|()| String::new())?)
}

/// Keeps a copy of these bytes, in the place of an earlier one.
pub(super) fn keep(state: &Dir, name: &str, bytes: &[u8]) -> Result<String, StoreError> {
    let aside = format!("{name}.refused");
    state.remove(OsStr::new(&aside))?;
    write(state, OsStr::new(&aside), bytes)?;
    Ok(aside)
}

/// Keeps a staged file: copied into the folder for that, or, where there is no room, beside its
/// target under a name that is not swept away.
pub(super) fn keep_staged(dir: &Dir, name: &OsStr, state: &Dir) {
    if copy(dir, name, state).is_err() {
        let mut kept = OsStr::new(".kept-by-kubecertd").to_owned();
        kept.push(name);
        // Not even a new name is possible: then it stays where it is, since removing it fails too.
        let _ = dir.rename(name, &kept);
    }
}

fn copy(dir: &Dir, name: &OsStr, state: &Dir) -> Result<(), FileError> {
    let content = match read(dir, name) {
        // What is no file holds no key.
        Err(FileError {
            problem: FileProblem::Link | FileProblem::NotAFile(_) | FileProblem::NotFound,
            ..
        }) => return Ok(()),
        result => result?,
    };
    let folder = state.create_dir(OsStr::new(FOLDER))?;
    folder.make_private()?;
    // Without the dot that hides it.
    let shown = OsStr::new(name.to_str().map_or("staged", |name| name.trim_start_matches('.')));
    if read(&folder, shown).is_ok_and(|earlier| earlier == content) {
        return Ok(());
    }
    write(&folder, shown, content.expose())?;
    folder.sync()?;
    state.sync()
}

fn read(dir: &Dir, name: &OsStr) -> Result<Secret, FileError> {
    read_regular(dir.open(name)?, &dir.path().join(name), LARGEST_FILE).map(|content| content.bytes)
}

fn write(folder: &Dir, name: &OsStr, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = folder.create_new(name)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|e| {
        let _ = folder.remove(name);
        FileError::from_io(folder.path().join(name), "write", e)
    })
}
