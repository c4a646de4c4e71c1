//! The failures of commands.

use crate::observe::NodeError;
use crate::sys::FileError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The root directory can't be used.
    #[error("--root {0}")]
    Root(FileError),
    /// The node can't be opened.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The schedule is too rare.
    #[error(transparent)]
    Schedule(#[from] crate::settings::SettingsError),
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] crate::pass::PassError),
    /// A name is not in the catalog.
    #[error("there is no credential {name:?}; the credentials are {known}")]
    UnknownName {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The daemon could not start.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::DaemonError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A hold that would have no effect.
    #[error("{0}")]
    Hold(String),
    /// The authority is not on this node.
    #[error("there is no CA {name:?}; the CAs are {known}")]
    UnknownAuthority {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// An authority, or the target of the comparison, can't be read.
    #[error("{0}")]
    Authority(String),
    /// Nothing to restore was named, or it does not exist.
    #[error("{0}")]
    Restore(String),
    /// Nothing to request was named, or the signed certificate can't be read.
    #[error("{0}")]
    Request(String),
    /// A root CA of the operator's own, or its key, can't be read.
    #[error("{0}")]
    SuppliedRoot(String),
    /// A root CA of the operator's own was not judged or installed.
    #[error(transparent)]
    InstallRoot(#[from] crate::pass::new_root::InstallRootError),
    /// No CA was renewed, or put in place.
    #[error(transparent)]
    CaRenewal(#[from] crate::pass::ca_renewal::CaRenewalError),
    /// An order about the replacement of the root CA was refused.
    #[error(transparent)]
    Rotation(#[from] crate::pass::rotation::order::OrderError),
    /// No kubeconfig is named, or none that can be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// The nodes of the cluster can't be listed.
    #[error("the nodes of the cluster can't be listed: {0}")]
    Cluster(String),
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// The demo stopped early.
    #[error(transparent)]
    DemoStopped(#[from] super::demo::DemoStopped),
}
