//! Certificates that expire soon, or have expired: who is to renew them, and whether that is late.

use std::time::Duration;

use super::situation::{AlarmAssessment, AlarmInputs, AlarmSituation};
use crate::model::{
    Action, Alarm, AlarmKind, AlarmMemory, AuthorityCondition, AuthorityFacts, AuthorityState,
    Condition, Location, Material, Renewal, Signer, Timestamp, days,
};
use crate::plan::judge::{by_hand, kubelet_repaired_here, not_by_kubelet};
use crate::plan::{Judged, judge_authority};

pub(super) fn add(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    memory: &AlarmMemory,
    assessment: &mut AlarmAssessment,
) {
    for (facts, _) in seen.authorities {
        match &facts.state {
            AuthorityState::Unreadable(_) => unseen(assessment, facts.authority.name.as_str()),
            _ => assessment.alarms.extend(authority(situation, seen, facts)),
        }
    }
    // A copy expires with its original, which is alarmed.
    for judged in
        seen.credentials.iter().filter(|judged| judged.facts.credential.copy_of().is_none())
    {
        let name = &judged.facts.credential.name;
        let told = credential(situation, seen, memory, judged);
        let asked = seen.only.is_empty() || seen.only.contains(name);
        match told {
            // This pass was not asked for it, and does not know whether it can be renewed.
            Some(alarm) if asked || alarm.kind == AlarmKind::Expired => {
                assessment.alarms.push(alarm)
            }
            Some(_) => {
                assessment.unseen.push((AlarmKind::ExpiringSoon, Some(entity(name.as_str()))))
            }
            None if matches!(judged.facts.material, Material::Unreadable(_)) => {
                unseen(assessment, name.as_str())
            }
            None => {}
        }
    }
}

fn unseen(assessment: &mut AlarmAssessment, name: &str) {
    for kind in [AlarmKind::Expired, AlarmKind::ExpiringSoon] {
        assessment.unseen.push((kind, Some(entity(name))));
    }
}

fn entity(name: &str) -> String {
    format!("system.certificate.{name}")
}

fn authority(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    facts: &AuthorityFacts,
) -> Option<Alarm> {
    let end = facts.state.certificate(situation.now)?.not_after;
    let within = if facts.authority.root { seen.root_authority_within } else { seen.within };
    let (name, file) = (facts.authority.name.as_str(), &facts.authority.certificate);
    let is_expired = situation.now > end;
    let repair = match (facts.authority.root, is_expired) {
        (true, false) => {
            "Renew the root CA with its own key, on all nodes: kubecertd ca rotate start --renew \
             on a control-plane node that has the key."
        }
        (true, true) => {
            "Renew the root CA with its own key: kubecertd ca renew --offline on one control-plane \
             node that has the key, then kubecertd ca trust FILE with that ca.crt on all other \
             nodes."
        }
        (false, _) => {
            "Renew the CA with its own key: kubecertd ca renew --offline on one control-plane node \
             that has the key, then kubecertd ca trust FILE with its certificate on the others."
        }
    };
    if is_expired {
        return Some(expired(
            situation,
            name,
            format!("{file} expired at {end}, and no certificate that it signed is accepted"),
            repair,
        ));
    }
    if end <= situation.now.plus(within) {
        let reason = format!(
            "{file} expires at {end}, and no certificate that it signs is valid for longer"
        );
        return Some(soon(situation, name, end, reason, repair));
    }
    let other = facts.state.next_other_to_expire(situation.now)?;
    let end = other.not_after;
    (end <= situation.now.plus(within)).then(|| {
        let reason = format!(
            "{} (serial {}) in {file}, which does not sign any more, expires at {end}: \
             certificates that it signed are not accepted from then on",
            other.subject, other.serial
        );
        let repair = format!(
            "Have the certificates that it signed be issued by the CA that signs now (kubecertd \
             check shows those of this node), and remove it from {file}."
        );
        soon(situation, name, end, reason, &repair)
    })
}

/// The party that is to renew a credential.
enum Renewer {
    /// kubecertd.
    Ours,
    /// The holder of its CA's key.
    External,
    /// kubelet, before it gets this old.
    Kubelet,
    /// No program on this node.
    None,
    /// No program before its CA is replaced, which has an alarm of its own.
    Authority,
}

fn renewer(judged: &Judged, now: Timestamp) -> Renewer {
    let credential = &judged.facts.credential;
    if not_by_kubelet(&judged.facts).is_some() {
        return Renewer::None;
    }
    // kubelet renews the combined PEM that the cluster signed, and never a pair.
    if credential.renewal == Renewal::Kubelet && matches!(credential.location, Location::Bundle(_))
    {
        return Renewer::Kubelet;
    }
    let Some(authority) = judged.authority.as_ref().filter(|_| credential.renewal == Renewal::Ours)
    else {
        return Renewer::None;
    };
    match judged.judgement.condition {
        Condition::ForeignIssuer | Condition::SelfSigned => Renewer::None,
        Condition::EndsWithAuthority => Renewer::Authority,
        _ if judged
            .facts
            .material
            .leaf()
            .is_some_and(|leaf| leaf.signer == Signer::Intermediate) =>
        {
            Renewer::External
        }
        _ if judge_authority(authority, Duration::ZERO, now).condition
            == AuthorityCondition::External =>
        {
            Renewer::External
        }
        _ => Renewer::Ours,
    }
}

