//! The alarms at the end of a pass, and what happens to those that were in force before.
//!
//! Facts that a pass could not observe change nothing: their alarms are neither raised nor cleared.

mod diff;
mod expiry;
mod memory;
mod nodes;
mod rotation;
mod situation;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use diff::{Diff, diff};
pub use memory::{Renewals, ServiceOutcome, note_pass_failed, note_renewals, note_services};
pub use nodes::{NodeFindings, node_alarms};
pub use situation::{
    AlarmAssessment, AlarmInputs, AlarmSituation, ConfigurationCheck, RotationInputs,
};

use super::Judged;
use super::names::with_names;
use crate::model::{
    Action, Alarm, AlarmKind, AlarmMemory, AuthorityCondition, AuthorityFacts, AuthorityJudgement,
    AuthorityState, Awaited, ClockTrust, Condition, CredentialName, Deferral, LongHold,
    MembershipVerdict, OtherRenewer, Renewal, RootAbove, Timestamp, UnclearManifest, days,
};

/// How long a renewal may be deferred, or how near it may come to being urgent, before an alarm.
const DEFERRAL_LIMIT: Duration = days(1);

/// What to do where nothing proves that the node belongs to its cluster.
const NOT_KNOWN: &str = "Where another control-plane node works, check there whether this one \
    still belongs to the cluster (kubectl get nodes; etcdctl member list): if so, run kubecertd \
    renew --include-long-expired here; if not, kubeadm reset. Where none works, because all of \
    them were off, run kubecertd renew --include-long-expired on at least half of them: the \
    others follow at their next pass (the daemon makes one about every ten minutes, kubecertd \
    renew at once), and etcd works again when more than half of its members do.";

/// What to do where another member says that the node does not belong to it, or where the disk
/// seems to be in another machine.
const IN_DOUBT: &str = "Check on another control-plane node whether this one still belongs to the \
    cluster (kubectl get nodes; etcdctl member list). If it was removed, run kubeadm reset here, \
    and kubeadm join if it is to be added again. If it was restored on other hardware, switch \
    this machine off. Only if it still belongs to the cluster, run kubecertd renew \
    --include-long-expired here.";

/// The alarms that are true now. The memory includes the pass already.
#[must_use]
pub fn alarms(situation: &AlarmSituation<'_>, memory: &AlarmMemory) -> AlarmAssessment {
    let mut assessment = AlarmAssessment::default();
    // They are judged when the API was asked: see [`node_alarms`].
    assessment.unseen([AlarmKind::NodesDiffer, AlarmKind::ClockDiffers]);
    configuration(situation, &mut assessment);
    assessment.alarms.extend(pass_failed(situation));
    assessment.alarms.extend(renewal_failed(situation, memory));
    assessment.alarms.extend(services_not_updated(situation, memory));
    let Some(seen) = &situation.seen else {
        use AlarmKind::*;
        assessment.unseen([
            Expired,
            ExpiringSoon,
            ClockNotTrusted,
            AuthorityExternal,
            LongExpired,
            HeldTooLong,
            KubeconfigTrust,
        ]);
        assessment.unseen([NotTrusted, NamesDiffer, CopyNotUpdated, OtherRenewer, ManifestUnclear]);
        assessment.unseen([RootAdmitsOthers, RootCaUpdate, RootCaBlocked]);
        return assessment;
    };
    if let ClockTrust::NotTrusted(reason) = situation.clock_trust {
        // By this clock no date can be judged.
        assessment.unseen([
            AlarmKind::Expired,
            AlarmKind::ExpiringSoon,
            AlarmKind::AuthorityExternal,
            AlarmKind::HeldTooLong,
        ]);
        assessment.unseen([AlarmKind::LongExpired, AlarmKind::KubeconfigTrust]);
        assessment.alarms.extend(clock(situation, seen, reason));
    } else {
        expiry::add(situation, seen, memory, &mut assessment);
        assessment.alarms.extend(
            seen.authorities
                .iter()
                .filter_map(|(facts, judgement)| external(situation, seen, facts, judgement)),
        );
        let long_expired = long_expired(situation, seen);
        if let Some(first) = &long_expired {
            assessment.alarms.iter_mut().for_each(|alarm| refer_to(first, alarm));
        }
        assessment.alarms.extend(long_expired);
        assessment.alarms.extend(held(situation, seen, memory));
        assessment.alarms.extend(kubeconfig_trust(situation, seen));
    }
    rotation::add(situation, seen, &mut assessment);
    for (facts, _) in seen.authorities {
        let is_unreadable = matches!(facts.state, AuthorityState::Unreadable(_));
        if is_unreadable || facts.relations.clients_unreadable {
            assessment.unseen.push((AlarmKind::RootAdmitsOthers, Some(of_authority(facts))));
        } else {
            assessment.alarms.extend(root_admits_others(situation, facts));
        }
    }
    match seen.not_trusted {
        Some(files) => assessment.alarms.extend(not_trusted(situation, files)),
        None => assessment.unseen([AlarmKind::NotTrusted]),
    }
    assessment
        .alarms
        .extend(seen.credentials.iter().filter_map(|judged| names_differ(situation, seen, judged)));
    for judged in seen.credentials {
        let Some(of) = judged.facts.credential.copy_of() else { continue };
        let name = &judged.facts.credential.name;
        match copy_not_updated(situation, seen, judged, &of.original) {
            // This pass was not asked for the copy, and does not know whether it could be made.
            None if !is_in_step(judged) && !seen.only.is_empty() => {
                assessment.unseen.push((AlarmKind::CopyNotUpdated, Some(format!("copy={name}"))))
            }
            alarm => assessment.alarms.extend(alarm),
        }
    }
    assessment.alarms.extend(seen.unclear.iter().map(|one| manifest_unclear(situation, one)));
    assessment.alarms.extend(seen.renewers.iter().map(|renewer| other_renewer(situation, renewer)));
    assessment
}

