//! The findings of a recovery.

use crate::model::CredentialName;

/// What was found and done at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Credentials whose replacement was begun by an earlier process and is finished now.
    pub finished: Vec<CredentialName>,
    /// Credentials whose replacement was journaled, but which somebody else has changed since: left
    /// as they are.
    pub dropped: Vec<CredentialName>,
    /// How many staged files that nobody waits for were removed.
    pub swept: usize,
    /// What an operator should know.
    pub notes: Vec<String>,
}
