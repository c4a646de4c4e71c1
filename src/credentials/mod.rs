//! Credentials and authorities as files: reads them, composes their new contents around a new
//! certificate and key, and makes TLS client identities of them.
//!
//! Only this module knows how a credential is stored (a pair, a bundle, a kubeconfig that embeds it
//! or refers to files); for all other modules it is one certificate and one key. This module writes
//! no files, and judges nothing but the trust in an authority.

mod access;
mod authority;
mod bundle;
mod chain;
mod cluster;
mod compose;
mod copy;
mod load;
mod observed;
mod supplied_root;
mod trust;
mod trust_store;

pub use access::{
    CurrentUser, Server, UserLogin, current_user, identity, identity_in, identity_of, pem_identity,
    server,
};
pub use authority::{Above, ChainToAnchor, LoadedAuthority, LoadedKey, load_authority, read_key};
pub use cluster::{
    Cluster, cluster, renewed_anchors, trusting, with_authority_renewed, with_roots,
};
pub use compose::{ComposeError, Composed};
pub use copy::{KnownContent, Lineage, LoadedCopy, Original, load_copy};
pub use load::{Form, Loaded, SourceFile, Stored, load, located, referenced};
pub use observed::ObservedFiles;
pub use supplied_root::{SuppliedRoot, SuppliedRootError};
pub use trust::{Question, Verdict};

use std::sync::Arc;

use nix::sys::stat::Mode;

use crate::formats::kubeconfig::{Examined, KubeconfigError, examine};
use crate::model::{AbsolutePath, Secret};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, Root};

/// What was found in a kubeconfig.
pub type ExaminedKubeconfig = Result<Examined, KubeconfigError>;

/// A place that files are read from: the root directory, or a backup.
pub trait Files {
    /// Reads a whole file; `None` where it does not exist.
    ///
    /// # Errors
    /// When the file exists and can't be read.
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError>;

    /// Whether only root can write a file and everything on the way to it. In a backup that is so:
    /// no other one is read.
    fn is_root_only(&self, _path: &AbsolutePath) -> bool {
        true
    }

    /// Checks that a kubeconfig may refer to a file. In a backup it may: only root can write one
    /// that is read.
    ///
    /// # Errors
    /// A text that names both files and the reason.
    fn check_reference(
        &self,
        _kubeconfig: &AbsolutePath,
        _file: &AbsolutePath,
    ) -> Result<(), String> {
        Ok(())
    }

    /// Examines a kubeconfig that was read here.
    fn examine_kubeconfig(&self, content: &Secret) -> Arc<ExaminedKubeconfig> {
        Arc::new(examine(content.expose()))
    }
}

impl Files for Root {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        match Self::read(self, path, LARGEST_FILE) {
            Ok(content) => Ok(Some(content.bytes)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn is_root_only(&self, path: &AbsolutePath) -> bool {
        self.is_writable_by_others(path).is_ok_and(|others| !others)
    }

    /// A kubeconfig that others than root can write refers only to files beside it that have its
    /// own owner, so that its writers lead root to no other file.
    fn check_reference(
        &self,
        kubeconfig: &AbsolutePath,
        file: &AbsolutePath,
    ) -> Result<(), String> {
        let failed = |e: FileError| e.to_string();
        let Some(writers) = self.writable_by_others(kubeconfig).map_err(failed)? else {
            return Ok(());
        };
        let is_beside = file.as_path().parent() == kubeconfig.as_path().parent();
        let of_file = if is_beside { self.stat(file).map_err(failed)? } else { None };
        let of_kubeconfig = self.stat(kubeconfig).map_err(failed)?;
        let allowed = of_kubeconfig.zip(of_file).is_some_and(|(kubeconfig, file)| {
            // Those who can write the kubeconfig besides its owner could choose files of the owner.
            let others = kubeconfig.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() != 0;
            !others && kubeconfig.st_uid == file.st_uid
        });
        if allowed {
            return Ok(());
        }
        Err(format!(
            "{kubeconfig}: refers to {file}, and {writers}: a kubeconfig that others than root can \
             write may refer only to files beside it that belong to the same user"
        ))
    }
}

/// The backup of one pass, as a place that files are read from.
#[derive(Debug)]
pub struct Backup<'b> {
    /// The backups.
    pub backups: &'b crate::store::Backups,
    /// The backup that is read.
    pub generation: crate::store::Generation,
}

impl Files for Backup<'_> {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        self.backups.read(&self.generation, path)
    }
}
