//! The memory of failures: each is remembered until it is seen to be over. A later pass that had
//! nothing to do proves nothing.

use std::collections::BTreeMap;

use crate::model::{
    Action, AlarmMemory, CredentialName, DeferralReason, Freshness, LongHold, Presence,
    ServiceName, Timestamp,
};
use crate::plan::{Finding, Judged, JudgedService};

/// The renewals of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Renewals<'r> {
    /// The failed ones, and why.
    pub failed: &'r BTreeMap<CredentialName, String>,
    /// The credentials at its end.
    pub credentials: &'r [Judged],
    /// Whether the clock by which they were judged is trusted.
    pub by_a_trusted_clock: bool,
    /// The reasons to defer.
    pub holds: &'r [DeferralReason],
    /// The present time.
    pub now: Timestamp,
}

/// The state of one service at the end of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceOutcome {
    /// It uses what is on the disk.
    Updated,
    /// It does not, and should: why.
    NotUpdated(String),
    /// It is not known, or not its turn.
    Open,
}

/// Notes the renewals. One that failed is forgotten when the credential needs no renewal any more.
pub fn note_renewals(memory: &mut AlarmMemory, renewals: &Renewals<'_>) {
    let mut before = std::mem::take(&mut memory.failed);
    for judged in renewals.credentials {
        let name = &judged.facts.credential.name;
        let known = before.remove(name);
        let reason = match judged.judgement.action {
            Action::Error => Some(judged.judgement.reason.clone()),
            Action::Renew | Action::Repair | Action::Make => {
                renewals.failed.get(name).cloned().or(known)
            }
            // A user who can write the files can make it fail; it has an alarm of its own.
            Action::Copy => None,
            Action::Nothing | Action::Report => known.filter(|_| !renewals.by_a_trusted_clock),
        };
        memory.failed.extend(reason.map(|reason| (name.clone(), reason)));
    }
    memory.kubeadm = renewals.holds.iter().find_map(|hold| match hold {
        DeferralReason::KubeadmRunning { pid } => {
            Some(since(*pid, memory.kubeadm.as_ref(), renewals.now))
        }
        _ => None,
    });
}

/// After the clock was set back, the earlier time would be in the future.
fn since(pid: u32, known: Option<&LongHold>, now: Timestamp) -> LongHold {
    let since = known.filter(|known| known.pid == pid).map_or(now, |known| known.since.min(now));
    LongHold { pid, since }
}

/// Notes that due credentials were not renewed, because no pass could be made.
pub fn note_pass_failed(
    memory: &mut AlarmMemory,
    due: impl IntoIterator<Item = CredentialName>,
    trouble: &str,
) {
    memory.failed.extend(due.into_iter().map(|name| (name, trouble.to_owned())));
}

/// Notes the services. `treated` are those that were refreshed.
pub fn note_services(
    memory: &mut AlarmMemory,
    seen: &[JudgedService],
    findings: &[Finding],
    treated: &BTreeMap<ServiceName, ServiceOutcome>,
) {
    if seen.is_empty() {
        // They were not observed.
        return;
    }
    let mut before = std::mem::take(&mut memory.not_updated);
    for one in seen {
        let name = &one.facts.service.name;
        let known = before.remove(name);
        let end = match (treated.get(name), still_stale(name, findings)) {
            (Some(end @ ServiceOutcome::NotUpdated(_)), _) => end.clone(),
            (_, Some(reason)) => ServiceOutcome::NotUpdated(reason),
            (Some(end), None) => end.clone(),
            (None, None) => as_found(one),
        };
        let reason = match end {
            ServiceOutcome::Updated => None,
            ServiceOutcome::NotUpdated(reason) => Some(reason),
            ServiceOutcome::Open => known,
        };
        memory.not_updated.extend(reason.map(|reason| (name.clone(), reason)));
    }
}

fn still_stale(name: &ServiceName, findings: &[Finding]) -> Option<String> {
    let stale = findings.iter().find(|finding| match finding {
        Finding::StillStale { service, .. }
        | Finding::ByHand { service, .. }
        | Finding::NeedsOneCertificate { service, .. }
        | Finding::LeftToKubelet { service, overdue: true, .. }
        | Finding::StillOld { service, .. } => service == name,
        _ => false,
    });
    stale.map(ToString::to_string)
}

fn as_found(one: &JudgedService) -> ServiceOutcome {
    match &one.facts.presence {
        Presence::Absent => ServiceOutcome::Updated,
        Presence::Down(_) | Presence::Unknown(_) => ServiceOutcome::Open,
        Presence::Running(_) | Presence::OutOfSight => {
            let settled = |freshness: &Freshness| {
                matches!(
                    freshness,
                    Freshness::Fresh(_)
                        | Freshness::ByItself
                        | Freshness::Lingering { .. }
                        | Freshness::NotRunning
                )
            };
            if one.freshness.iter().all(|(_, freshness)| settled(freshness)) {
                ServiceOutcome::Updated
            } else {
                ServiceOutcome::Open
            }
        }
    }
}
