//! Credentials and authorities as files: reads them, composes their new contents around a new
//! certificate and key, and makes TLS client identities of them.
//!
//! Only this module knows how a credential is stored (a pair, a bundle, a kubeconfig that embeds it
//! or refers to files); for all other modules it is one certificate and one key. This module writes
//! no files, and judges nothing but the trust in an authority.

mod access;
mod authority;
mod bundle;
mod compose;
mod copy;
mod load;
mod trust;

pub use access::{Server, identity, identity_of, server};
pub use authority::{LoadedAuthority, LoadedKey, load_authority};
pub use compose::{ComposeError, Composed};
pub use copy::{KnownContent, Lineage, LoadedCopy, Original, load_copy};
pub use load::{Form, Loaded, SourceFile, Stored, load, located, referenced};
pub use trust::{Question, Verdict};

use nix::sys::stat::{FileStat, Mode};

use crate::model::{AbsolutePath, Secret};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, Root, WritableByOthers};

/// A place that files are read from: the root directory, or a backup.
pub trait Files {
    /// Reads a whole file; `None` where it does not exist.
    ///
    /// # Errors
    /// When the file exists and can't be read.
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError>;

    /// The first file or directory on the way to a file that others than root can write.
    ///
    /// # Errors
    /// When the directory of the file can't be reached.
    fn writable_by_others(
        &self,
        path: &AbsolutePath,
    ) -> Result<Option<WritableByOthers>, FileError>;

    /// Who can write a file itself; `None` where it does not exist.
    ///
    /// # Errors
    /// When the directory of the file can't be reached.
    fn writers(&self, path: &AbsolutePath) -> Result<Option<Writers>, FileError>;
}

/// Who can write a file itself, whatever its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writers {
    /// The user that owns it.
    pub owner: u32,
    /// Whether its group or everyone can write it.
    pub others: bool,
}

impl Files for Root {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        match Self::read(self, path, LARGEST_FILE) {
            Ok(content) => Ok(Some(content.bytes)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn writable_by_others(
        &self,
        path: &AbsolutePath,
    ) -> Result<Option<WritableByOthers>, FileError> {
        Self::writable_by_others(self, path)
    }

    fn writers(&self, path: &AbsolutePath) -> Result<Option<Writers>, FileError> {
        let writers = |stat: FileStat| Writers {
            owner: stat.st_uid,
            others: stat.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() != 0,
        };
        Ok(self.stat(path)?.map(writers))
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

    /// Only root can write a backup that is read.
    fn writable_by_others(&self, _: &AbsolutePath) -> Result<Option<WritableByOthers>, FileError> {
        Ok(None)
    }

    fn writers(&self, path: &AbsolutePath) -> Result<Option<Writers>, FileError> {
        Ok(self.read(path)?.map(|_| Writers { owner: 0, others: false }))
    }
}
