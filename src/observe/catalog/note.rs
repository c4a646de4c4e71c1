//! Notes for the operator about building the catalog. None of them stops a pass.

use crate::formats::manifest::{ManifestError, NoHostPath};
use crate::model::{AbsolutePath, CredentialName, Location};

/// A note about a manifest or a path.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Note {
    /// A manifest could not be read.
    #[error("manifest {file}: {error}; the usual paths are used")]
    Unreadable {
        /// The manifest's file name.
        file: String,
        /// Whether it is named after a component for which there is no other one.
        is_component: bool,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// Two manifests are for the same pod.
    #[error(
        "manifests {kept} and {ignored} are both for the pod {pod}: the second is ignored here, \
         but kubelet, which reads every file whose name does not begin with a dot, may run it; \
         move it elsewhere"
    )]
    SamePod {
        /// The pod.
        pod: String,
        /// The manifest that is used.
        kept: String,
        /// The manifest that is ignored.
        ignored: String,
    },
    /// Two pods run the same component.
    #[error(
        "manifest {file}: the pod {pod} runs {component}, as the pod of {kept} does: only the \
         certificates of the latter are managed; move a stale manifest elsewhere, or list what \
         this one uses as [[credential]] and the pod as [[service]] in the configuration"
    )]
    SameComponent {
        /// The component.
        component: String,
        /// The manifest that is used.
        kept: String,
        /// The other pod.
        pod: String,
        /// Its manifest.
        file: String,
    },
    /// The pod of a component names none of its certificates.
    #[error(
        "manifest {file}: the pod {pod} seems to run {component}, and names no certificate that it \
         uses{}: only files at the usual paths are managed; name the files in the manifest, or \
         list them as [[credential]] in the configuration", because(doubt.as_deref())
    )]
    NoCertificates {
        /// The manifest's file name.
        file: String,
        /// The pod.
        pod: String,
        /// The component.
        component: String,
        /// Why there may be some.
        doubt: Option<String>,
    },
    /// The command of a component's pod may say more than is known.
    #[error(
        "manifest {file}: {doubt}, so that the pod {pod} may use other files than those that are \
         managed; name the files in the manifest as plain words"
    )]
    Doubt {
        /// The manifest's file name.
        file: String,
        /// The pod.
        pod: String,
        /// What is not known.
        doubt: String,
        /// Whether the manifest names all files that the profile knows of.
        all_named: bool,
    },
    /// A configuration file that a pod names can't be used.
    #[error(
        "manifest {file}: {by}={value}: {problem}; the certificates that this file names are not \
         known"
    )]
    NoConfiguration {
        /// The manifest's file name.
        file: String,
        /// What names the file.
        by: String,
        /// Its path in the container.
        value: String,
        /// Why it can't be used.
        problem: String,
    },
    /// A setting names a file that is not on the host.
    #[error("manifest {file}: {by}={value}: {problem}; the usual path is used")]
    NoHostPath {
        /// The manifest's file name.
        file: String,
        /// The flag, or what stands for it.
        by: String,
        /// Its value.
        value: String,
        /// Why the file is not on the host.
        problem: NoHostPath,
    },
    /// A setting names a serving certificate that is not on the host.
    #[error("manifest {file}: {by}={value}: {problem}; this certificate is not managed")]
    NoServingFile {
        /// The manifest's file name.
        file: String,
        /// The flag.
        by: String,
        /// Its value.
        value: String,
        /// Why the file is not on the host.
        problem: NoHostPath,
    },
    /// A static pod uses credentials, and the configuration does not list it.
    #[error(
        "the static pod {pod} ({file}, container {container}) uses {uses}: kubecertd does not \
         restart it; restart it by hand after a renewal, or list it as [[service]] in the \
         configuration (docs/own-entries.md)"
    )]
    Consumer {
        /// The pod.
        pod: String,
        /// Its manifest.
        file: String,
        /// The container.
        container: String,
        /// The credentials.
        uses: String,
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

impl Note {
    /// The manifest that the note is about, where certificates may be in use that are not managed.
    #[must_use]
    pub fn unclear_manifest(&self) -> Option<&str> {
        match self {
            Self::SamePod { ignored: file, .. }
            | Self::SameComponent { file, .. }
            | Self::NoCertificates { file, .. }
            | Self::Doubt { file, all_named: false, .. }
            | Self::NoConfiguration { file, .. }
            | Self::Unreadable { file, is_component: true, .. }
            | Self::NoHostPath {
                file,
                problem: NoHostPath::NotKnown | NoHostPath::NotAbsolute,
                ..
            }
            | Self::NoServingFile {
                file,
                problem: NoHostPath::NotKnown | NoHostPath::NotAbsolute,
                ..
            } => Some(file),
            Self::Unreadable { .. }
            | Self::Doubt { .. }
            | Self::NoHostPath { .. }
            | Self::NoServingFile { .. }
            | Self::Consumer { .. }
            | Self::TooMany { .. }
            | Self::TooManyUsers { .. }
            | Self::Shared { .. } => None,
        }
    }

    /// The manifest whose configuration file can't be used.
    pub(super) fn unread_configuration_of(&self) -> Option<&str> {
        match self {
            Self::NoConfiguration { file, .. } => Some(file),
            _ => None,
        }
    }
}

fn because(doubt: Option<&str>) -> String {
    doubt.map_or_else(String::new, |doubt| format!(" ({doubt})"))
}
