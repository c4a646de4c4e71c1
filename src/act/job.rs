//! One renewal of a credential: the job, its result, and the errors.

use std::sync::atomic::AtomicBool;

use crate::credentials::ComposeError;
use crate::formats::x509::{
    self, Certificate, IssueError, KeyError, PrivateKey, ReadError, VerifyError,
};
use crate::model::{
    AbsolutePath, Authority, AuthorityName, CredentialFacts, CredentialName, Digest, KeyChoice,
    SanChange, Timestamp, TrialAt, Urgency,
};
use crate::plan::Terms;
use crate::store::StoreError;
use crate::sys::FileError;

/// One credential to be renewed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The credential as it was found when the renewal was planned.
    pub facts: CredentialFacts,
    /// The authority that signs it.
    pub authority: Authority,
    /// The dates of the new certificate.
    pub terms: Terms,
    /// The changes of its names.
    pub names: SanChange,
    /// How urgent the renewal is.
    pub urgency: Urgency,
    /// Where the new certificate is tried before it replaces the old one.
    pub trial: Option<TrialAt>,
}

/// The settings that all renewals of a pass share.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'s> {
    /// The key to make.
    pub key: KeyChoice,
    /// The present time.
    pub now: Timestamp,
    /// How many backups to keep.
    pub backups: usize,
    /// Set by another thread when no further renewal may begin.
    pub stop: &'s AtomicBool,
    /// The CA that issues in place of the one whose key is in the authority's file: during a
    /// rotation.
    pub issuer: Option<Issuer<'s>>,
}

/// A CA of a rotation that issues certificates.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'i> {
    /// Its certificate.
    pub certificate: &'i Certificate,
    /// Its key.
    pub key: &'i PrivateKey,
    /// What stands behind each certificate that it issues.
    pub behind: &'i [Certificate],
}

/// A new certificate that is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The name of the credential.
    pub credential: CredentialName,
    /// Its serial number, in hex.
    pub serial: String,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// Its key's algorithm.
    pub key_algorithm: String,
    /// SHA-256 of it.
    pub fingerprint: Digest,
    /// The files that were replaced.
    pub files: Vec<AbsolutePath>,
}

/// The name of a credential, and its new certificate or the error.
pub type RenewOutcome = (CredentialName, Result<Renewed, RenewError>);

/// Called after each key is made, with the number of finished keys and the total.
pub type Progress<'p> = &'p (dyn Fn(usize, usize) + Sync);

/// The reason why a credential was not renewed. Nothing of it was replaced, unless the text says
/// so.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// Its files are not what they were when its renewal was decided.
    #[error(
        "its files were changed by another process in the meantime; they are left as they are, \
         and the next pass checks them again"
    )]
    Changed,
    /// Its files are another credential's too.
    #[error(
        "{path} belongs to {other} too, which is renewed in this pass; give each credential files \
         of its own"
    )]
    Shared {
        /// The file.
        path: AbsolutePath,
        /// The other credential.
        other: CredentialName,
    },
    /// The authority can't sign any more.
    #[error(
        "the CA {name} could sign when this was planned, and can't now; the next pass checks it \
         again"
    )]
    Authority {
        /// The authority.
        name: AuthorityName,
    },
    /// Nothing tells which node it is for.
    #[error("{0}")]
    NodeNotKnown(String),
    /// A key could not be made or written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The names can't be changed in this way.
    #[error("the names are left as they are: {0}")]
    Names(#[from] x509::NamesError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The new certificate can't be parsed, which should not happen.
    #[error("the new certificate can't be read: {0}")]
    Unreadable(#[from] ReadError),
    /// The new files could not be composed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The new certificate was found wrong before anything was replaced.
    #[error("the new certificate was not accepted, and nothing was replaced: {0}")]
    Refused(#[from] VerifyError),
    /// The server that verifies it does not accept it.
    #[error(
        "{server} refused the new certificate ({answer}) and accepts the old one, which stays in \
         place"
    )]
    RefusedBy {
        /// The server.
        server: String,
        /// Its answer.
        answer: String,
    },
    /// The new key was found wrong before anything was replaced.
    #[error("the new key, read back, does not fit the new certificate; nothing was replaced")]
    KeyDoesNotFit,
    /// A file could not be looked at.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pass was ended before its turn came.
    #[error("kubecertd was stopped before it was renewed; the next pass renews it")]
    Stopped,
    /// A fault of ours.
    #[error("a bug in kubecertd prevented the renewal; please report it")]
    Fault,
}