/// The alarms that are true as far as the configuration alone goes.
#[must_use]
pub fn configuration_alarms(
    host: &str,
    now: Timestamp,
    trouble: Option<&str>,
    schedule: ConfigurationCheck<'_>,
) -> AlarmAssessment {
    let situation = AlarmSituation {
        host,
        now,
        seen: None,
        clock_trust: &ClockTrust::Trusted,
        trouble: None,
        configuration: ConfigurationCheck::new(trouble),
        schedule,
    };
    let mut assessment = AlarmAssessment::default();
    configuration(&situation, &mut assessment);
    let known = [AlarmKind::ConfigurationRefused, AlarmKind::ScheduleTooRare];
    assessment.unseen(AlarmKind::ALL.iter().copied().filter(|kind| !known.contains(kind)));
    assessment
}

fn configuration(situation: &AlarmSituation<'_>, assessment: &mut AlarmAssessment) {
    let mut judge = |check, kind, text, repair| match check {
        ConfigurationCheck::NotChecked => assessment.unseen([kind]),
        ConfigurationCheck::Right => {}
        ConfigurationCheck::Wrong(reason) => {
            let alarm = situation.on_host(kind, Vec::new(), text, reason.to_owned(), repair);
            assessment.alarms.push(alarm);
        }
    };
    judge(
        situation.configuration,
        AlarmKind::ConfigurationRefused,
        "The configuration of kubecertd is refused, and an earlier one is in force.",
        "Correct what the reason names, check it with kubecertd config check, and load it with \
         systemctl reload kubecertd.",
    );
    judge(
        situation.schedule,
        AlarmKind::ScheduleTooRare,
        "The schedule is so rare that a certificate can expire between two passes.",
        "Change schedule.cron or renewal.renew_before, check it with kubecertd config check, and \
         load it with systemctl reload kubecertd. Until then the daemon makes a pass of its own \
         when a certificate becomes urgent.",
    );
}

fn pass_failed(situation: &AlarmSituation<'_>) -> Option<Alarm> {
    Some(situation.on_host(
        AlarmKind::PassFailed,
        Vec::new(),
        "kubecertd can't manage the certificates: no pass can be made.",
        situation.trouble?.to_owned(),
        "Remove the cause that the reason names; kubecertd retries by itself, and at once after \
         systemctl kill --kill-who main --signal USR1 kubecertd.",
    ))
}

