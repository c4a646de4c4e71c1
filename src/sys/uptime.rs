//! How long the machine has been running.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{FileError, Root};
use crate::model::{AbsolutePath, BootId, Uptime};

/// The present moment by the clock that no step moves, with the machine's present start.
///
/// # Errors
/// When the system does not say.
pub fn uptime(root: &Root) -> Result<Uptime, FileError> {
    let path = AbsolutePath::constant("/proc/sys/kernel/random/boot_id");
    let content = root.read(&path, 64)?;
    let boot = BootId(String::from_utf8_lossy(content.bytes.expose()).trim().to_owned());
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|e| FileError::from_errno("/proc/uptime", "know", e))?;
    Ok(Uptime { boot, since_boot: Duration::from(now) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
