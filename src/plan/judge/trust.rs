//! The state table of the CA certificates in a kubeconfig: whether its server verifies by them, and
//! for how long.

use std::time::Duration;

use crate::model::{
    AuthorityFacts, Timestamp, TrustCondition, TrustFacts, TrustJudgement, TrustSource, TrustedCa,
};
use crate::plan::words::remaining;

/// What is thought of the CA certificates of a kubeconfig. `within` is how long before the end of
/// the last one that is reported, where the authority's own certificate lasts longer.
#[must_use]
pub fn judge_trust(
    facts: &TrustFacts,
    authority: Option<&AuthorityFacts>,
    within: Duration,
    now: Timestamp,
) -> TrustJudgement {
    let certificates = match &facts.certificates {
        Ok(certificates) => certificates,
        Err(reason) => {
            let reason = format!("{} can't be read: {reason}", source(facts));
            return judgement(TrustCondition::Unreadable, reason, None);
        }
    };
    if certificates.is_empty() {
        let reason = "no certificate-authority: it trusts the CAs of the system".to_owned();
        return judgement(TrustCondition::None, reason, None);
    }
    let verifying: Vec<_> = certificates.iter().filter(|one| one.verifies).collect();
    let is_own = !verifying.is_empty() || facts.is_own_server;
    // Of another server only the dates can be judged.
    let used = if is_own { verifying } else { certificates.iter().collect() };
    let Some(last) = last(&used, now) else {
        let reason = untrusted(facts, certificates);
        return judgement(TrustCondition::Untrusted, reason, None);
    };
    let end = Some(last.not_after);
    let left = remaining(now, last.not_after);
    let shown = format!("{}: {} (serial {})", source(facts), last.subject, last.serial);
    if !last.is_valid_at(now) {
        let state = if now > last.not_after { "expired" } else { "is valid only" };
        let reason = format!("{shown} {state} {left}; {}", remedy(facts));
        return judgement(TrustCondition::Expired, reason, end);
    }
    let lasting = authority.and_then(|facts| facts.state.certificate(now));
    let outlived = lasting.is_none_or(|one| one.not_after > last.not_after);
    if last.not_after <= now.plus(within) && (outlived || !is_own) {
        let reason = format!(
            "{shown} expires {left}, and the certificates that it verifies are not trusted then; \
             {}",
            remedy(facts)
        );
        return judgement(TrustCondition::ExpiresSoon, reason, end);
    }
    if is_own {
        judgement(TrustCondition::Trusted, format!("{shown} expires {left}"), end)
    } else {
        let reason = format!("{shown}, which is not a CA of this node's API server");
        judgement(TrustCondition::OtherServer, reason, end)
    }
}

fn judgement(
    condition: TrustCondition,
    reason: String,
    not_after: Option<Timestamp>,
) -> TrustJudgement {
    use TrustCondition as T;
    let attention = matches!(condition, T::Untrusted | T::Expired | T::ExpiresSoon | T::Unreadable);
    TrustJudgement { condition, reason, not_after, attention }
}

/// The one that is valid and expires last, or else the last that was valid.
fn last<'c>(used: &[&'c TrustedCa], now: Timestamp) -> Option<&'c TrustedCa> {
    used.iter().max_by_key(|one| (one.is_valid_at(now), one.not_after)).copied()
}

fn untrusted(facts: &TrustFacts, certificates: &[TrustedCa]) -> String {
    let held: Vec<_> =
        certificates.iter().map(|one| format!("{} (serial {})", one.subject, one.serial)).collect();
    let issuer = facts.served_by.as_deref().unwrap_or("another CA");
    format!(
        "{}: the API server's certificate, issued by {issuer}, does not verify by {}; {}",
        source(facts),
        held.join(", "),
        remedy(facts)
    )
}

fn source(facts: &TrustFacts) -> String {
    match &facts.source {
        TrustSource::Embedded => "certificate-authority-data".to_owned(),
        TrustSource::File(file) => format!("certificate-authority {file}"),
        TrustSource::None => "certificate-authority".to_owned(),
    }
}

fn remedy(facts: &TrustFacts) -> String {
    let name = &facts.authority;
    match &facts.source {
        TrustSource::Embedded => format!(
            "put the certificates of its CA there (those that kubecertd ca export prints, where it \
             is {name}), and restart the programs that use it"
        ),
        TrustSource::File(file) => {
            format!(
                "put the certificates of its CA into {file}, and restart the programs that \
                use it"
            )
        }
        TrustSource::None => "correct its certificate-authority".to_owned(),
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
