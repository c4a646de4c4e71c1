//! Files in the directories of targets: the names of staged files, and how files are read back.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::StoreError;
use crate::model::{AbsolutePath, Digest, Secret};
use crate::sys::{Dir, FileError, Place, Root, read_regular};

/// The size limit of a certificate, key or kubeconfig in bytes; a larger file is not read.
pub const LARGEST_FILE: u64 = 1 << 20;

/// The directory of backups in the state directory.
pub(crate) const BACKUPS: &str = "backups";

/// The end of every staged file's name is this mark and a random suffix.
pub(super) const STAGED_MARK: &str = ".kubecertd-";

/// The length of the random suffix.
pub(super) const SUFFIX_LENGTH: usize = 8;

/// The start of a staged file's name: hidden, so that no component reads the file, and with the
/// target's name, so that recovery finds it.
pub(super) fn staged_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(STAGED_MARK);
    prefix
}

/// Reads an open file from its start.
pub(super) fn read_all(file: &mut File, path: &Path) -> Result<Secret, StoreError> {
    let failed = |e| FileError::from_io(path, "read back", e);
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(size.min(LARGEST_FILE)).unwrap_or(0) + 1,
    ));
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Read::by_ref(file).take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Secret::new(std::mem::take(&mut *bytes)))
}

pub(super) fn random_suffix() -> String {
    let mut bytes = [0; SUFFIX_LENGTH / 2];
    // The suffix only avoids name collisions: create_new refuses a name that exists, so a failing
    // generator does no harm.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("{:08x}", u32::from_ne_bytes(bytes))
}

pub(super) fn digest(dir: &Dir, name: &OsStr) -> Result<Option<Digest>, FileError> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    read_regular(file, &dir.path().join(name), LARGEST_FILE)
        .map(|content| Some(Digest::of(content.bytes.expose())))
}

/// The place of the path itself, where it is a symlink too.
pub(super) fn unresolved_place(root: &Root, target: &AbsolutePath) -> Option<Place> {
    let (parent, name) = (target.as_path().parent()?, target.as_path().file_name()?);
    Some(Place { dir: root.open_dir(parent).ok()?, name: name.to_owned() })
}
