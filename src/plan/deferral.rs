//! Whether a pass may act now: what the clock is worth, what there is to wait for, and which steps
//! wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::steps::{Judged, Plan, Request, Step};
use super::words::{remaining, span};
use crate::model::{
    Awaited, ClockFacts, ClockTrust, Condition, Constraints, CredentialName, Deferral,
    DeferralFacts, DeferralReason, Hold, Material, OtherWriters, Policy, QUIET, Refused, Timestamp,
    Urgency, days,
};

/// The release of this version, 2026-11-01T00:00:00Z: a clock that says an earlier time is wrong.
pub const RELEASED: Timestamp = Timestamp::from_seconds(1_793_491_200);

/// Three years, leap day included. A node is rarely off for longer, and a clock that lost its
/// battery rarely off by less.
const LONGEST_ABSENCE: Duration = days(1_096);

/// How long after its expiry a credential of one control-plane node of several is renewed without
/// an operator's word.
const LONG: Duration = days(30);

/// How often a credential is issued whose files others than root can write.
const ISSUE_INTERVAL: Duration = days(1);

/// Judges the clock. `trust` is an operator's word for a clock that would not be trusted.
///
/// Where no last time is remembered, or one that can't be, the release counts as the last time.
#[must_use]
pub fn judge_clock(clock: &ClockFacts, trust: bool) -> ClockTrust {
    let synchronised = clock.synchronised == Some(true);
    match doubt(clock, synchronised) {
        Some(_) if trust => ClockTrust::TrustedUnsynchronised,
        Some(doubt) => ClockTrust::NotTrusted(format!(
            "{doubt}: nothing is signed until it is trusted; set the clock, or run kubecertd \
             renew --trust-clock"
        )),
        None if synchronised => ClockTrust::Trusted,
        None => ClockTrust::TrustedUnsynchronised,
    }
}

fn doubt(clock: &ClockFacts, synchronised: bool) -> Option<String> {
    let now = clock.now;
    if now < RELEASED {
        return Some(format!("the clock says {now}, before kubecertd was released ({RELEASED})"));
    }
    let (last, what) = match clock.last_seen {
        Some(last) if last > RELEASED => (last, "it was last trusted"),
        _ => (RELEASED, "kubecertd was released"),
    };
    let absence = Duration::from_secs(u64::try_from(now.seconds_since(last)).unwrap_or(0));
    (!synchronised && absence > LONGEST_ABSENCE).then(|| {
        format!(
            "the clock says {now}, {} after {what} ({last}), and is not synchronised",
            span(absence)
        )
    })
}

/// What is remembered as the last time seen: nothing of a clock that is not trusted, and nothing
/// earlier than before of one that may be behind.
#[must_use]
pub fn last_seen(clock: &ClockFacts, clock_trust: &ClockTrust) -> Option<Timestamp> {
    match clock_trust {
        ClockTrust::Trusted => Some(clock.now),
        ClockTrust::TrustedUnsynchronised => {
            Some(clock.last_seen.map_or(clock.now, |last| last.max(clock.now)))
        }
        ClockTrust::NotTrusted(_) => clock.last_seen,
    }
}

/// The policy for a plan made by this clock. Where it may be ahead, what is issued begins with its
/// authority: no later beginning is sure to be in the past.
#[must_use]
pub fn policy_for_clock(policy: Policy, clock_trust: &ClockTrust) -> Policy {
    match clock_trust {
        ClockTrust::Trusted => policy,
        // The plan lets nothing begin before its authority.
        ClockTrust::TrustedUnsynchronised | ClockTrust::NotTrusted(_) => {
            Policy { backdate: Duration::MAX, ..policy }
        }
    }
}

/// The reasons to wait.
///
/// A manifest from the future, left by a clock that was ahead, counts as changed only while that
/// future is as near as the past would have to be: no file holds a renewal back for longer than
/// twice that time.
#[must_use]
pub fn deferral_reasons(facts: &DeferralFacts, now: Timestamp) -> Vec<DeferralReason> {
    let kubeadm = facts.kubeadm.map(|pid| DeferralReason::KubeadmRunning { pid });
    let recent = facts
        .manifests
        .iter()
        .filter(|(_, at)| at.seconds_since(now).unsigned_abs() < QUIET.as_secs());
    let manifest = recent
        .max_by_key(|(_, at)| *at)
        .map(|(file, at)| DeferralReason::ManifestsChanged { file: file.clone(), at: *at });
    let asked = facts
        .asked
        .as_ref()
        .filter(|Hold { until, .. }| now < *until)
        .map(|asked| DeferralReason::Hold(asked.clone()));
    kubeadm.into_iter().chain(manifest).chain(asked).collect()
}

