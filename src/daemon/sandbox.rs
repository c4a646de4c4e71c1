//! Detects a directory that was replaced after systemd had opened it for writing in the daemon's
//! mount namespace. The replacement, a new `/etc/kubernetes` say, is read-only to the daemon alone
//! until systemd starts it again.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root};

/// The directories that were read-only to the daemon alone at its start: the unit or the
/// configuration has them so, and no restart helps.
#[derive(Debug)]
pub(super) struct ReadOnlyDirs {
    at_start: BTreeSet<PathBuf>,
}

impl ReadOnlyDirs {
    /// Records them, at the start of the daemon.
    pub(super) fn record(root: &Root, files: &[AbsolutePath]) -> Self {
        Self { at_start: read_only_here(root, files) }
    }

    /// A directory that became read-only to the daemon alone since.
    pub(super) fn find_new(&self, root: &Root, files: &[AbsolutePath]) -> Option<PathBuf> {
        read_only_here(root, files).into_iter().find(|dir| !self.at_start.contains(dir))
    }
}

/// The directories of these files that are read-only here and writable in pid 1's mount namespace.
/// Where one is missing, the directory that it would be created in counts.
fn read_only_here(root: &Root, files: &[AbsolutePath]) -> BTreeSet<PathBuf> {
    if !root.is_host() {
        return BTreeSet::new();
    }
    // Without access to that namespace nothing is known.
    let Ok(host) = Root::open(Path::new("/proc/1/root")) else { return BTreeSet::new() };
    let read_only = |file: &AbsolutePath| {
        let (ours, hosts) = (TargetDir::find(root, file).ok()?, TargetDir::find(&host, file).ok()?);
        let same = ours.nearest.identity().ok()? == hosts.nearest.identity().ok()?;
        (same && is_read_only(&ours.nearest)? && !is_read_only(&hosts.nearest)?)
            .then_some(ours.path)
    };
    files.iter().filter_map(read_only).collect()
}

/// The directory of a file.
struct TargetDir {
    path: PathBuf,
    /// The directory itself, or the nearest one above it that exists.
    nearest: Dir,
}

impl TargetDir {
    fn find(root: &Root, file: &AbsolutePath) -> Result<Self, FileError> {
        match root.locate(file) {
            Err(e) if e.is_not_found() => {}
            place => {
                let nearest = place?.dir;
                return Ok(Self { path: nearest.path().to_owned(), nearest });
            }
        }
        let mut above = file.as_path().ancestors().skip(1);
        let path = above.next().unwrap_or(Path::new("/")).to_owned();
        let nearest = above.find_map(|dir| root.open_dir(dir).ok());
        nearest
            .map_or_else(|| root.open_dir(Path::new("/")), Ok)
            .map(|nearest| Self { path, nearest })
    }
}

fn is_read_only(dir: &Dir) -> Option<bool> {
    fstatvfs(dir.as_fd()).ok().map(|found| found.flags().contains(FsFlags::ST_RDONLY))
}
