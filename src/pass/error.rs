//! Why a pass, or one step of it, fails.

use crate::act::{RenewError, RollBackError};
use crate::store::StoreError;

/// Why a pass, or one step of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The node belongs to a platform that needs a profile of its own.
    #[error(
        "this is a StarlingX host (/etc/platform/platform.conf), where credentials have copies and \
         services that the kubeadm profile does not know: only `kubecertd check` works here, \
         until there is a profile for StarlingX"
    )]
    Platform,
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A credential was not renewed.
    #[error(transparent)]
    Renew(#[from] RenewError),
    /// A certificate that was put in place here is refused by its server, and the one before it is
    /// in place again.
    #[error(
        "{server} refuses the new certificate ({answer}) and accepts the previous one, which was \
         restored"
    )]
    RolledBack {
        /// The server.
        server: String,
        /// What it said.
        answer: String,
    },
    /// The same, and the one before it could not be put back.
    #[error(
        "{server} refuses the new certificate ({answer}); the previous one, which it accepts, \
         could not be restored: {source}"
    )]
    NotRolledBack {
        /// The server.
        server: String,
        /// What it said.
        answer: String,
        /// Why not.
        source: Box<RollBackError>,
    },
    /// A credential was renewed, and what is on disk now is something else.
    #[error("it was renewed, but the file holds another certificate now: {found}")]
    NotThere {
        /// What is there.
        found: String,
    },
}
