//! From judgements to steps: each credential that something is done about, with the reason and the
//! terms.

use std::time::Duration;

use super::judge::{
    change_of_issuer, judge_authority, key_not_made, kubelet_repaired_here, new_end, not_known,
};
use super::steps::{Judged, Plan, Request, Step, Terms};
use crate::model::{
    Action, AuthorityCondition, AuthorityFacts, Material, Policy, Renewal, Signer, Timestamp,
};

/// A forced renewal that moves the expiry back by less than this is not reported.
const SHORTER_TOLERANCE: Duration = Duration::from_secs(3_600);

/// Turns judgements into steps, but for what is copied: that follows from the others.
#[must_use]
pub fn plan(judged: &[Judged], request: &Request, policy: &Policy, now: Timestamp) -> Plan {
    let asked = judged.iter().filter(|judged| request.covers(&judged.facts.credential.name));
    Plan { steps: asked.filter_map(|judged| step(judged, request, policy, now)).collect() }
}

fn step(judged: &Judged, request: &Request, policy: &Policy, now: Timestamp) -> Option<Step> {
    let (mut action, mut reason) = (judged.judgement.action, judged.judgement.reason.clone());
    if request.force && can_be_forced(judged, request, now) && !action.issues() {
        let change = change_of_issuer(&judged.facts, judged.authority.as_ref(), now);
        let refusal =
            key_not_made(&judged.facts, policy).or_else(|| shorter(judged, request, policy, now));
        (action, reason) = match refusal {
            _ if let Some(change) = change => (Action::Error, with(reason, &change)),
            Some(refusal) => (Action::Error, refusal),
            None if request.names.is_empty() => {
                (Action::Renew, format!("asked for with --force; {reason}"))
            }
            None => (Action::Renew, format!("asked for {}; {reason}", request.names)),
        };
    }
    if matches!(action, Action::Nothing | Action::Copy) {
        return None;
    }
    let terms = judged
        .authority
        .as_ref()
        .filter(|_| action.issues())
        .and_then(|authority| terms(authority, policy, now));
    Some(Step { credential: judged.facts.credential.name.clone(), action, reason, terms })
}

/// The reason with more, where that is not said already.
fn with(reason: String, more: &str) -> String {
    if reason.contains(more) { reason } else { format!("{reason}; {more}") }
}

/// Whether a credential that is usable can be issued anew all the same: never a foreign one but
/// kubelet's, never without a usable authority.
fn can_be_forced(judged: &Judged, request: &Request, now: Timestamp) -> bool {
    let usable = |facts: &AuthorityFacts| {
        judge_authority(facts, Duration::ZERO, now).condition == AuthorityCondition::Usable
    };
    if not_known(&judged.facts, now).is_some() {
        return false;
    }
    let ours = judged.facts.credential.renewal == Renewal::Ours
        && judged.facts.material.leaf().is_some_and(|leaf| leaf.signer == Signer::Authority);
    // kubelet's own is kubelet's business: only by its name.
    let kubelets = request.only.contains(&judged.facts.credential.name)
        && kubelet_repaired_here(&judged.facts).is_some_and(|client| client.obstacle().is_none());
    (ours || kubelets) && judged.authority.as_ref().is_some_and(usable)
}

/// Why a forced renewal would do harm: the new certificate would expire before the present one,
/// which is valid.
fn shorter(judged: &Judged, request: &Request, policy: &Policy, now: Timestamp) -> Option<String> {
    let Material::Whole(leaf) = &judged.facts.material else { return None };
    let new = judged.authority.as_ref().and_then(|authority| terms(authority, policy, now))?;
    let is_valid = leaf.not_before <= now && now <= leaf.not_after;
    let is_shorter = new.not_after.plus(SHORTER_TOLERANCE) < leaf.not_after;
    (is_valid && is_shorter && !request.allow_shorter).then(|| {
        format!(
            "would expire {}, earlier than the present certificate ({}): --allow-shorter renews \
             it anyway",
            new.not_after, leaf.not_after
        )
    })
}

/// Valid from a little before now, so that clients whose clocks are behind accept it, but never
/// from before its authority is; until the configured validity or the authority's end.
#[must_use]
pub fn terms(authority: &AuthorityFacts, policy: &Policy, now: Timestamp) -> Option<Terms> {
    let certificate = authority.state.certificate(now)?;
    Some(terms_by(certificate.not_before, certificate.not_after, policy, now))
}

/// The same by the validity of a CA certificate.
#[must_use]
pub fn terms_by(begin: Timestamp, end: Timestamp, policy: &Policy, now: Timestamp) -> Terms {
    let not_before = now.minus(policy.backdate).max(begin);
    Terms { not_before, not_after: new_end(policy, end, now) }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
