//! Whom a file belongs to. Configuration, journal and state direct what root does, so they are used
//! only if no user but root can have written them: the file and every directory on the way to it.

use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, SFlag};

use super::dir::kind;
use super::{Dir, FileError, FileProblem};

/// The mode bits that let group and others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The mode bit of a directory such as `/tmp`, whose entries only their owners can remove.
const STICKY: u32 = 0o1000;

/// The owners that a walk accepts for directories and symlinks on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Only root can have changed them; every other one is refused.
    RootOnly,
    /// Others may own them. From the first such directory on no symlink is followed and no mount
    /// entered, and a symlink of another user nowhere.
    NoSymlinks,
    /// Any owner is accepted.
    Any,
}

/// Checks that only root, or the user of this process, can have written a file.
///
/// # Errors
/// When others can: the owner or the mode, and the command that repairs it.
pub(crate) fn check_root_only(stat: &FileStat, path: &Path) -> Result<(), FileError> {
    let untrusted = |how: String, remedy: &str| {
        let remedy = format!("{remedy} {}", path.display());
        Err(FileError { path: path.to_owned(), problem: FileProblem::NotTrusted { how, remedy } })
    };
    if !is_ours(stat) {
        return untrusted(format!("belongs to user {}", stat.st_uid), "chown root:root");
    }
    let is_link = kind(stat) == SFlag::S_IFLNK;
    let is_sticky_dir = kind(stat) == SFlag::S_IFDIR && stat.st_mode & STICKY != 0;
    if stat.st_mode & WRITABLE_BY_OTHERS != 0 && !is_link && !is_sticky_dir {
        return untrusted(format!("has mode {:04o}", stat.st_mode & 0o7777), "chmod go-w");
    }
    Ok(())
}

/// A file or directory that others than root own or can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritableByOthers {
    /// Its path.
    pub path: PathBuf,
    /// The owner or the mode: `belongs to user 1234`.
    pub how: String,
}

impl WritableByOthers {
    /// Judges a file or a directory; a symlink can't be written. A sticky directory is among them:
    /// others can add entries to it.
    pub(super) fn find(stat: &FileStat, path: &Path) -> Option<Self> {
        let how = if !is_ours(stat) {
            format!("belongs to user {}", stat.st_uid)
        } else if stat.st_mode & WRITABLE_BY_OTHERS != 0 {
            format!("has mode {:04o}", stat.st_mode & 0o7777)
        } else {
            return None;
        };
        Some(Self { path: path.to_owned(), how })
    }
}

impl std::fmt::Display for WritableByOthers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path.display(), self.how)
    }
}

/// Whether the owner is root or the user of this process.
pub(super) fn is_ours(stat: &FileStat) -> bool {
    stat.st_uid == 0 || stat.st_uid == nix::unistd::geteuid().as_raw()
}

/// Whether others than root can add entries to a directory, a sticky one included.
pub(crate) fn is_dir_writable_by_others(dir: &Dir) -> Result<bool, FileError> {
    Ok(WritableByOthers::find(&dir.examine()?, dir.path()).is_some())
}