fn renewal_failed(situation: &AlarmSituation<'_>, memory: &AlarmMemory) -> Option<Alarm> {
    if memory.failed.is_empty() {
        return None;
    }
    Some(situation.on_host(
        AlarmKind::RenewalFailed,
        memory.failed.keys().map(ToString::to_string).collect(),
        "Kubernetes certificates renewal failed.",
        joined(&memory.failed),
        "Remove the cause that the reason names, then run kubecertd renew; kubecertd check shows \
         what is left. A failure that may be temporary is retried.",
    ))
}

fn services_not_updated(situation: &AlarmSituation<'_>, memory: &AlarmMemory) -> Option<Alarm> {
    if memory.not_updated.is_empty() {
        return None;
    }
    Some(situation.on_host(
        AlarmKind::ServicesNotUpdated,
        memory.not_updated.keys().map(ToString::to_string).collect(),
        "Kubernetes certificates have been renewed but not all services have been updated.",
        joined(&memory.not_updated),
        "Where the reason says that kubecertd tries again, remove what holds it up, such as a node \
         that is down; do not restart etcd by hand then. Else check the services with kubecertd \
         check -o wide and in their logs, and restart those that the reason names by hand; on \
         StarlingX, lock and unlock the host.",
    ))
}

fn joined<N: std::fmt::Display>(reasons: &BTreeMap<N, String>) -> String {
    reasons.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ")
}

fn clock(situation: &AlarmSituation<'_>, seen: &AlarmInputs<'_>, reason: &str) -> Option<Alarm> {
    let about: Vec<_> =
        seen.deferred.iter().map(|deferred| deferred.credential.to_string()).collect();
    (!about.is_empty()).then(|| {
        situation.on_host(
            AlarmKind::ClockNotTrusted,
            about,
            "Certificates are due, and nothing is signed because the clock is not trusted.",
            reason.to_owned(),
            "Set the clock (timedatectl); if it is right, run kubecertd renew --trust-clock once.",
        )
    })
}

/// An external CA is no fault in itself: it is alarmed only when its key has to be used.
fn external(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    facts: &AuthorityFacts,
    judgement: &AuthorityJudgement,
) -> Option<Alarm> {
    let name = &facts.authority.name;
    let ends_soon = |judged: &&Judged| {
        let credential = &judged.facts.credential;
        let leaf = judged.facts.material.leaf();
        credential.renewal == Renewal::Ours
            && credential.authority.as_ref() == Some(name)
            && leaf.is_some_and(|leaf| {
                leaf.accepted_until() <= situation.now.plus(seen.within)
                    || judged.judgement.condition == Condition::Sha1
            })
    };
    let about: Vec<_> = seen
        .credentials
        .iter()
        .filter(ends_soon)
        .map(|judged| judged.facts.credential.name.to_string())
        .collect();
    if judgement.condition != AuthorityCondition::External || about.is_empty() {
        return None;
    }
    let reason = format!(
        "{} is not on this node, so {} can't be renewed here",
        facts.authority.key,
        about.join(", ")
    );
    Some(situation.alarm(
        AlarmKind::AuthorityExternal,
        format!("authority={name}"),
        about,
        format!("Certificates of the external CA {name} expire soon."),
        reason,
        "kubecertd csr --all makes a request for each; have them signed by the external CA, and \
         install each certificate with kubecertd install NAME CERT.".to_owned(),
    ))
}

fn of_authority(facts: &AuthorityFacts) -> String {
    format!("authority={}", facts.authority.name)
}

/// An intermediate as the CA of a cluster, with its root beside it.
fn root_admits_others(situation: &AlarmSituation<'_>, facts: &AuthorityFacts) -> Option<Alarm> {
    let RootAbove { file, subject } = facts.relations.root_above.as_ref()?;
    let name = &facts.authority.name;
    Some(situation.alarm(
        AlarmKind::RootAdmitsOthers,
        of_authority(facts),
        vec![name.to_string()],
        format!("{file} admits clients that the CA {name} did not sign."),
        format!(
            "{file} decides which clients are accepted, and holds {subject}, the root above the \
             intermediate {name}: each client certificate that any other CA below the root signed \
             is accepted too, with the user and the groups that it names"
        ),
        format!(
            "Take the root out of {file}: {name} alone is a trust anchor for Kubernetes. Where \
             clients of the cluster need the root to verify its servers, give it to them in a \
             file of their own. In the long run replace {name} by a root CA of its own."
        ),
    ))
}

