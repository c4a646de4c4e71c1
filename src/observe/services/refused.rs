//! Explains why another process could not be examined, with the capability that it needs.

use std::io;

use crate::drivers::processes::ProcessError;
use crate::sys::{FileError, FileProblem};

pub(super) fn explain(error: &ProcessError) -> String {
    match error {
        ProcessError::File(FileError { problem: FileProblem::Io { source, .. }, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            format!("{error}; looking into another process needs CAP_SYS_PTRACE")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn missing_capability_is_named() {
        let refused = |errno: Errno| {
            ProcessError::File(FileError::from_io(
                "/proc/1/root",
                "open",
                io::Error::from_raw_os_error(errno as i32),
            ))
        };
        assert!(
            explain(&refused(Errno::EACCES))
                .ends_with("; looking into another process needs CAP_SYS_PTRACE")
        );
        assert!(!explain(&refused(Errno::EIO)).contains("CAP_SYS_PTRACE"));
        assert_eq!(explain(&ProcessError::Ended(7)), "process 7 has exited");
    }
}
