//! From judgements to steps: each credential that something is done about, with the reason and the
//! terms.

use std::collections::BTreeSet;

use super::judge::new_end;
use super::kubelet::healed_here;
use crate::model::{
    Action, AuthorityFacts, CredentialFacts, CredentialName, Judgement, Policy, Renewal, SanChange,
    Signer, Timestamp,
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
    /// Also what ended long ago on one controller of several.
    pub revive: bool,
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
    /// The steps, in the order of the catalog. Credentials that are well have none.
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

/// Turns judgements into steps, but for what is copied: that follows from the others.
#[must_use]
pub fn plan(judged: &[Judged], request: &Request, policy: &Policy, now: Timestamp) -> Plan {
    let asked = judged.iter().filter(|judged| request.covers(&judged.facts.credential.name));
    Plan { steps: asked.filter_map(|judged| step(judged, request, policy, now)).collect() }
}

fn step(judged: &Judged, request: &Request, policy: &Policy, now: Timestamp) -> Option<Step> {
    let (mut action, mut reason) = (judged.judgement.action, judged.judgement.reason.clone());
    if request.force
        && can_be_forced(judged, request, now)
        && !matches!(action, Action::Renew | Action::Repair)
    {
        action = Action::Renew;
        reason = if request.names.is_empty() {
            format!("asked for with --force; {reason}")
        } else {
            format!("asked for {}; {reason}", request.names)
        };
    }
    if matches!(action, Action::Nothing | Action::Copy) {
        return None;
    }
    let issues = matches!(action, Action::Renew | Action::Repair);
    let terms = judged
        .authority
        .as_ref()
        .filter(|_| issues)
        .and_then(|authority| terms(authority, policy, now));
    Some(Step { credential: judged.facts.credential.name.clone(), action, reason, terms })
}

/// Whether a credential that is well can be issued anew all the same: never a foreign one but
/// kubelet's, never without a usable authority.
fn can_be_forced(judged: &Judged, request: &Request, now: Timestamp) -> bool {
    let usable = |facts: &AuthorityFacts| {
        super::judge_authority(facts, std::time::Duration::ZERO, now).condition
            == crate::model::AuthorityCondition::Usable
    };
    let ours = judged.facts.credential.renewal == Renewal::Ours
        && judged.facts.material.leaf().is_some_and(|leaf| leaf.signer == Signer::Authority);
    // kubelet's own is kubelet's business: only by its name.
    let kubelets = request.only.contains(&judged.facts.credential.name)
        && healed_here(&judged.facts).is_some_and(|client| client.node.is_ok());
    (ours || kubelets) && judged.authority.as_ref().is_some_and(usable)
}

/// Valid from a little before now, so that clients whose clocks are behind accept it, but never
/// from before its authority is; until the configured validity or the authority's end.
fn terms(authority: &AuthorityFacts, policy: &Policy, now: Timestamp) -> Option<Terms> {
    let certificate = authority.state.certificate()?;
    let not_before = now.minus(policy.backdate).max(certificate.not_before);
    Some(Terms { not_before, not_after: new_end(policy, certificate.not_after, now) })
}
