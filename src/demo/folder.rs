//! Writing the files of a new node: every one of them new, with its mode from the start.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::DemoError;
use crate::model::Timestamp;

/// The mode of keys, and of everything else that kubeadm lets nobody read.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of certificates.
pub(super) const PUBLIC: u32 = 0o644;

/// The root folder of the node.
pub(super) struct Folder<'a>(&'a Path, Timestamp);

impl<'a> Folder<'a> {
    /// A folder that is there and has nothing in it; its files will look as if they had been
    /// written at that time.
    pub(super) fn empty(path: &'a Path, written: Timestamp) -> Result<Self, DemoError> {
        let listed = path.read_dir().and_then(|mut entries| entries.next().transpose());
        match listed {
            Ok(None) => Ok(Self(path, written)),
            Ok(Some(_)) => Err(DemoError::NotEmpty(path.to_owned())),
            Err(source) => Err(DemoError::Folder { path: path.to_owned(), source }),
        }
    }

    /// Writes a new file, and makes the folders above it.
    pub(super) fn file(&self, path: &str, content: &[u8], mode: u32) -> Result<(), DemoError> {
        self.create(path, |path| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            // The umask took something away, perhaps.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            // A node whose manifests were written a moment ago is one that somebody is working on.
            file.set_modified(
                SystemTime::UNIX_EPOCH
                    + Duration::from_secs(u64::try_from(self.1.seconds()).unwrap_or(0)),
            )
        })
    }

    /// Makes a symlink. The target is a path as it would be on the node.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<(), DemoError> {
        self.create(path, |path| std::os::unix::fs::symlink(target, path))
    }

    fn create(
        &self,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), DemoError> {
        let path = self.0.join(path);
        let folders = path
            .parent()
            .map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o755).create(parent));
        folders.and_then(|()| work(&path)).map_err(|source| DemoError::Create { path, source })
    }
}