/// A control-plane node of several that was off for long: it may not belong to its cluster any
/// more.
fn long_expired(situation: &AlarmSituation<'_>, seen: &AlarmInputs<'_>) -> Option<Alarm> {
    let waiting: Vec<_> =
        seen.deferred.iter().filter(|deferred| deferred.awaits == Awaited::Word).collect();
    let reason = waiting.first()?.reason.clone();
    let reason = match seen.membership {
        Some(finding) => format!("{reason}; {}", finding.text),
        None => reason,
    };
    let repair = match seen.membership.map(|finding| finding.verdict) {
        Some(MembershipVerdict::Doubted) => IN_DOUBT,
        Some(MembershipVerdict::Belongs | MembershipVerdict::Unknown) | None => NOT_KNOWN,
    };
    Some(situation.on_host(
        AlarmKind::LongExpired,
        waiting.iter().map(|deferred| deferred.credential.to_string()).collect(),
        "On this control-plane node of several, credentials that expired more than 30 days ago \
         are renewed only on request.",
        reason,
        repair,
    ))
}

/// Has an alarm about certificates that are renewed only on request refer to the alarm that says
/// what to do.
fn refer_to(first: &Alarm, alarm: &mut Alarm) {
    let is_about_them = alarm.about.iter().all(|one| first.about.contains(one));
    if is_about_them && matches!(alarm.kind, AlarmKind::Expired | AlarmKind::ExpiringSoon) {
        alarm.repair = format!("See the alarm {}, which says what to do.", first.kind);
    }
}

/// A deferred renewal is alarmed in time for an operator to act: a day before it is urgent, or when
/// the reason to defer has no end of its own and lasts.
fn held(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    memory: &AlarmMemory,
) -> Option<Alarm> {
    let soon = |deferred: &&Deferral| {
        deferred.awaits == Awaited::Moment
            && deferred.urgent_from.is_some_and(|from| from <= situation.now.plus(DEFERRAL_LIMIT))
    };
    let about: Vec<_> =
        seen.deferred.iter().filter(soon).map(|deferred| deferred.credential.to_string()).collect();
    let lasts = |hold: &LongHold| situation.now >= hold.since.plus(DEFERRAL_LIMIT);
    let stuck = memory.kubeadm.as_ref().filter(|hold| lasts(hold));
    if about.is_empty() && stuck.is_none() {
        return None;
    }
    let mut reasons: Vec<String> = seen.holds.iter().map(ToString::to_string).collect();
    reasons
        .extend(stuck.map(|hold| {
            format!("kubeadm (process {}) was first seen at {}", hold.pid, hold.since)
        }));
    Some(situation.on_host(
        AlarmKind::HeldTooLong,
        about,
        "The renewal of certificates has been deferred for long.",
        reasons.join("; "),
        "End the cause: kubecertd hold --end for an operator's hold, or the kubeadm that hangs. \
         Urgent renewals are made in any case.",
    ))
}

/// Such files are not used; but they may be traces of an attack, or a backup that can't be used
/// when it is needed.
fn not_trusted(situation: &AlarmSituation<'_>, files: &[String]) -> Option<Alarm> {
    if files.is_empty() {
        return None;
    }
    Some(situation.on_host(
        AlarmKind::NotTrusted,
        Vec::new(),
        "State or backups of kubecertd may have been changed by others than root, and are not \
         used.",
        files.join("; "),
        "Find out why. Then do what the reason says, or remove the files: all but the backups are \
         made again.",
    ))
}

