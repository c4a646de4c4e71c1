//! The errors of making a node.

use std::io;
use std::path::PathBuf;

use crate::formats::x509::{IssueError, KeyError};

/// Why a node was not created. Files written before stay in the directory.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The directory is not there, or is no directory.
    #[error("{path}: can't be listed: {source}; make an empty directory \
        first", path = .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory is not empty.
    #[error("{path}: is not empty, and a node is only made in an empty \
        directory", path = .0.display())]
    NotEmpty(PathBuf),
    /// The plan names something that the node does not have.
    #[error("the node has no CA or credential of the name {0:?}")]
    UnknownName(String),
    /// A file, directory or link can't be made.
    #[error("{path}: can't be created: {source}", path = .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A signing request can't be read.
    #[error("the signing request can't be read: {0}")]
    Request(String),
    /// A key can't be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No serial number can be made.
    #[error(transparent)]
    Serial(#[from] IssueError),
    /// A certificate can't be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}
