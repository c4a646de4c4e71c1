//! How long the machine has been running.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{FileContent, FileError, Root};
use crate::model::{AbsolutePath, BootId, Uptime};

/// The present moment by the clock that no step moves, with the machine's present start.
///
/// # Errors
/// When the system does not say.
pub fn uptime(root: &Root) -> Result<Uptime, FileError> {
    let path = AbsolutePath::constant("/proc/sys/kernel/random/boot_id");
    let content = match as_pid_1_sees(root, &path) {
        Some(content) => content,
        None => root.read(&path, 64)?,
    };
    let boot = BootId(String::from_utf8_lossy(content.bytes.expose()).trim().to_owned());
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|e| FileError::from_errno("/proc/uptime", "know", e))?;
    Ok(Uptime { boot, since_boot: Duration::from(now) })
}

/// Where the whole machine is a container, its start has an identity of its own by a mount over
/// this file. A unit with a /proc of its own does not have that mount: what it takes note of would
/// be of another start than what everybody else sees.
fn as_pid_1_sees(root: &Root, path: &AbsolutePath) -> Option<FileContent> {
    let first = root.is_host().then(|| Root::open(Path::new("/proc/1/root")).ok())??;
    first.read(path, 64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_goes_on() {
        let host = Root::open(Path::new("/")).unwrap();
        let (first, second) = (uptime(&host).unwrap(), uptime(&host).unwrap());
        assert_eq!(first.boot, second.boot);
        assert_eq!(first.boot.0.len(), 36, "{first:?}");
        assert!(first.is_before(&second), "{first:?} {second:?}");
    }
}
