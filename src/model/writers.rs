//! The users besides root who can write a credential's files, and whether the certificate there is
//! the credential's own.
//!
//! A certificate is public: a user can put any one into a file. A new key for it would give the
//! user what the certificate stands for.

use super::Timestamp;

/// What is known of a credential whose files others than root can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherWriters {
    /// The file or directory that lets them, and its owner or mode.
    pub through: String,
    /// Whether the certificate in the files is the credential's own.
    pub identity: Identity,
    /// When a certificate was last issued for the credential here.
    pub issued: Option<Timestamp>,
}

/// Whether a certificate is for the subject that its credential is known to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It is: by what is remembered, by a backup, or by the profile and the manifests.
    Known,
    /// Nothing says whom the credential is for.
    Unknown,
    /// It is for the known subject, with other names or usages.
    OtherNames,
    /// It is for another subject; the known one.
    OtherSubject(String),
}
