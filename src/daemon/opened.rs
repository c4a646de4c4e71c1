//! Whether the folders that the daemon's unit opened to it are still the ones in use. What is put
//! in the place of one of them later, a new `/etc/kubernetes` say, is read-only to the daemon and
//! to nobody else, until systemd starts it again.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root};

/// What the unit did not open at the start: that is its choice, or the configuration's fault, and
/// no start helps.
#[derive(Debug)]
pub(super) struct Opened {
    closed: BTreeSet<PathBuf>,
}

impl Opened {
    /// At the start.
    pub(super) fn look(root: &Root, files: &[AbsolutePath]) -> Self {
        Self { closed: closed(root, files) }
    }

    /// A folder that could be written to at the start, and can't now, though the host can.
    pub(super) fn lost(&self, root: &Root, files: &[AbsolutePath]) -> Option<PathBuf> {
        closed(root, files).into_iter().find(|folder| !self.closed.contains(folder))
    }
}

/// The folders of these files that are read-only here, and not where pid 1 is.
fn closed(root: &Root, files: &[AbsolutePath]) -> BTreeSet<PathBuf> {
    if !root.is_host() {
        return BTreeSet::new();
    }
    // Where it can't be looked at, nothing is said of it.
    let Ok(host) = Root::open(Path::new("/proc/1/root")) else { return BTreeSet::new() };
    let folder = |root: &Root, file: &AbsolutePath| Ok::<_, FileError>(root.locate(file)?.dir);
    let is_closed = |file: &AbsolutePath| {
        let (ours, hosts) = (folder(root, file).ok()?, folder(&host, file).ok()?);
        let same = ours.identity().ok()? == hosts.identity().ok()?;
        (same && is_read_only(&ours)? && !is_read_only(&hosts)?).then(|| ours.path().to_owned())
    };
    files.iter().filter_map(is_closed).collect()
}

fn is_read_only(folder: &Dir) -> Option<bool> {
    fstatvfs(folder.as_fd()).ok().map(|found| found.flags().contains(FsFlags::ST_RDONLY))
}