/// Names that are not wanted are no fault.
fn names_differ(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    judged: &Judged,
) -> Option<Alarm> {
    let name = &judged.facts.credential.name;
    let lacking = seen.lacking.get(name)?;
    let reason = format!(
        "the manifests, the kubeconfigs and the name of the node say that it is reached there, \
         and {} lacks it",
        judged.facts.credential.location
    );
    Some(situation.alarm(
        AlarmKind::NamesDiffer,
        format!("credential={name}"),
        vec![name.to_string()],
        format!(
            "The certificate {name} is not valid for {}, where it is served.",
            lacking.join(", ")
        ),
        reason,
        format!(
            "A renewal keeps the names as they are, unless they are named: {}",
            with_names(name, lacking)
        ),
    ))
}

/// One alarm for all kubeconfigs: what goes wrong with one of them usually goes wrong with all.
fn kubeconfig_trust(situation: &AlarmSituation<'_>, seen: &AlarmInputs<'_>) -> Option<Alarm> {
    let wrong: Vec<_> = seen.trust.iter().filter(|(_, judgement)| judgement.attention).collect();
    if wrong.is_empty() {
        return None;
    }
    let reasons: Vec<_> = wrong
        .iter()
        .map(|(facts, judgement)| format!("{}: {}", facts.kubeconfig, judgement.reason))
        .collect();
    Some(situation.on_host(
        AlarmKind::KubeconfigTrust,
        wrong.iter().map(|(facts, _)| facts.kubeconfig.to_string()).collect(),
        "Kubeconfigs do not trust the API server, or will not when their CA certificates expire.",
        reasons.join("; "),
        "Put the certificates of the CA into certificate-authority-data of each, for example with \
         kubectl config set-cluster NAME --kubeconfig FILE --embed-certs --certificate-authority \
         /etc/kubernetes/pki/ca.crt, and restart the programs that use it; update other nodes and \
         users, too.",
    ))
}

fn is_in_step(judged: &Judged) -> bool {
    matches!(judged.judgement.condition, Condition::InStep | Condition::Absent)
}

/// A copy that is only deferred is not alarmed.
fn copy_not_updated(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    judged: &Judged,
    original: &CredentialName,
) -> Option<Alarm> {
    let name = &judged.facts.credential.name;
    let waits = seen.deferred.iter().any(|deferred| deferred.credential == *name);
    let asked = seen.only.is_empty() || seen.only.contains(name) || seen.only.contains(original);
    match (judged.judgement.condition, judged.judgement.action) {
        (Condition::Changed | Condition::Unreadable, _) => {}
        (_, Action::Copy) if asked && !waits => {}
        _ => return None,
    }
    let reason = seen.not_copied.get(name).map_or_else(
        || judged.judgement.reason.clone(),
        |why| format!("{}; {why}", judged.judgement.reason),
    );
    Some(situation.alarm(
        AlarmKind::CopyNotUpdated,
        format!("copy={name}"),
        vec![name.to_string()],
        format!(
            "{} does not follow {original}, whose copy it is.",
            judged.facts.credential.location
        ),
        reason,
        format!(
            "Put the content of {original} into it, key included, then it is updated again; or \
             remove the copy from the configuration. kubecertd check shows the state."
        ),
    ))
}

fn manifest_unclear(situation: &AlarmSituation<'_>, manifest: &UnclearManifest) -> Alarm {
    let file = &manifest.file;
    situation.alarm(
        AlarmKind::ManifestUnclear,
        format!("file={file}"),
        vec![file.to_string()],
        format!(
            "A control-plane pod may use certificates that are not managed here: {file} does not \
             say which."
        ),
        manifest.reason.clone(),
        "Name the files in the manifest, or list them in the configuration of kubecertd; move \
         other copies of a manifest out of the directory. kubecertd check shows the state."
            .to_owned(),
    )
}

fn other_renewer(situation: &AlarmSituation<'_>, renewer: &OtherRenewer) -> Alarm {
    situation.alarm(
        AlarmKind::OtherRenewer,
        format!("file={}", renewer.file),
        vec![renewer.file.to_string()],
        format!(
            "Another program renews the certificates on a schedule of its own: {}.",
            renewer.file
        ),
        renewer.what.clone(),
        "Disable one of the two: remove the cron entry or systemctl disable --now the timer, so \
         that services are not restarted twice."
            .to_owned(),
    )
}