fn credential(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    memory: &AlarmMemory,
    judged: &Judged,
) -> Option<Alarm> {
    let leaf = judged.facts.material.leaf()?;
    let (name, end, now) = (&judged.facts.credential.name, leaf.accepted_until(), situation.now);
    let renewer = renewer(judged, now);
    let (why, repair) = not_by_kubelet(&judged.facts)
        .map(|(why, advice)| (why, capitalised(&advice)))
        .unwrap_or_else(|| words(&renewer));
    let file = match leaf.outlives_its_chain() {
        true => format!("a CA certificate above {}", judged.facts.credential.location),
        false => judged.facts.credential.location.to_string(),
    };
    if now > end {
        let (why, repair) = expired_kubelet(judged, &renewer).unwrap_or((why, repair));
        return Some(expired(
            situation,
            name.as_str(),
            format!("{file} expired at {end}; {why}"),
            &repair,
        ));
    }
    let left = |length: Duration| end <= now.plus(length);
    let policy = judged.policy(seen.policy, now);
    let late = match renewer {
        Renewer::Ours => {
            left(policy.urgent_before)
                || (left(policy.renew_before) && memory.failed.contains_key(name))
        }
        Renewer::External => left(policy.renew_before),
        Renewer::Kubelet => now > kubelet_is_late(leaf.not_before, leaf.not_after),
        Renewer::None => left(seen.within),
        Renewer::Authority => false,
    };
    let why = memory.failed.get(name).unwrap_or(&why);
    late.then(|| {
        soon(situation, name.as_str(), end, format!("{file} expires at {end}; {why}"), &repair)
    })
}

/// kubelet asks for a new certificate when 70 to 90 hundredths of the old one's life have passed,
/// at a random moment between the two (`jitteryDuration` in client-go's certificate manager). What
/// is left after that is for the signer: a day of it is a margin.
pub(super) fn kubelet_is_late(begin: Timestamp, end: Timestamp) -> Timestamp {
    let life = Duration::from_secs(u64::try_from(end.seconds_since(begin)).unwrap_or(0));
    begin.plus(life / 10 * 9).plus(days(1).min(life / 20))
}

fn words(renewer: &Renewer) -> (String, String) {
    let (why, repair) = match renewer {
        Renewer::Ours => (
            "it should have been renewed by now",
            "Run kubecertd renew, which prints the reason; kubecertd check shows the state.",
        ),
        Renewer::External => (
            "the key of its CA is not on this node",
            "Have it signed by its external CA: kubecertd csr makes the request, kubecertd \
             install installs the certificate.",
        ),
        Renewer::Kubelet => (
            "kubelet should have renewed it by now",
            "See why kubelet does not: journalctl -u kubelet, kubectl get csr, and \
             rotateCertificates in its configuration. Once the certificate has expired, kubelet \
             can't renew it any more.",
        ),
        Renewer::None => (
            "nothing on this node renews it",
            "Renew it where it was made, and install it here; kubecertd keeps watching it.",
        ),
        Renewer::Authority => {
            ("its CA expires with it", "Renew the CA first; then run kubecertd renew.")
        }
    };
    (why.to_owned(), repair.to_owned())
}

/// An expired certificate of kubelet is issued here, or by the holder of the CA's key.
fn expired_kubelet(judged: &Judged, renewer: &Renewer) -> Option<(String, String)> {
    let client = kubelet_repaired_here(&judged.facts)
        .filter(|_| matches!(renewer, Renewer::Kubelet | Renewer::None))?;
    let reason = judged.judgement.reason.clone();
    Some(match judged.judgement.action {
        Action::Renew => (reason, words(&Renewer::Ours).1),
        _ => (reason, capitalised(&by_hand(&judged.facts.credential.name, client))),
    })
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).chain(['.']).collect())
        .unwrap_or_default()
}

fn soon(
    situation: &AlarmSituation<'_>,
    name: &str,
    end: Timestamp,
    reason: String,
    repair: &str,
) -> Alarm {
    let text = format!(
        "Certificate {name} is expiring soon on {}",
        end.civil().strftime("%Y-%m-%d, %H:%M:%S")
    );
    situation.alarm(
        AlarmKind::ExpiringSoon,
        entity(name),
        vec![name.to_owned()],
        text,
        reason,
        repair.to_owned(),
    )
}

fn expired(situation: &AlarmSituation<'_>, name: &str, reason: String, repair: &str) -> Alarm {
    let text = format!("Certificate {name} expired.");
    situation.alarm(
        AlarmKind::Expired,
        entity(name),
        vec![name.to_owned()],
        text,
        reason,
        repair.to_owned(),
    )
}
