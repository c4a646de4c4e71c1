//! Copies: what is thought of one, and which of them follow their originals in a pass.

use std::collections::BTreeSet;

use super::patience::held;
use super::steps::{Judged, Plan, Request, Step};
use super::words::remaining;
use crate::model::{
    Action, Brakes, Condition, CopyOf, CredentialFacts, CredentialName, Deferred, Judgement,
    Material, Policy, Timestamp,
};

/// What is thought of a copy. Its dates are its original's business.
pub(super) fn judge_copy(facts: &CredentialFacts, of: &CopyOf, now: Timestamp) -> Judgement {
    let original = &of.original;
    let held = facts.copy.as_ref().map(|copy| &copy.original);
    let (condition, action, reason) = match (&facts.material, held) {
        (Material::Absent, _) if of.found => (
            Condition::Absent,
            Action::Nothing,
            format!("holds nothing of {original}'s, so it is no copy of it"),
        ),
        (Material::Absent, _) => (
            Condition::Absent,
            Action::Nothing,
            "not there, and a copy is not made where there is none".to_owned(),
        ),
        (Material::Whole(leaf), Some(Ok(fingerprint))) if leaf.fingerprint == *fingerprint => (
            Condition::InStep,
            Action::Nothing,
            format!(
                "holds what {original} holds, which expires {}",
                remaining(now, leaf.not_after)
            ),
        ),
        (Material::Whole(leaf), Some(Ok(_))) => {
            let end = remaining(now, leaf.not_after);
            let expires = if now > leaf.not_after { "expired" } else { "expires" };
            (
                Condition::Behind,
                Action::Copy,
                format!("holds an earlier certificate of {original}, which {expires} {end}"),
            )
        }
        // What it should hold, nobody knows just now.
        (Material::Whole(_) | Material::Changed(_), Some(Err(why))) => (
            Condition::Behind,
            Action::Report,
            format!("follows {original}, which can't be copied now: {why}"),
        ),
        (Material::Changed(text), _) => {
            (Condition::Changed, Action::Report, format!("{text}; {}", remedy(original)))
        }
        (Material::Unreadable(text), _) => {
            (Condition::Unreadable, Action::Report, format!("{text}; it is left as it is"))
        }
        // Nothing else is said of a copy.
        _ => (
            Condition::Unreadable,
            Action::Report,
            "could not be looked at; it is left as it is".to_owned(),
        ),
    };
    // Where the original is broken, that is what needs attention.
    let attention =
        matches!(condition, Condition::Changed | Condition::Unreadable) || action == Action::Copy;
    Judgement { condition, action, reason, attention }
}

fn remedy(original: &CredentialName) -> String {
    format!(
        "it is left as it is. To have it follow again, put what {original} holds into it; else \
         take it out of the configuration"
    )
}

/// Adds what copies do in the pass: those of what is renewed follow at once; others that are behind
/// when there is no reason to wait, or no time left.
#[must_use]
pub fn with_copies(
    (mut plan, mut deferred): (Plan, Vec<Deferred>),
    judged: &[Judged],
    request: &Request,
    policy: &Policy,
    brakes: &Brakes,
    now: Timestamp,
) -> (Plan, Vec<Deferred>) {
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
            match waits(one, request, policy, brakes, now) {
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
    brakes: &Brakes,
    now: Timestamp,
) -> Option<Deferred> {
    let urgent_from = judged.facts.material.leaf()?.not_after.minus(policy.urgent_before);
    if request.force || urgent_from <= now {
        return None;
    }
    held(judged.facts.credential.name.clone(), &brakes.holds, Some(urgent_from))
}

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;