/// Takes out of a plan what waits. By a clock that is not trusted nothing is issued. While there
/// is a reason to wait, nothing is issued that can wait, unless it was asked for with --force; nor
/// is, for a day, what a server refused; nor, without an operator's word, what ended long ago on
/// one controller of several. What is only said stays.
#[must_use]
pub fn defer(
    plan: Plan,
    judged: &[Judged],
    request: &Request,
    policy: &Policy,
    constraints: &Constraints,
    now: Timestamp,
) -> (Plan, Vec<Deferral>) {
    let mut deferred = Vec::new();
    let mut goes_ahead = |step: &Step| {
        let judged = Judged::find(judged, &step.credential);
        let waits = step.terms.and_then(|_| waits(step, judged, request, policy, constraints, now));
        let goes_ahead = waits.is_none();
        deferred.extend(waits);
        goes_ahead
    };
    let steps = plan.steps.into_iter().filter(|step| goes_ahead(step)).collect();
    (Plan { steps }, deferred)
}

fn waits(
    step: &Step,
    judged: Option<&Judged>,
    request: &Request,
    policy: &Policy,
    constraints: &Constraints,
    now: Timestamp,
) -> Option<Deferral> {
    let credential = step.credential.clone();
    if let ClockTrust::NotTrusted(reason) = &constraints.clock_trust {
        return Some(Deferral {
            credential,
            awaits: Awaited::Clock,
            reason: reason.clone(),
            until: None,
            urgent_from: None,
        });
    }
    if let Some(reason) =
        constraints.long_expired.get(&credential).filter(|_| !request.include_long_expired)
    {
        return Some(Deferral {
            credential,
            awaits: Awaited::Word,
            reason: reason.clone(),
            until: None,
            urgent_from: None,
        });
    }
    if let Some((reason, until)) = judged.and_then(|judged| issued_today(judged, request, now)) {
        return Some(Deferral {
            credential,
            awaits: Awaited::AnotherDay,
            reason,
            until: Some(until),
            urgent_from: None,
        });
    }
    if let Some(deferral) = judged.and_then(|judged| gone_for_now(judged, request, constraints)) {
        return Some(deferral);
    }
    let urgency =
        judged.map_or(Urgency::Comfortable, |judged| judged.judgement.condition.urgency());
    if request.force || urgency > Urgency::Due {
        return None;
    }
    let urgent_from = judged.and_then(|judged| urgent_from(judged, policy, now));
    if let Some(refused) = judged.and_then(|judged| refusal(judged, constraints)) {
        let (reason, until) = (refused.to_string(), Some(refused.until()));
        return Some(Deferral {
            credential,
            awaits: Awaited::AnotherDay,
            reason,
            until,
            urgent_from,
        });
    }
    deferral(credential, &constraints.reasons, urgent_from)
}

/// The deferral of files that are gone while kubeadm runs or an operator holds renewals: kubeadm
/// makes and removes the files of a node one by one, and they may be moved away for it.
fn gone_for_now(judged: &Judged, request: &Request, constraints: &Constraints) -> Option<Deferral> {
    let lost = judged.facts.kubelet.as_ref().is_some_and(|client| client.lost.is_some());
    if request.force || !(lost || judged.facts.material == Material::Absent) {
        return None;
    }
    let counts = |reason: &&DeferralReason| match reason {
        DeferralReason::KubeadmRunning { .. } | DeferralReason::Hold(_) => true,
        DeferralReason::ManifestsChanged { .. } | DeferralReason::New { .. } => false,
    };
    let reasons: Vec<_> = constraints.reasons.iter().filter(counts).cloned().collect();
    deferral(judged.facts.credential.name.clone(), &reasons, None)
}

