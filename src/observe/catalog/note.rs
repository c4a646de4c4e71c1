//! Notes for the operator about building the catalog. None of them stops a pass.

use crate::formats::manifest::{ManifestError, NoHostPath};
use crate::model::{AbsolutePath, CredentialName, Location};

/// A note about a manifest or a path.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Note {
    /// A manifest could not be read.
    #[error("manifest {file}: {error}; the usual paths are taken for what it would say")]
    Unreadable {
        /// The manifest's file name.
        file: String,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// Two manifests are for the same pod.
    #[error(
        "manifests {kept} and {ignored} are both for the pod {pod}: the second is ignored here, \
         but kubelet may run it; move it elsewhere"
    )]
    SamePod {
        /// The pod.
        pod: String,
        /// The manifest that is used.
        kept: String,
        /// The manifest that is ignored.
        ignored: String,
    },
    /// A flag names a file that is not on the host.
    #[error("manifest {file}: --{flag}={value}: {problem}; the usual path is taken")]
    NoHostPath {
        /// The manifest's file name.
        file: String,
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// Why the file is not on the host.
        problem: NoHostPath,
    },
    /// A path matches more files than the limit.
    #[error("{pattern} means more than {most} files: only the first {most} are managed")]
    TooMany {
        /// The path.
        pattern: AbsolutePath,
        /// The limit.
        most: usize,
    },
    /// A kubeconfig has more users with client certificates than the limit.
    #[error(
        "{file} has more than {most} further users with client certificates: only the first \
        {most} are listed"
    )]
    TooManyUsers {
        /// The kubeconfig.
        file: AbsolutePath,
        /// The limit.
        most: usize,
    },
    /// Two credentials have the same files.
    #[error("{joined} and {kept} are the same credential ({file}): it is listed as {kept}")]
    Shared {
        /// The name that is left out.
        joined: CredentialName,
        /// The name that is kept.
        kept: CredentialName,
        /// Their files.
        file: Location,
    },
}
