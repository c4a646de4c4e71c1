//! The quarantine: a journal that is not followed, and the staged files that it may have named.
//! They are kept for an operator, because one of them may be the only copy of a key.
//!
//! In a directory that others can write, any number of files can have the name of a staged one.
//! Of these, only files that the journal names are copied, up to a limit; the others stay beside
//! their targets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::files::{STAGED_MARK, SUFFIX_LENGTH};
use super::{LARGEST_FILE, StoreError};
use crate::model::Secret;
use crate::sys::{Dir, FileError, is_dir_writable_by_others, read_regular};

/// The directory of quarantined staged files in the state directory.
const DIR: &str = "set-aside";

/// The name of a copy that is being written in it.
const INCOMPLETE: &str = ".half";

/// The start of the name of a staged file that stays beside its target. Recovery does not remove
/// files of that name.
const KEPT_PREFIX: &str = ".kept-by-kubecertd";

/// The number of files that are copied from directories that others can write.
const MAX_FILES_OF_OTHERS: usize = 64;

/// The total size in bytes of the files that are copied from directories that others can write.
const MAX_BYTES_OF_OTHERS: usize = 16 << 20;

/// The staged files that are quarantined by one recovery.
pub(super) struct Quarantine<'s> {
    state: &'s Dir,
    journal: NamedFiles<'s>,
    copied: usize,
    files_left: usize,
    bytes_left: usize,
    /// The directories of the files that are not copied, and their number.
    beside: BTreeMap<PathBuf, (Rc<Dir>, usize)>,
}

impl<'s> Quarantine<'s> {
    /// `journal` is the content of the journal that is not followed.
    pub(super) fn new(state: &'s Dir, journal: &'s [u8]) -> Self {
        Self {
            state,
            journal: NamedFiles::new(journal),
            copied: 0,
            files_left: MAX_FILES_OF_OTHERS,
            bytes_left: MAX_BYTES_OF_OTHERS,
            beside: BTreeMap::new(),
        }
    }

    /// Saves a staged file, if it may hold a key: copies it to the quarantine directory, durably,
    /// or else renames it beside its target to a name that recovery does not remove. Returns
    /// whether it may be removed.
    ///
    /// # Errors
    /// When neither succeeds, in a directory that only root can write. Elsewhere the file is left
    /// as it is: its owner can prevent both.
    pub(super) fn save(&mut self, dir: &Rc<Dir>, name: &OsStr) -> Result<bool, StoreError> {
        if !may_hold_key(dir, name) {
            return Ok(true);
        }
        let others = is_dir_writable_by_others(dir).unwrap_or(true);
        if (!others || self.journal.has(name)) && self.copy(dir, name, others).is_some() {
            self.copied += 1;
            return Ok(true);
        }
        match keep_beside(dir, name) {
            Ok(()) => {
                let path = dir.path().to_owned();
                self.beside.entry(path).or_insert_with(|| (Rc::clone(dir), 0)).1 += 1;
            }
            Err(_) if others => {}
            Err(e) => return Err(e.into()),
        }
        Ok(false)
    }

    /// Makes the new names beside the targets durable, and returns the notes for an operator.
    pub(super) fn finish(self) -> Result<Vec<String>, StoreError> {
        let mut notes = Vec::new();
        if self.copied > 0 {
            notes.push(format!(
                "{} staged files that the journal may have been about are kept in {}: they may \
                 hold a key; remove them when everything works",
                self.copied,
                self.state.path().join(DIR).display()
            ));
        }
        for (path, (dir, count)) in self.beside {
            match dir.sync() {
                Err(e) if !is_dir_writable_by_others(&dir).unwrap_or(true) => return Err(e.into()),
                _ => {}
            }
            notes.push(format!(
                "{count} staged files that the journal may have been about stay in {}, as \
                 {KEPT_PREFIX}...: they may hold a key; remove them when everything works",
                path.display()
            ));
        }
        Ok(notes)
    }

    /// Copies a file to the quarantine directory. `None` where it can't be copied, or is beyond the
    /// limit.
    fn copy(&mut self, dir: &Dir, name: &OsStr, others: bool) -> Option<()> {
        let content = read(dir, name).ok()?;
        if others {
            self.files_left = self.files_left.checked_sub(1)?;
            self.bytes_left = self.bytes_left.checked_sub(content.expose().len())?;
        }
        write_copy(self.state, name, &content).ok()
    }
}

/// The staged files whose names occur in a journal, whatever its format and however damaged it is.
struct NamedFiles<'j> {
    journal: &'j [u8],
    /// The end of the name with each random suffix.
    ends: BTreeMap<&'j [u8], usize>,
}

impl<'j> NamedFiles<'j> {
    fn new(journal: &'j [u8]) -> Self {
        let mark = STAGED_MARK.as_bytes();
        let suffix = |start: usize| {
            let (from, end) = (start + mark.len(), start + mark.len() + SUFFIX_LENGTH);
            Some((journal.get(from..end)?, end))
        };
        let windows = journal.windows(mark.len()).enumerate();
        let ends = windows
            .filter(|(_, window)| *window == mark)
            .filter_map(|(start, _)| suffix(start))
            .collect();
        Self { journal, ends }
    }

    fn has(&self, name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        let suffix = name.len().checked_sub(SUFFIX_LENGTH).and_then(|start| name.get(start..));
        let end = suffix.and_then(|suffix| self.ends.get(suffix));
        let before = end.and_then(|end| self.journal.get(..*end));
        before.is_some_and(|before| before.ends_with(name))
    }
}

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

/// Whether an entry can hold a key: only a regular file can. So may one that can't be examined.
fn may_hold_key(dir: &Dir, name: &OsStr) -> bool {
    let is_regular = |stat: FileStat| {
        SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
    };
    dir.stat(name).map_or(true, |stat| stat.is_some_and(is_regular))
}

/// Renames a staged file beside its target to a name that recovery does not remove. Replaces no
/// other file.
fn keep_beside(dir: &Dir, name: &OsStr) -> Result<(), FileError> {
    let mut kept = OsString::from(KEPT_PREFIX);
    kept.push(name);
    match dir.stat(&kept)? {
        None => dir.rename(name, &kept),
        Some(_) => Err(FileError::from_errno(dir.path().join(kept), "create", Errno::EEXIST)),
    }
}

/// Copies a file to the quarantine directory under its name without the leading dot, so that it is
/// not hidden. Replaces no other file.
fn write_copy(state: &Dir, name: &OsStr, content: &Secret) -> Result<(), FileError> {
    let dir = state.create_dir(OsStr::new(DIR))?;
    dir.make_private()?;
    let shown = OsStr::new(name.to_str().map_or("staged", |name| name.trim_start_matches('.')));
    match read(&dir, shown) {
        Ok(earlier) if earlier == *content => {}
        Err(e) if e.is_not_found() => {
            let incomplete = OsStr::new(INCOMPLETE);
            dir.remove(incomplete)?;
            write(&dir, incomplete, content.expose())?;
            dir.rename(incomplete, shown)?;
        }
        Ok(_) => {
            return Err(FileError::from_errno(dir.path().join(shown), "create", Errno::EEXIST));
        }
        Err(e) => return Err(e),
    }
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
