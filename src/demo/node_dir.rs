//! Writes the files of a new node, each with its mode from the start.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::DemoError;
use crate::model::Timestamp;

/// The mode of keys, and of all other files that kubeadm makes readable for root only.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of certificates.
pub(super) const PUBLIC: u32 = 0o644;

/// The root directory of the node.
pub(super) struct NodeDir<'a>(&'a Path, Timestamp);

impl<'a> NodeDir<'a> {
    /// Opens an existing, empty directory; its files get this time of modification.
    pub(super) fn empty(path: &'a Path, written: Timestamp) -> Result<Self, DemoError> {
        let listed = path.read_dir().and_then(|mut entries| entries.next().transpose());
        match listed {
            Ok(None) => Ok(Self(path, written)),
            Ok(Some(_)) => Err(DemoError::NotEmpty(path.to_owned())),
            Err(source) => Err(DemoError::Directory { path: path.to_owned(), source }),
        }
    }

    /// Writes a new file, and creates the directories above it.
    pub(super) fn file(&self, path: &str, content: &[u8], mode: u32) -> Result<(), DemoError> {
        self.create(path, |path| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            // The umask may have removed bits.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            // A node with manifests written just now counts as one that is being changed.
            file.set_modified(
                SystemTime::UNIX_EPOCH
                    + Duration::from_secs(u64::try_from(self.1.seconds()).unwrap_or(0)),
            )
        })
    }

    /// Creates a symlink. The target is a path on the node.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<(), DemoError> {
        self.create(path, |path| std::os::unix::fs::symlink(target, path))
    }

    fn create(
        &self,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), DemoError> {
        let path = self.0.join(path);
        let dirs = path
            .parent()
            .map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o755).create(parent));
        dirs.and_then(|()| work(&path)).map_err(|source| DemoError::Create { path, source })
    }
}
