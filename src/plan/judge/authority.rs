//! The state table of an authority.

use std::time::Duration;

use crate::model::{
    AuthorityCertificate, AuthorityCondition, AuthorityFacts, AuthorityJudgement, AuthorityKey,
    AuthorityState, Need, Relations, Timestamp,
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
    // That the key is not on a worker needs no word.
    let is_usual = condition == AuthorityCondition::External && facts.authority.key_elsewhere;
    let trouble = if is_usual { String::new() } else { authority_reason(facts, condition, now) };
    let ends_soon = ends_soon.map(|end| {
        format!(
            "expires {}: plan its rotation, no certificate that it signs is valid for \
            longer",
            remaining(now, end)
        )
    });
    let other = facts.state.next_other_to_expire(now);
    let other_ends_soon =
        other.filter(|other| other.not_after <= now.plus(warn_before)).map(|other| {
            format!(
                "{} (serial {}), which is trusted besides, expires {}: what it signed is not \
                 accepted from then on",
                other.subject,
                other.serial,
                remaining(now, other.not_after)
            )
        });
    let reasons = [trouble].into_iter().filter(|reason| !reason.is_empty());
    let reasons = reasons.chain(ends_soon).chain(other_ends_soon).chain(warnings(facts));
    let reason = reasons.collect::<Vec<_>>().join("; ");
    let wrong = match condition {
        AuthorityCondition::Usable | AuthorityCondition::External => false,
        AuthorityCondition::Absent => facts.authority.need != Need::Optional,
        _ => true,
    };
    AuthorityJudgement { condition, reason, attention: wrong }
}

/// Faults that stop nothing.
fn warnings(facts: &AuthorityFacts) -> impl Iterator<Item = String> {
    let Relations { issuer, twin, .. } = &facts.relations;
    let intermediate = issuer.as_ref().map(|issuer| {
        format!(
            "it is an intermediate CA, issued by {issuer}: Kubernetes and kubeadm do not support \
             that, because only Go takes it as a trust anchor, and other clients (OpenSSL, Java) \
             ask for the root; do not add the root to {}, or each client certificate that any CA \
             below the root signed is accepted",
            facts.authority.certificate
        )
    });
    let shared = twin.as_ref().map(|twin| {
        let may = facts.authority.clients_may.as_deref();
        let may = may.unwrap_or("log in at the servers that trust this one");
        format!(
            "it is the same CA as {twin}: each client certificate that {twin} signs may {may}; \
             give it a CA of its own"
        )
    });
    intermediate.into_iter().chain(shared)
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
             request for its holder",
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
        format!("its CA {}: {reason}", facts.authority.name)
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
