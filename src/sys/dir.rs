//! An open directory. Operations in it can't be redirected by a renamed or replaced parent.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::UnlinkatFlags;

use super::{FileError, FileProblem};

/// The number of entries that [`Dir::names_matching`] reads.
const MAX_NAMES: usize = 65_536;

/// An open directory. Names given to its methods are single components, never paths.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

/// The identity of a directory or file, independent of its name: device and inode.
pub type Identity = (u64, u64);

impl Dir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd: Arc::new(fd), path }
    }

    pub(super) fn with_path(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The path of the directory, as seen from the root directory that is worked on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of the directory.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn identity(&self) -> Result<Identity, FileError> {
        self.examine().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// The metadata of the directory itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn examine(&self) -> Result<FileStat, FileError> {
        nix::sys::stat::fstat(&self.fd).map_err(|e| FileError::from_errno(&self.path, "examine", e))
    }

    /// Creates a file that must not exist yet, with mode 0600, and opens it for reading and
    /// writing.
    ///
    /// # Errors
    /// When it exists, or can't be created.
    pub fn create_new(&self, name: &OsStr) -> Result<File, FileError> {
        let flags =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.open_with(name, flags, "create")
    }

    /// Opens a file for reading and writing, created when it does not exist, never through a
    /// symlink.
    ///
    /// # Errors
    /// When it is a symlink or can't be opened.
    pub fn open_or_create(&self, name: &OsStr) -> Result<File, FileError> {
        let flags = OFlag::O_RDWR
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC
            | OFlag::O_NONBLOCK;
        self.open_with(name, flags, "open")
    }

    /// Opens a file for reading, never through a symlink.
    ///
    /// # Errors
    /// When it does not exist, is a symlink or can't be opened.
    pub fn open(&self, name: &OsStr) -> Result<File, FileError> {
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY;
        self.open_with(name, flags, "read")
    }

    fn open_with(
        &self,
        name: &OsStr,
        flags: OFlag,
        action: &'static str,
    ) -> Result<File, FileError> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        nix::fcntl::openat(&self.fd, name, flags, mode).map(File::from).map_err(|e| {
            match flags.contains(OFlag::O_RDWR) {
                true => self.change_error(name, action, e),
                false => self.error(name, action, e),
            }
        })
    }

    /// The metadata of an entry, not following a symlink. `None` when it is missing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stat(&self, name: &OsStr) -> Result<Option<FileStat>, FileError> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.error(name, "examine", e)),
        }
    }

    /// Whether another file system is mounted at this name. Only the kernel is asked, because a
    /// file system that a user mounted may never answer.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn is_mount(&self, name: &OsStr) -> Result<bool, FileError> {
        use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(&self.fd, name, flags, StatxFlags::empty()) {
            Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(e) => Err(FileError::from_io(self.path.join(name), "examine", e.into())),
        }
    }

    /// Checks that neither the directory nor a file in it has an attribute (chattr) by which even
    /// root can't replace the file.
    ///
    /// # Errors
    /// When one has, with the command that removes it.
    pub fn check_replaceable(&self, name: &OsStr) -> Result<(), FileError> {
        [OsStr::new("."), name].into_iter().find_map(|name| self.fixed(name)).map_or(Ok(()), Err)
    }

    fn fixed(&self, name: &OsStr) -> Option<FileError> {
        use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        // Where the system can't say, the operation itself is tried.
        let found = statx(&self.fd, name, flags, StatxFlags::empty()).ok()?.stx_attributes;
        let attributes = [
            (StatxAttributes::IMMUTABLE, "immutable", 'i'),
            (StatxAttributes::APPEND, "append-only", 'a'),
        ];
        let (_, words, letter) = attributes.into_iter().find(|one| found.contains(one.0))?;
        let path = if name == "." { self.path.clone() } else { self.path.join(name) };
        let remedy = format!("chattr -{letter} {}", path.display());
        Some(FileError { path, problem: FileProblem::Fixed { words, letter, remedy } })
    }

    /// The target of an entry, when it is a symlink.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn link_target(&self, name: &OsStr) -> Result<Option<PathBuf>, FileError> {
        let is_link = self.stat(name)?.is_some_and(|stat| kind(&stat) == SFlag::S_IFLNK);
        if is_link { self.read_link(name).map(|(_, target)| Some(target)) } else { Ok(None) }
    }

    /// The metadata and the target of a symlink, of the same one.
    pub(super) fn read_link(&self, name: &OsStr) -> Result<(FileStat, PathBuf), FileError> {
        let failed = |e| self.error(name, "follow", e);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = nix::fcntl::openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        let stat = nix::sys::stat::fstat(&link).map_err(failed)?;
        let target = nix::fcntl::readlinkat(&link, "").map_err(failed)?;
        Ok((stat, PathBuf::from(target)))
    }

    /// Creates a symlink that must not exist yet.
    ///
    /// # Errors
    /// When an entry of that name exists, or the system refuses.
    pub fn symlink(&self, target: &Path, name: &OsStr) -> Result<(), FileError> {
        nix::unistd::symlinkat(target, &self.fd, name)
            .map_err(|e| self.change_error(name, "create", e))
    }

    /// The names of all entries but `.` and `..`, sorted.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn names(&self) -> Result<Vec<OsString>, FileError> {
        self.list(usize::MAX, |_| true)
    }

    /// The names of the wanted entries, sorted, among the first [`MAX_NAMES`] that the system
    /// gives: the owner of the directory can have created any number of them.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn names_matching(
        &self,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<OsString>, FileError> {
        self.list(MAX_NAMES, wanted)
    }

    fn list(
        &self,
        most: usize,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<OsString>, FileError> {
        use std::os::unix::ffi::OsStrExt;
        let failed = |e| FileError::from_errno(&self.path, "list", e);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing =
            nix::dir::Dir::openat(&self.fd, ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in listing.iter().take(most) {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && wanted(name) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Renames an entry of this directory, and replaces the one that has the new name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), FileError> {
        nix::fcntl::renameat(&self.fd, from, &self.fd, to)
            .map_err(|e| self.change_error(to, "replace", e))
    }

    /// Removes a file. A missing one is fine.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, name: &OsStr) -> Result<(), FileError> {
        self.unlink(name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory. A missing one is fine.
    ///
    /// # Errors
    /// When it is not empty, or the system refuses.
    pub fn remove_dir(&self, name: &OsStr) -> Result<(), FileError> {
        self.unlink(name, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, name: &OsStr, what: UnlinkatFlags) -> Result<(), FileError> {
        match nix::unistd::unlinkat(&self.fd, name, what) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.change_error(name, "remove", e)),
        }
    }

    /// Opens a directory in this one, after creating it with mode 0700 where it is missing. The new
    /// name is durable only after [`Self::sync`].
    ///
    /// # Errors
    /// When it is not a directory, or can't be opened or created.
    pub fn create_dir(&self, name: &OsStr) -> Result<Self, FileError> {
        self.make_dir(name, Mode::S_IRWXU)?;
        self.open_dir(name)
    }

    /// Creates a directory where it is missing.
    pub(super) fn make_dir(&self, name: &OsStr, mode: Mode) -> Result<(), FileError> {
        match nix::sys::stat::mkdirat(&self.fd, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(self.change_error(name, "create", e)),
        }
    }

    /// Creates a directory with mode 0755, whatever the umask is. An existing one stays as it is.
    pub(super) fn make_readable_dir(&self, name: &OsStr) -> Result<(), FileError> {
        match nix::sys::stat::mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(()),
            Err(e) => return Err(self.change_error(name, "create", e)),
        }
        let made = self.open_dir(name)?;
        nix::sys::stat::fchmod(&made.fd, Mode::from_bits_truncate(0o755))
            .map_err(|e| FileError::from_errno(&made.path, "set the mode of", e))
    }

    /// Sets the mode to 0700, where it is another one: a directory that existed before may be
    /// readable by all.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_private(&self) -> Result<(), FileError> {
        let failed = |e| FileError::from_errno(&self.path, "set the mode of", e);
        let stat = nix::sys::stat::fstat(&self.fd).map_err(failed)?;
        if stat.st_mode & 0o7777 == 0o700 {
            Ok(())
        } else {
            nix::sys::stat::fchmod(&self.fd, Mode::S_IRWXU).map_err(failed)
        }
    }

    /// Opens a directory in this one, never through a symlink.
    ///
    /// # Errors
    /// When it does not exist, is not a directory, or can't be opened.
    pub fn open_dir(&self, name: &OsStr) -> Result<Self, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|e| self.error(name, "open", e))?;
        Ok(Self::new(fd, self.path.join(name)))
    }

    /// Makes the names of the entries durable: after it, a power cut can't undo a rename in this
    /// directory.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&self) -> Result<(), FileError> {
        nix::unistd::fsync(self.fd.as_fd())
            .map_err(|e| FileError::from_errno(&self.path, "sync", e))
    }

    /// Says that an entry is a symlink, where the system only gives ELOOP or ENOTDIR.
    pub(super) fn error(&self, name: &OsStr, action: &'static str, errno: Errno) -> FileError {
        let is_link = || matches!(self.stat(name), Ok(Some(stat)) if kind(&stat) == SFlag::S_IFLNK);
        if matches!(errno, Errno::ELOOP) || (errno == Errno::ENOTDIR && is_link()) {
            return FileError { path: self.path.join(name), problem: FileProblem::Link };
        }
        FileError::from_errno(self.path.join(name), action, errno)
    }

    /// Does the same for an operation that changes something: an attribute may be the reason, which
    /// never prevents reading.
    fn change_error(&self, name: &OsStr, action: &'static str, errno: Errno) -> FileError {
        match (errno, self.check_replaceable(name)) {
            (Errno::EPERM | Errno::EACCES, Err(fixed)) => fixed,
            _ => self.error(name, action, errno),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The type bits of a file's mode.
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::common::requirements::{ROOT, require, skip};

    /// A user who may not read a file, or a policy that forbids it, has nothing to do with its
    /// attributes.
    #[test]
    fn attribute_is_the_reason_only_for_changes() {
        require!(ROOT, "chattr");
        let disk = tempfile::tempdir().unwrap();
        let file = disk.path().join("a");
        std::fs::write(&file, "").unwrap();
        let chattr = |change| Command::new("chattr").arg(change).arg(&file).status();
        if !chattr("+i").unwrap().success() {
            return skip(
                "needs a file system with the immutable attribute, and the right to set it",
            );
        }
        let dir = Dir::new(File::open(disk.path()).unwrap().into(), "/x".into());
        let name = OsStr::new("a");
        let read = dir.error(name, "read", Errno::EACCES).to_string();
        let open = dir.open_or_create(name).unwrap_err().to_string();
        assert!(chattr("-i").unwrap().success());
        assert_eq!(read, "/x/a: cannot read: Permission denied (os error 13)");
        assert!(open.starts_with("/x/a: is immutable (chattr +i)"), "{open}");
    }
}
