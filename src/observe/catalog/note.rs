//! What the operator should know about how the catalog came to be. Nothing here stops a pass.

use crate::formats::manifest::{ManifestError, NoHostPath};
use crate::model::{AbsolutePath, CredentialName, Location};

/// Something about a manifest that the operator should know.
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
        /// The manifest that counts.
        kept: String,
        /// The other one.
        ignored: String,
    },
    /// A flag names a file that can't be found from outside the container.
    #[error("manifest {file}: --{flag}={value}: {problem}; the usual path is taken")]
    NoHostPath {
        /// The manifest's file name.
        file: String,
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// Why there is no file of the host.
        problem: NoHostPath,
    },
    /// A path means more files than anybody has.
    #[error("{pattern} means more than {most} files: only the first {most} are looked after")]
    TooMany {
        /// The path.
        pattern: AbsolutePath,
        /// How many are looked after.
        most: usize,
    },
    /// Two credentials turned out to be one.
    #[error("{joined} and {kept} are the same credential ({file}): it is listed as {kept}")]
    Shared {
        /// The name that is left out.
        joined: CredentialName,
        /// The name that is kept.
        kept: CredentialName,
        /// Where it lives.
        file: Location,
    },
}
