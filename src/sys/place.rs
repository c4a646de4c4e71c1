//! The place of a file: its directory, held by a descriptor, and its name there.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Dir;

/// The place of a file, with every symlink followed: its directory and its name there.
#[derive(Debug)]
pub struct Place {
    /// The directory that holds the file.
    pub dir: Dir,
    /// The file's name in it.
    pub name: OsString,
}

impl Place {
    /// The path of the file, as seen from the root directory that is worked on.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }
}
