//! The state table of an authority.

use std::time::Duration;

use crate::model::{
    AuthorityCertificate, AuthorityCondition, AuthorityFacts, AuthorityJudgement, AuthorityKey,
    AuthorityState, Need, Timestamp,
};
use crate::plan::words::remaining;

/// What is thought of an authority. `warn_before` is how long before its end that is said.
#[must_use]
pub fn judge_authority(
    facts: &AuthorityFacts,
    warn_before: Duration,
    now: Timestamp,
) -> AuthorityJudgement {
    let condition = authority_condition(&facts.state, now);
    let end = facts.state.certificate(now).map(|certificate| certificate.not_after);
    let ends_soon = end.filter(|end| now <= *end && *end <= now.plus(warn_before));
    let mut reason = authority_reason(facts, condition, now);
    if let Some(end) = ends_soon {
        let comma = if reason.is_empty() { "" } else { "; " };
        reason = format!(
            "{reason}{comma}ends {}: plan its rotation, nothing it signs outlives it",
            remaining(now, end)
        );
    }
    let wrong = match condition {
        AuthorityCondition::Usable | AuthorityCondition::External => false,
        AuthorityCondition::Absent => facts.authority.need != Need::Optional,
        _ => true,
    };
    AuthorityJudgement { condition, reason, attention: wrong }
}

pub(super) fn authority_condition(state: &AuthorityState, now: Timestamp) -> AuthorityCondition {
    let key = match state {
        AuthorityState::Absent => return AuthorityCondition::Absent,
        AuthorityState::Unreadable(_) => return AuthorityCondition::Unreadable,
        AuthorityState::NotARoot(_) => return AuthorityCondition::NotARoot,
        AuthorityState::Present { key, .. } => key,
    };
    match (state.certificate(now), key) {
        (None, _) => AuthorityCondition::NotARoot,
        (Some(signer), _) if now > signer.not_after => AuthorityCondition::Expired,
        (Some(signer), _) if now < signer.not_before => AuthorityCondition::NotYetValid,
        (_, AuthorityKey::Absent) => AuthorityCondition::External,
        (_, AuthorityKey::Unusable(_)) => AuthorityCondition::KeyUnusable,
        (_, AuthorityKey::Usable) => AuthorityCondition::Usable,
    }
}

fn authority_reason(
    facts: &AuthorityFacts,
    condition: AuthorityCondition,
    now: Timestamp,
) -> String {
    let authority = &facts.authority;
    let date = |pick: fn(&AuthorityCertificate) -> Timestamp| {
        facts.state.certificate(now).map(pick).unwrap_or_default()
    };
    match (condition, &facts.state) {
        (AuthorityCondition::Usable, _) => String::new(),
        (AuthorityCondition::External, _) => format!(
            "external: {} is not on this node, so nothing is signed here; kubecertd csr makes a \
             request for who has it",
            authority.key
        ),
        (AuthorityCondition::Expired, _) => {
            format!(
                "{} expired {}: nothing is signed with it",
                authority.certificate,
                remaining(now, date(|c| c.not_after))
            )
        }
        (AuthorityCondition::NotYetValid, _) => {
            format!(
                "{} is not valid before {}: nothing is signed with it; is the clock right?",
                authority.certificate,
                date(|c| c.not_before)
            )
        }
        (AuthorityCondition::Absent, _) => format!("{} does not exist", authority.certificate),
        (_, AuthorityState::Present { key: AuthorityKey::Unusable(text), .. }) => text.clone(),
        (_, AuthorityState::Unreadable(text) | AuthorityState::NotARoot(text)) => text.clone(),
        (_, AuthorityState::Absent | AuthorityState::Present { .. }) => String::new(),
    }
}

pub(super) fn authority_trouble(facts: &AuthorityFacts, now: Timestamp) -> String {
    let reason = authority_reason(facts, authority_condition(&facts.state, now), now);
    if reason.is_empty() {
        String::new()
    } else {
        format!("its authority {}: {reason}", facts.authority.name)
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
