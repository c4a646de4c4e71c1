//! Why the certificate of a CA was not replaced.

use std::fmt::Write as _;

use crate::formats::x509::{IssueError, LeafLoss, ReadError, RenewRootError};
use crate::model::{InvalidName, Timestamp};
use crate::pass::PassError;
use crate::pass::new_root::list;
use crate::plan::RootFault;
use crate::store::StoreError;
use crate::sys::FileError;

/// Why the certificate of a CA was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum CaRenewalError {
    /// This kind of node is not supported.
    #[error(transparent)]
    Platform(PassError),
    /// The profile has no CA, or its file can't be used.
    #[error("{0}")]
    Authority(String),
    /// The key is not on this node.
    #[error(
        "a CA is renewed with its own key, which can't be used here: {0}; renew it on the node \
         that has the key, and give its certificate to kubecertd ca trust on this one"
    )]
    NoKey(String),
    /// The clock is not trusted.
    #[error("{0}")]
    Clock(String),
    /// It would not be valid for much longer.
    #[error(
        "it would expire at {new}, and the present one expires at {old}: that is not worth another \
         certificate on all nodes"
    )]
    NotLonger {
        /// The end of the new one.
        new: Timestamp,
        /// The end of the present one.
        old: Timestamp,
    },
    /// Certificates would be lost.
    #[error("{}", lost(.0))]
    Lost(Vec<(String, LeafLoss)>),
    /// The file holds another CA.
    #[error(
        "it holds no CA of this node with a later end: only a certificate with the same name, key \
         and key identifier takes the place of another without any client noticing"
    )]
    Other,
    /// It can't be a CA, in ways in which the present one can.
    #[error("it can't take the place of the present certificate of this CA: {}", list(.0))]
    Refused(Vec<RootFault>),
    /// It is not valid now.
    #[error("it is valid from {0} to {1}, and not now")]
    NotValid(Timestamp, Timestamp),
    /// The new certificate could not be made.
    #[error(transparent)]
    Renew(#[from] RenewRootError),
    /// There are no random bytes for a serial number.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was written can't be read.
    #[error("a written file can't be read back: {0}")]
    ReadBack(#[from] ReadError),
    /// What was written is not what was to be written.
    #[error("a written file, read back, does not hold the renewed certificate")]
    Changed,
    /// The name of the CA is no name, which should not happen.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

fn lost(leaves: &[(String, LeafLoss)]) -> String {
    let mut text = "certificates that the CA issued would not be accepted any more".to_owned();
    for (name, loss) in leaves {
        let _ = write!(text, "; {name}: {loss}");
    }
    text
}
