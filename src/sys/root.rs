//! The root directory that is worked on: `/`, or a mounted disk, or a test's directory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode};

use super::kept::KeptDirs;
use super::{Dir, FileError};

/// The root directory, held by a descriptor.
#[derive(Debug)]
pub struct Root {
    pub(super) fd: Arc<OwnedFd>,
    shown: PathBuf,
    /// The directories below it that are kept open, in [`Self::keeping_dirs`].
    pub(super) kept: Option<Arc<KeptDirs>>,
}

impl Root {
    /// Opens a directory as the root.
    ///
    /// # Errors
    /// When it is not a directory or can't be opened.
    pub fn open(dir: &Path) -> Result<Self, FileError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(dir, flags, Mode::empty())
            .map_err(|e| FileError::from_errno(dir, "open", e))?;
        Ok(Self { fd: Arc::new(fd), shown: dir.to_owned(), kept: None })
    }

    /// Opens the same root directory once more.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reopen(&self) -> Result<Self, FileError> {
        Self::open(&self.shown)
    }

    /// The same root directory for one observation: directories that only root can change are
    /// opened and examined once, and kept until it is dropped.
    #[must_use]
    pub fn keeping_dirs(&self) -> Self {
        let kept = Arc::new(KeptDirs::new(self.top().ok()));
        Self { fd: Arc::clone(&self.fd), shown: self.shown.clone(), kept: Some(kept) }
    }

    /// The path of the root directory, as the operator named it.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Whether this is the root directory of the running system.
    #[must_use]
    pub fn is_host(&self) -> bool {
        let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
        match (nix::sys::stat::fstat(&self.fd), nix::sys::stat::stat("/")) {
            (Ok(root), Ok(host)) => identity(root) == identity(host),
            _ => false,
        }
    }

    /// Opens the root directory itself.
    pub(super) fn top(&self) -> Result<Dir, FileError> {
        if let Some(top) = self.kept.as_ref().and_then(|kept| kept.top()) {
            return Ok(top);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|e| FileError::from_errno("/", "open", e))?;
        Ok(Dir::new(fd, PathBuf::from("/")))
    }
}
