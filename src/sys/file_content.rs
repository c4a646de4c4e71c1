//! The content of a regular file, read to its end from a descriptor.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::sys::stat::{FileStat, SFlag};
use zeroize::Zeroizing;

use super::dir::kind;
use super::{FileError, FileProblem};
use crate::model::Secret;

/// A file's content and its metadata.
#[derive(Debug)]
pub struct FileContent {
    /// All its bytes. Any file may hold a key, so all are treated as if they did.
    pub bytes: Secret,
    /// Size, owner, mode and times, taken from the descriptor that was read.
    pub stat: FileStat,
}

/// Reads an open file to its end, if it is a regular one and not larger than `limit`.
pub(crate) fn read_regular(
    mut file: File,
    path: &Path,
    limit: u64,
) -> Result<FileContent, FileError> {
    let problem = |problem| FileError { path: path.to_owned(), problem };
    let stat =
        nix::sys::stat::fstat(&file).map_err(|e| FileError::from_errno(path, "examine", e))?;
    if let Some(other) = not_a_file(&stat) {
        return Err(problem(FileProblem::NotAFile(other)));
    }
    // One allocation of the right size: growing would leave copies of keys behind. The limit also
    // holds for a file that grows while it is read.
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(problem(FileProblem::TooLarge { limit }));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.by_ref()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| FileError::from_io(path, "read", e))?;
    if bytes.len() as u64 > limit {
        return Err(problem(FileProblem::TooLarge { limit }));
    }
    Ok(FileContent { bytes: Secret::new(std::mem::take(&mut *bytes)), stat })
}

fn not_a_file(stat: &FileStat) -> Option<&'static str> {
    match kind(stat) {
        SFlag::S_IFREG => None,
        SFlag::S_IFDIR => Some("a directory"),
        SFlag::S_IFIFO => Some("a pipe"),
        SFlag::S_IFSOCK => Some("a socket"),
        _ => Some("a device"),
    }
}
