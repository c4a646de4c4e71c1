//! One folder, held by a descriptor: what is done in it can't be led elsewhere by a renamed or
//! replaced parent.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::UnlinkatFlags;

use super::{FileError, FileProblem};

/// As many entries of a folder in somebody's hands are looked at.
const MOST_NAMES: usize = 65_536;

/// An open folder. Names given to its methods are single components, never paths.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// Which folder or file it is, whatever its name: device and inode.
pub type Identity = (u64, u64);

impl Dir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// The folder's path, as seen from the root folder that is worked on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which folder it is.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn identity(&self) -> Result<Identity, FileError> {
        self.examine().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// What the system says of the folder itself.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn examine(&self) -> Result<FileStat, FileError> {
        nix::sys::stat::fstat(&self.fd).map_err(|e| FileError::from_errno(&self.path, "examine", e))
    }

    /// Creates a file that must not exist yet, readable by its owner alone, and opens it for
    /// reading and writing.
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
        nix::fcntl::openat(&self.fd, name, flags, mode)
            .map(File::from)
            .map_err(|e| self.error(name, action, e))
    }

    /// What the system says of an entry, not following a symlink. `None` when nothing is there.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn stat(&self, name: &OsStr) -> Result<Option<FileStat>, FileError> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.error(name, "examine", e)),
        }
    }

    /// Whether something is mounted at this name. Nobody is asked for it but the kernel: a file
    /// system of a user's own may never answer.
    ///
    /// # Errors
    /// When the system can't say.
    pub(super) fn is_mount(&self, name: &OsStr) -> Result<bool, FileError> {
        use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(&self.fd, name, flags, StatxFlags::empty()) {
            Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(e) => Err(FileError::from_io(self.path.join(name), "examine", e.into())),
        }
    }

    /// Where an entry points to, when it is a symlink.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn link_target(&self, name: &OsStr) -> Result<Option<PathBuf>, FileError> {
        let is_link = self.stat(name)?.is_some_and(|stat| kind(&stat) == SFlag::S_IFLNK);
        if !is_link {
            return Ok(None);
        }
        nix::fcntl::readlinkat(&self.fd, name)
            .map(|target| Some(target.into()))
            .map_err(|e| self.error(name, "follow", e))
    }

    /// Makes a symlink that must not exist yet.
    ///
    /// # Errors
    /// When something of that name is there, or it can't be made.
    pub fn symlink(&self, target: &Path, name: &OsStr) -> Result<(), FileError> {
        nix::unistd::symlinkat(target, &self.fd, name).map_err(|e| self.error(name, "create", e))
    }

    /// The names of all entries but `.` and `..`, sorted.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn names(&self) -> Result<Vec<OsString>, FileError> {
        self.list(usize::MAX, |_| true)
    }

    /// The names of those entries that are wanted, sorted, among the first [`MOST_NAMES`] that the
    /// system gives: whoever the folder belongs to can have made any number of them.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn names_that(&self, wanted: impl Fn(&OsStr) -> bool) -> Result<Vec<OsString>, FileError> {
        self.list(MOST_NAMES, wanted)
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

    /// Renames an entry of this folder, over whatever has the new name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), FileError> {
        nix::fcntl::renameat(&self.fd, from, &self.fd, to).map_err(|e| self.error(to, "replace", e))
    }

    /// Removes a file. Nothing there is fine.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, name: &OsStr) -> Result<(), FileError> {
        self.unlink(name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty folder. Nothing there is fine.
    ///
    /// # Errors
    /// When it is not empty, or the system refuses.
    pub fn remove_folder(&self, name: &OsStr) -> Result<(), FileError> {
        self.unlink(name, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, name: &OsStr, what: UnlinkatFlags) -> Result<(), FileError> {
        match nix::unistd::unlinkat(&self.fd, name, what) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.error(name, "remove", e)),
        }
    }

    /// Opens a folder in this one, making it first, for its owner alone, where it is missing. The
    /// new name is durable only after [`Self::sync`].
    ///
    /// # Errors
    /// When it is not a folder, or can't be opened or created.
    pub fn create_folder(&self, name: &OsStr) -> Result<Self, FileError> {
        self.make_folder(name, Mode::S_IRWXU)?;
        self.folder(name)
    }

    /// Makes a folder where it is missing.
    pub(super) fn make_folder(&self, name: &OsStr, mode: Mode) -> Result<(), FileError> {
        match nix::sys::stat::mkdirat(&self.fd, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(self.error(name, "create", e)),
        }
    }

    /// Makes it its owner's alone, where it is not: a folder that was there before may be anybody's
    /// to read.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn close_to_others(&self) -> Result<(), FileError> {
        let failed = |e| FileError::from_errno(&self.path, "set the mode of", e);
        let stat = nix::sys::stat::fstat(&self.fd).map_err(failed)?;
        if stat.st_mode & 0o7777 == 0o700 {
            Ok(())
        } else {
            nix::sys::stat::fchmod(&self.fd, Mode::S_IRWXU).map_err(failed)
        }
    }

    /// Opens a folder in this one, never through a symlink.
    ///
    /// # Errors
    /// When it does not exist, is not a folder, or can't be opened.
    pub fn folder(&self, name: &OsStr) -> Result<Self, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|e| self.error(name, "open", e))?;
        Ok(Self::new(fd, self.path.join(name)))
    }

    /// Makes the entries' names durable: after it, a power cut can't undo a rename in this folder.
    ///
    /// # Errors
    /// When the system reports that it could not.
    pub fn sync(&self) -> Result<(), FileError> {
        nix::unistd::fsync(self.fd.as_fd())
            .map_err(|e| FileError::from_errno(&self.path, "sync", e))
    }

    /// What the system says of a symlink that was not to be followed is not what an operator
    /// understands.
    pub(super) fn error(&self, name: &OsStr, action: &'static str, errno: Errno) -> FileError {
        let is_link = || matches!(self.stat(name), Ok(Some(stat)) if kind(&stat) == SFlag::S_IFLNK);
        if matches!(errno, Errno::ELOOP) || (errno == Errno::ENOTDIR && is_link()) {
            return FileError { path: self.path.join(name), problem: FileProblem::Link };
        }
        FileError::from_errno(self.path.join(name), action, errno)
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
