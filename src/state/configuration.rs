//! The last good configuration: the files that were in force last, used when those on disk are
//! invalid at the start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::model::AbsolutePath;
use crate::sys::{FileError, Root};

const FILE: StateFile =
    StateFile::new("last-good-configuration.json", "there is no configuration to fall back on");

#[derive(Serialize, Deserialize)]
pub(super) struct ConfigurationContent {
    files: Vec<(PathBuf, String)>,
}

/// Reads the paths and texts of the configuration files that were in force last. The text is the
/// problem with the file, if there is one.
#[must_use]
pub fn read_last_good_configuration(
    root: &Root,
    state: &AbsolutePath,
) -> (Option<Vec<(PathBuf, String)>>, Option<String>) {
    let (found, note) = FILE.read(root, state);
    (found.map(|ConfigurationContent { files }| files), note)
}

/// Writes the configuration files that are in force.
///
/// # Errors
/// When the file can't be written.
pub fn write_last_good_configuration(
    root: &Root,
    state: &AbsolutePath,
    files: &[(PathBuf, String)],
) -> Result<(), FileError> {
    FILE.write(root, state, &ConfigurationContent { files: files.to_vec() })
}
