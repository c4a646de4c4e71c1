//! What a plan is made from and made of: judged credentials, a request, and steps.

use std::collections::BTreeSet;

use super::judge::policy_for;
use crate::model::{
    Action, AuthorityFacts, CredentialFacts, CredentialName, Judgement, Policy, SanChange,
    Timestamp,
};

/// A credential with all that is known and thought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What was found.
    pub facts: CredentialFacts,
    /// What was found of its authority, if it names one.
    pub authority: Option<AuthorityFacts>,
    /// What is thought of it.
    pub judgement: Judgement,
}

impl Judged {
    /// The policy for it, by the life of its certificate.
    #[must_use]
    pub fn policy(&self, policy: &Policy, now: Timestamp) -> Policy {
        policy_for(&self.facts, self.authority.as_ref(), policy, now)
    }

    /// The one of that name.
    #[must_use]
    pub fn find<'j>(all: &'j [Self], name: &CredentialName) -> Option<&'j Self> {
        all.iter().find(|judged| judged.facts.credential.name == *name)
    }
}

/// What an operator, or the schedule, asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Only these; all when empty.
    pub only: BTreeSet<CredentialName>,
    /// Also what has enough life left.
    pub force: bool,
    /// Also where the new certificate would expire before the present one.
    pub allow_shorter: bool,
    /// Also what ended long ago on one controller of several.
    pub include_long_expired: bool,
    /// With other names than it had; then it is for one credential, and forced.
    pub names: SanChange,
}

impl Request {
    /// Whether a credential is among what was asked for.
    #[must_use]
    pub fn covers(&self, name: &CredentialName) -> bool {
        self.only.is_empty() || self.only.contains(name)
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in the order of the catalog. Credentials that need nothing have none.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The steps that issue something.
    pub fn issuing(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.terms.is_some())
    }
}

/// One thing that is done or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The credential.
    pub credential: CredentialName,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The dates of what is issued; `None` where nothing is.
    pub terms: Option<Terms>,
}

/// The dates of a certificate to be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
}
