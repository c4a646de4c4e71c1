//! The findings of a recovery.

use crate::model::CredentialName;

/// The result of recovery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Credentials whose replacement was begun by an earlier process and is now completed.
    pub finished: Vec<CredentialName>,
    /// Credentials whose replacement was journaled, but which another program has changed since:
    /// left as they are.
    pub dropped: Vec<CredentialName>,
    /// The number of staged files without a journal entry that were removed.
    pub swept: usize,
    /// Notes for an operator.
    pub notes: Vec<String>,
}
