//! What can go wrong with a file, in words that name it.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// A file that could not be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file, as seen from the root folder that is worked on.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: FileProblem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Nothing is there.
    #[error("does not exist")]
    NotFound,
    /// A symlink is there, but nothing where it points to.
    #[error("is a symlink to {}, which does not exist", .0.display())]
    DanglingLink(PathBuf),
    /// Symlinks lead in a circle.
    #[error("is a symlink that leads in a circle")]
    LinkLoop,
    /// A symlink is there, where none is followed.
    #[error(
        "is a symlink, which is not followed here; remove it, or put the thing itself in its place"
    )]
    Link,
    /// Something is mounted in a folder that others have in their hands: who answers there is
    /// anybody's guess.
    #[error("is a mount in a folder of somebody else, which is not entered")]
    Mount,
    /// Somebody else than us made the symlink, and it leads to a file that is not his.
    #[error(
        "is a symlink that belongs to user {0} and leads to a file that does not: nothing is \
         replaced through it"
    )]
    ForeignLink(u32),
    /// The file has another name besides, so that it may be somebody else's too.
    #[error("has {0} names (hard links), so that it may be somebody else's file; remove this one")]
    ManyNames(u64),
    /// Others than root can have written it, or put something else in its place.
    #[error(
        "{how}, so that others than root can have changed it: it is not used; see that all is \
         right there, then {remedy}"
    )]
    NotTrusted {
        /// Whose it is, or its mode.
        how: String,
        /// The command that gives it to root alone.
        remedy: String,
    },
    /// Something else than a regular file is there.
    #[error("is {0}, not a file")]
    NotAFile(&'static str),
    /// The file is larger than anything of its kind can be.
    #[error("is larger than {limit} bytes, which no file of this kind is")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The unit of the daemon does not open the folder to it, or something else was put in the
    /// folder's place since it was started.
    #[error(
        "cannot {action}: {source}; the host may see that otherwise: the unit opens only some \
         folders to the daemon, as they were when it started. `kubecertd config check` prints the \
         drop-in that is missing, if one is; else systemctl restart kubecertd"
    )]
    Confined {
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl FileError {
    /// From an error number of a system call.
    pub(crate) fn from_errno(path: impl Into<PathBuf>, action: &'static str, errno: Errno) -> Self {
        Self::from_io(path, action, errno.into())
    }

    /// From an error of the standard library.
    pub(crate) fn from_io(
        path: impl Into<PathBuf>,
        action: &'static str,
        source: io::Error,
    ) -> Self {
        let problem = match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => FileProblem::NotFound,
            Some(Errno::ELOOP) => FileProblem::LinkLoop,
            Some(Errno::EROFS) if is_confined() => FileProblem::Confined { action, source },
            _ => FileProblem::Io { action, source },
        };
        Self { path: path.into(), problem }
    }

    /// Whether others than root can have changed it.
    #[must_use]
    pub fn is_not_trusted(&self) -> bool {
        matches!(self.problem, FileProblem::NotTrusted { .. })
    }

    /// What the system would have said.
    pub(super) fn errno(&self) -> Errno {
        match &self.problem {
            FileProblem::NotFound | FileProblem::DanglingLink(_) => Errno::ENOENT,
            FileProblem::LinkLoop | FileProblem::Link => Errno::ELOOP,
            FileProblem::Confined { source, .. } | FileProblem::Io { source, .. } => {
                source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
            }
            _ => Errno::EACCES,
        }
    }

    /// Whether nothing is there at all.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.problem, FileProblem::NotFound)
    }

    /// Whether the file system is full, or a quota is.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        let FileProblem::Io { source, .. } = &self.problem else { return false };
        matches!(source.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT))
    }
}

/// Whether this process sees other mounts than pid 1 does, as a unit's does for which folders are
/// read-only.
#[allow(
    clippy::disallowed_methods,
    reason = "it is about this process, whatever root folder is worked on"
)]
fn is_confined() -> bool {
    let mounts = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    mounts("self").zip(mounts("1")).is_some_and(|(own, others)| own != others)
}
