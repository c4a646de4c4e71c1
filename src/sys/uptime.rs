//! The time since the system was booted.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{FileContent, FileError, Root};
use crate::model::{AbsolutePath, BootId, Uptime};

/// The current time of the boot-time (monotonic) clock, with the identity of the boot.
///
/// # Errors
/// When the system refuses.
pub fn uptime(root: &Root) -> Result<Uptime, FileError> {
    let path = AbsolutePath::constant("/proc/sys/kernel/random/boot_id");
    let content = match read_as_pid_1(root, &path) {
        Some(content) => content,
        None => root.read(&path, 64)?,
    };
    let boot = BootId(String::from_utf8_lossy(content.bytes.expose()).trim().to_owned());
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|e| FileError::from_errno("/proc/uptime", "know", e))?;
    Ok(Uptime { boot, since_boot: Duration::from(now) })
}

/// Reads the file as pid 1 sees it. Where the whole system is a container, a mount over this file
/// gives it a boot identity of its own. A unit with its own /proc does not have that mount, and
/// would record another identity than all other processes see.
fn read_as_pid_1(root: &Root, path: &AbsolutePath) -> Option<FileContent> {
    let first = root.is_host().then(|| Root::open(Path::new("/proc/1/root")).ok())??;
    first.read(path, 64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_only_increases() {
        let host = Root::open(Path::new("/")).unwrap();
        let (first, second) = (uptime(&host).unwrap(), uptime(&host).unwrap());
        assert_eq!(first.boot, second.boot);
        assert_eq!(first.boot.0.len(), 36, "{first:?}");
        assert!(first.is_before(&second), "{first:?} {second:?}");
    }
}
