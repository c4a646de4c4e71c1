//! Errors of files, each with the path of the file.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// The reason why a file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file, as seen from the root directory that is worked on.
    pub path: PathBuf,
    /// The reason.
    pub problem: FileProblem,
}

/// The problem of a file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It does not exist.
    #[error("does not exist")]
    NotFound,
    /// It is a symlink whose target does not exist.
    #[error("is a symlink to {}, which does not exist", .0.display())]
    DanglingLink(PathBuf),
    /// Symlinks lead in a circle.
    #[error("is a symlink that leads in a circle")]
    LinkLoop,
    /// It is a symlink, where none is followed.
    #[error(
        "is a symlink, which is not followed here; remove it, or put the file or directory itself \
         in its place"
    )]
    Link,
    /// A file system is mounted in a directory that other users own or can write; it may be theirs
    /// and never answer.
    #[error("is a mount in a directory that other users own or can write, which is not entered")]
    Mount,
    /// It is a symlink of another user, or in a directory that others own or can write.
    #[error(
        "is a symlink that others than root may have set, which is not followed; put the file or \
         directory itself in its place"
    )]
    LinkOfOthers,
    /// The path is too deep.
    #[error("is below too many directories")]
    TooDeep,
    /// The file has further names, so that it may be another user's file.
    #[error("has {0} names (hard links), so that it may be another user's file; remove this one")]
    ManyNames(u64),
    /// Others than root can have written or replaced it.
    #[error(
        "{how}, so others than root may have changed it: it is not used; check its content, then \
         {remedy}"
    )]
    NotTrusted {
        /// Its owner, or its mode.
        how: String,
        /// The command that makes root its only writer.
        remedy: String,
    },
    /// It has an attribute by which even root can't replace it.
    #[error("is {words} (chattr +{letter}), so it can't be replaced; to allow it: {remedy}")]
    Fixed {
        /// What the attribute makes it.
        words: &'static str,
        /// The letter of the attribute.
        letter: char,
        /// The command that removes the attribute.
        remedy: String,
    },
    /// It is not a regular file.
    #[error("is {0}, not a file")]
    NotAFile(&'static str),
    /// The file is larger than anything of its kind can be.
    #[error("is larger than {limit} bytes, which no file of this kind is")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The unit of the daemon does not open the directory to it, or the directory was replaced
    /// since the daemon was started.
    #[error(
        "cannot {action}: {source}; the unit's sandbox may be the reason: it opens only some \
         directories to the daemon, as they were when it started. `kubecertd config check` prints \
         the drop-in that is missing, if one is; else systemctl restart kubecertd"
    )]
    Confined {
        /// The operation, as a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl FileError {
    /// Makes an error from the error number of a system call.
    pub(crate) fn from_errno(path: impl Into<PathBuf>, action: &'static str, errno: Errno) -> Self {
        Self::from_io(path, action, errno.into())
    }

    /// Makes an error from one of the standard library.
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

    /// The error number of a system call that failed for the same reason.
    pub(super) fn errno(&self) -> Errno {
        match &self.problem {
            FileProblem::NotFound | FileProblem::DanglingLink(_) => Errno::ENOENT,
            FileProblem::LinkLoop | FileProblem::Link | FileProblem::LinkOfOthers => Errno::ELOOP,
            FileProblem::Confined { source, .. } | FileProblem::Io { source, .. } => {
                source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
            }
            _ => Errno::EACCES,
        }
    }

    /// Whether the file does not exist.
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

/// Whether this process sees other mounts than pid 1 does, as does a unit for which directories are
/// read-only.
#[allow(
    clippy::disallowed_methods,
    reason = "it is about this process, not the root directory that is worked on"
)]
fn is_confined() -> bool {
    let mounts = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    mounts("self").zip(mounts("1")).is_some_and(|(own, others)| own != others)
}
