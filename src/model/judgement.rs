//! What is thought of the facts: the condition of a credential or an authority, and what is to be
//! done about it.

use std::fmt;
use std::time::Duration;

use super::{KeyChoice, Timestamp};

/// When something is due. Valid once made: see the settings, which refuse what would renew for
/// ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A credential with this much life left, or less, is due.
    pub renew_before: Duration,
    /// A credential with this much life left, or less, is urgent: nothing holds its renewal back
    /// any more.
    pub urgent_before: Duration,
    /// How long a renewed credential is valid, unless its authority ends earlier.
    pub validity: Duration,
    /// How far before the present a renewed credential's validity begins, for clients whose clocks
    /// are behind.
    pub backdate: Duration,
    /// The kind of key that a renewed credential gets.
    pub key: KeyChoice,
}

/// Re-issuing must move a credential's end by at least this much to be worth it. Near the end of
/// its authority nothing is due for that reason: whatever was issued would end with the authority,
/// and be due again at once.
pub const LEAST_GAIN: Duration = Duration::from_secs(86_400);

macro_rules! conditions {
    ($(#[$doc:meta])* $type:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant),* }

        impl $type {
            /// All of them, in the order of the written table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The words used in output.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

conditions! {
    /// The state of a credential.
    Condition {
        /// Enough life left.
        Fresh = "fresh",
        /// It expires soon, and its renewal may be deferred.
        Due = "due",
        /// Hardly any life left.
        Urgent = "urgent",
        /// No life left.
        Expired = "expired",
        /// Its validity begins in the future.
        NotYetValid = "not yet valid",
        /// Signed with SHA-1, which Kubernetes refuses from 1.24 on.
        Sha1 = "signed with SHA-1",
        /// Little life left, and its authority has no more to give.
        EndsWithAuthority = "expires with its CA",
        /// Not there, and need not be.
        Absent = "absent",
        /// A kubeconfig whose current user authenticates without a certificate.
        NoCertificate = "no certificate",
        /// Not there, and needed.
        Missing = "missing",
        /// A certificate without its key.
        KeyMissing = "key missing",
        /// A key without its certificate.
        CertificateMissing = "certificate missing",
        /// A certificate and a key that does not fit it or can't be used.
        Mismatched = "key does not fit",
        /// A file that holds no certificate.
        Damaged = "damaged",
        /// A file that can't be read, or in a form that is not touched.
        Unreadable = "unreadable",
        /// Signed by another CA than its own.
        ForeignIssuer = "foreign issuer",
        /// Signed by its own key.
        SelfSigned = "self-signed",
        /// A copy that holds what its original holds.
        InStep = "in step",
        /// A copy that holds an earlier certificate of its original.
        Behind = "behind",
        /// A copy that holds something else.
        Changed = "changed by another program",
    }
}

impl Condition {
    /// Those that a copy can be in and nothing else.
    pub const OF_COPIES: &[Self] = &[Self::InStep, Self::Behind, Self::Changed];

    /// Those that a credential can be in which is no copy, in the order of the written table.
    pub fn of_originals() -> impl Iterator<Item = &'static Self> {
        Self::ALL.iter().filter(|condition| !Self::OF_COPIES.contains(condition))
    }
}

conditions! {
    /// The state of an authority.
    AuthorityCondition {
        /// It can sign.
        Usable = "usable",
        /// Its key is not on this node.
        External = "external",
        /// It is past its end.
        Expired = "expired",
        /// Its validity begins in the future.
        NotYetValid = "not yet valid",
        /// Its key is here and can't be used, or does not fit.
        KeyUnusable = "key unusable",
        /// Its certificate is not there.
        Absent = "absent",
        /// Its certificate can't be read.
        Unreadable = "unreadable",
        /// Its certificate is none of a CA.
        NotARoot = "not a root",
    }
}

conditions! {
    /// The state of the CA certificates of a kubeconfig.
    TrustCondition {
        /// The API server's certificate verifies by them.
        Trusted = "trusted",
        /// They expire soon, and the authority's own certificate later.
        ExpiresSoon = "expires soon",
        /// They have expired.
        Expired = "expired",
        /// The API server's certificate does not verify by them.
        Untrusted = "not trusted",
        /// They are for a server that is not known here.
        OtherServer = "other server",
        /// There are none.
        None = "none",
        /// They can't be read.
        Unreadable = "unreadable",
    }
}

conditions! {
    /// What is done about a credential.
    Action {
        /// Nothing.
        Nothing = "nothing",
        /// Nothing by kubecertd: it is reported, for an operator to act on.
        Report = "report",
        /// It is issued anew, with a new key.
        Renew = "renew",
        /// It is issued anew after its latest backup.
        Repair = "repair from backup",
        /// It is lost, and issued by what the profile says of it.
        Make = "make by the profile",
        /// It is a copy, and its original is copied again.
        Copy = "copy",
        /// Something is wrong that needs an operator.
        Error = "error",
    }
}

impl Action {
    /// Whether a certificate is issued.
    #[must_use]
    pub fn issues(self) -> bool {
        matches!(self, Self::Renew | Self::Repair | Self::Make)
    }
}

/// How urgent a renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing needs to be done.
    Comfortable,
    /// It may be deferred.
    Due,
    /// It can't wait.
    Urgent,
    /// It is too late already.
    Expired,
}

impl Condition {
    /// The urgency of a credential in this state. A broken one is as urgent as an expired one.
    #[must_use]
    pub fn urgency(self) -> Urgency {
        match self {
            Self::Fresh
            | Self::Absent
            | Self::NoCertificate
            | Self::EndsWithAuthority
            | Self::ForeignIssuer
            | Self::SelfSigned => Urgency::Comfortable,
            Self::InStep | Self::Behind | Self::Changed => Urgency::Comfortable,
            Self::Due => Urgency::Due,
            // Kubernetes before 1.24 still accepts it, and any update makes it useless.
            Self::Sha1 => Urgency::Urgent,
            Self::Urgent => Urgency::Urgent,
            Self::Expired
            | Self::NotYetValid
            | Self::Missing
            | Self::KeyMissing
            | Self::CertificateMissing => Urgency::Expired,
            Self::Mismatched | Self::Damaged | Self::Unreadable => Urgency::Expired,
        }
    }
}

/// What is thought of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its state.
    pub condition: Condition,
    /// What is done about it.
    pub action: Action,
    /// Why, in words for an operator.
    pub reason: String,
    /// Whether it needs attention: it is due, or it is wrong.
    pub attention: bool,
}

/// What is thought of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityJudgement {
    /// Its state.
    pub condition: AuthorityCondition,
    /// What to say of it; empty when there is nothing to say.
    pub reason: String,
    /// Whether it needs attention: it can't be used, or expires soon.
    pub attention: bool,
}

/// What is thought of the CA certificates of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustJudgement {
    /// Their state.
    pub condition: TrustCondition,
    /// Why, in words for an operator.
    pub reason: String,
    /// The end of the one that lasts longest, of those that matter.
    pub not_after: Option<Timestamp>,
    /// Whether it needs attention.
    pub attention: bool,
}
