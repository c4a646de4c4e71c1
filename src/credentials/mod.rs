//! Credentials and authorities as files: read from wherever they live, taken apart, and put
//! together again around a new certificate and key; and as a client uses them.
//!
//! Where a credential lives (a pair, a bundle, a kubeconfig that embeds it or points to files) is
//! known here and nowhere else; to everything above it is one certificate and one key. Nothing is
//! written here, and nothing judged but who trusts an authority.

mod access;
mod authority;
mod compose;
mod copy;
mod load;
mod trust;

pub use access::{Server, identity, identity_of, server};
pub use authority::{LoadedAuthority, LoadedKey, load_authority};
pub use compose::{ComposeError, Composed};
pub use copy::{Held, Lineage, LoadedCopy, Original, load_copy};
pub use load::{Form, Loaded, Source, Stored, load, located};
pub use trust::{Question, Verdict};

use crate::model::{AbsolutePath, Secret};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, Root};

/// Where files come from: the root folder, or a backup. `None` for a file that is not there.
pub trait Files {
    /// Reads a whole file.
    ///
    /// # Errors
    /// When something is there and can't be read.
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError>;
}

impl Files for Root {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        match Self::read(self, path, LARGEST_FILE) {
            Ok(content) => Ok(Some(content.bytes)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// One pass's backup as a place to read from.
#[derive(Debug)]
pub struct Backup<'b> {
    /// The backups.
    pub backups: &'b crate::store::Backups,
    /// Which of them.
    pub generation: crate::store::Generation,
}

impl Files for Backup<'_> {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        self.backups.read(&self.generation, path)
    }
}