/// Why a credential that others than root can write is not issued once more, and until when: they
/// could break it before every pass. An operator's word for this one counts.
fn issued_today(judged: &Judged, request: &Request, now: Timestamp) -> Option<(String, Timestamp)> {
    let OtherWriters { through, issued, .. } = judged.facts.other_writers.as_ref()?;
    let issued = issued.filter(|issued| *issued <= now)?;
    let until = issued.plus(ISSUE_INTERVAL);
    let name = &judged.facts.credential.name;
    (now < until && !request.only.contains(name)).then(|| {
        let reason = format!(
            "it was issued at {issued}, and {through}: where others than root can write, a \
             credential is issued once a day; kubecertd renew {name} does not wait"
        );
        (reason, until)
    })
}

/// A deferral for these reasons, if there are any.
pub(super) fn deferral(
    credential: CredentialName,
    reasons: &[DeferralReason],
    urgent_from: Option<Timestamp>,
) -> Option<Deferral> {
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let ends: Option<Vec<Timestamp>> = reasons.iter().map(DeferralReason::until).collect();
    let until = ends.and_then(|ends| ends.into_iter().max());
    (!reasons.is_empty()).then(|| Deferral {
        credential,
        awaits: Awaited::Moment,
        reason: texts.join("; "),
        until,
        urgent_from,
    })
}

/// What was refused beside the certificate that is in place.
fn refusal<'b>(judged: &Judged, constraints: &'b Constraints) -> Option<&'b Refused> {
    let in_place = judged.facts.material.leaf()?.fingerprint.to_string();
    let name = &judged.facts.credential.name;
    constraints
        .refused
        .iter()
        .find(|refused| refused.credential == *name && refused.fingerprint == in_place)
}

/// Of the refusals that are remembered, those that still keep something from being tried again.
#[must_use]
pub fn standing_refusals(refused: &[Refused], now: Timestamp) -> Vec<Refused> {
    // One from the future was noted by a clock that was ahead.
    refused.iter().filter(|refused| refused.at <= now && now < refused.until()).cloned().collect()
}

/// The credentials that expired more than 30 days ago on one control-plane node of several: such a
/// node may have been removed from its cluster meanwhile, or restored elsewhere, and must not
/// rejoin unasked. A credential without a date is as old as the rest of the node.
#[must_use]
pub fn long_expired(
    judged: &[Judged],
    members: usize,
    now: Timestamp,
) -> BTreeMap<CredentialName, String> {
    if members < 2 {
        return BTreeMap::new();
    }
    let ended_long_ago = |end: Timestamp| now > end.plus(LONG);
    let ends: Vec<Timestamp> =
        judged.iter().filter(|one| one.authority.is_some()).filter_map(end).collect();
    let node_is = !ends.is_empty()
        && ends.iter().all(|end| now > *end)
        && ends.iter().copied().any(ended_long_ago);
    let reason = |when: String| {
        format!(
            "{when}, and etcd has {members} members: this control-plane node may have been \
             removed from its cluster since, or restored elsewhere; if it still belongs to it, \
             kubecertd renew --include-long-expired renews it"
        )
    };
    let gone = judged.iter().filter_map(|one| {
        let when = match end(one) {
            Some(end) => {
                ended_long_ago(end).then(|| format!("it expired {}", remaining(now, end)))?
            }
            None => node_is.then(|| "nothing on this node is valid any more".to_owned())?,
        };
        Some((one.facts.credential.name.clone(), reason(when)))
    });
    gone.collect()
}

/// When a credential ended or will end; of kubelet's two, the later one.
fn end(judged: &Judged) -> Option<Timestamp> {
    let embedded = judged.facts.kubelet.as_ref().and_then(|client| client.embedded.as_ref());
    [Some(&judged.facts.material), embedded]
        .into_iter()
        .flatten()
        .filter_map(|material| Some(material.leaf()?.not_after))
        .max()
}

fn urgent_from(judged: &Judged, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let leaf =
        judged.facts.material.leaf().filter(|_| judged.judgement.condition == Condition::Due)?;
    Some(leaf.accepted_until().minus(judged.policy(policy, now).urgent_before))
}

#[cfg(test)]
#[path = "deferral_tests.rs"]
mod tests;
