//! The copies that follow their originals in a pass.

use std::collections::BTreeSet;

use super::deferral::deferral;
use super::steps::{Judged, Plan, Request, Step};
use crate::model::{
    Action, Constraints, CopyOf, CredentialName, Deferral, Material, Policy, Timestamp,
};

/// Adds what copies do in the pass: those of what is renewed follow at once; others that are behind
/// when there is no reason to wait, or no time left.
#[must_use]
pub fn with_copies(
    (mut plan, mut deferred): (Plan, Vec<Deferral>),
    judged: &[Judged],
    request: &Request,
    policy: &Policy,
    constraints: &Constraints,
    now: Timestamp,
) -> (Plan, Vec<Deferral>) {
    let renewed: BTreeSet<CredentialName> =
        plan.issuing().map(|step| step.credential.clone()).collect();
    for one in judged {
        let Some(of) = one.facts.credential.copy_of().filter(|of| covers(request, one, of)) else {
            continue;
        };
        let follows =
            renewed.contains(&of.original) && matches!(one.facts.material, Material::Whole(_));
        let step = |reason| Step {
            credential: one.facts.credential.name.clone(),
            action: Action::Copy,
            reason,
            terms: None,
        };
        if follows {
            plan.steps.push(step(format!("follows {}, which is renewed", of.original)));
        } else if one.judgement.action == Action::Copy {
            match waits(one, request, policy, constraints, now) {
                Some(waits) => deferred.push(waits),
                None => plan.steps.push(step(one.judgement.reason.clone())),
            }
        }
    }
    (plan, deferred)
}

/// Who asks for the original asks for its copies.
fn covers(request: &Request, judged: &Judged, of: &CopyOf) -> bool {
    request.covers(&judged.facts.credential.name) || request.covers(&of.original)
}

fn waits(
    judged: &Judged,
    request: &Request,
    policy: &Policy,
    constraints: &Constraints,
    now: Timestamp,
) -> Option<Deferral> {
    let leaf = judged.facts.material.leaf()?;
    let urgent_from = leaf.accepted_until().minus(judged.policy(policy, now).urgent_before);
    if request.force || urgent_from <= now {
        return None;
    }
    deferral(judged.facts.credential.name.clone(), &constraints.reasons, Some(urgent_from))
}

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;
