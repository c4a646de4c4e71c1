//! The state table of a credential.

use super::authority::{authority_condition, authority_trouble};
use super::copy::judge_copy;
use super::issuer::{ADVICE, change_of_issuer};
use super::kubelet::{
    as_kubelet_starts, kubelet_action, kubelet_repaired_here, left_to_others, not_by_kubelet,
};
use super::short_life::{least_gain, policy_for};
use crate::model::{
    Action, AuthorityCondition, AuthorityFacts, Condition, CredentialFacts, Identity, Judgement,
    KeyChoice, Leaf, Material, Need, OtherWriters, Policy, Renewal, Signer, Timestamp, Urgency,
};
use crate::plan::words::{remaining, span};

/// What is done about a credential of ours in this state, with its CA in that state.
/// `basis` tells what it can be issued by where it is lost.
#[must_use]
pub fn action(condition: Condition, authority: AuthorityCondition, basis: Basis) -> Action {
    use AuthorityCondition as A;
    use Condition as C;
    match (condition, authority) {
        (C::Fresh | C::Absent | C::NoCertificate, _) => Action::Nothing,
        // Foreign to an authority that does not fit its own key: it is the authority that looks
        // wrong.
        (C::ForeignIssuer | C::SelfSigned, A::KeyUnusable) => Action::Error,
        (C::EndsWithAuthority | C::ForeignIssuer | C::SelfSigned, _) => Action::Report,
        (C::Due | C::Urgent | C::Expired | C::NotYetValid | C::Sha1, A::Usable) => Action::Renew,
        (C::Due | C::Urgent | C::Expired | C::NotYetValid | C::Sha1, A::External) => Action::Report,
        (C::KeyMissing | C::Mismatched, A::Usable) => Action::Renew,
        (C::Missing | C::CertificateMissing | C::Damaged, A::Usable) => match basis {
            Basis::Backup => Action::Repair,
            Basis::Profile => Action::Make,
            Basis::Nothing => Action::Error,
        },
        _ => Action::Error,
    }
}

/// What a lost credential can be issued by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A backup.
    Backup,
    /// What the profile says of it.
    Profile,
    /// Nothing.
    Nothing,
}

impl Basis {
    fn of(facts: &CredentialFacts) -> Self {
        match (&facts.backup, &facts.template) {
            (Some(_), _) => Self::Backup,
            (None, Some(Ok(_))) => Self::Profile,
            (None, Some(Err(_)) | None) => Self::Nothing,
        }
    }
}

/// What is thought of a credential. `authority` is the one its entry names, if it names one.
#[must_use]
pub fn judge(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    policy: &Policy,
    now: Timestamp,
) -> Judgement {
    if let Some(of) = facts.credential.copy_of() {
        return judge_copy(facts, of, now);
    }
    match (as_kubelet_starts(facts, now), &facts.kubelet) {
        (Some(embedded), Some(client)) => {
            let judgement = judge_as_found(&embedded, authority, policy, now);
            if client.lost.is_some() {
                return judgement;
            }
            let reason = format!(
                "{} embeds a client certificate of its own: {}",
                client.kubeconfig, judgement.reason
            );
            Judgement { reason, ..judgement }
        }
        _ => judge_as_found(facts, authority, policy, now),
    }
}

fn judge_as_found(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    policy: &Policy,
    now: Timestamp,
) -> Judgement {
    let policy = &policy_for(facts, authority, policy, now);
    let ours = facts.credential.renewal == Renewal::Ours && facts.credential.authority.is_some();
    let condition = condition(facts, authority, policy, now, ours);
    let state = authority
        .map_or(AuthorityCondition::Absent, |facts| authority_condition(&facts.state, now));
    let repaired = kubelet_repaired_here(facts);
    let action = match action(condition, state, Basis::of(facts)) {
        _ if let Some(client) = repaired => {
            kubelet_action(condition, state, client.obstacle().is_none())
        }
        Action::Nothing => Action::Nothing,
        _ if !ours => Action::Report,
        // The key of the intermediate is elsewhere, as that of an external CA.
        Action::Renew if is_by_intermediate(facts) => Action::Report,
        Action::Report if sha1_by_unknown(facts, authority, condition, now) => Action::Error,
        // A broken one can be issued anew only on the strength of a certificate that its authority
        // signed.
        Action::Renew
            if facts.material.leaf().is_none_or(|leaf| leaf.signer != Signer::Authority) =>
        {
            Action::Error
        }
        action => action,
    };
    let is_prevented = || not_known(facts, now).is_some() || key_not_made(facts, policy).is_some();
    let action = match action {
        action if action.issues() && is_prevented() => Action::Error,
        action => action,
    };
    let is_operators = matches!(facts.credential.renewal, Renewal::Operator(_));
    let change = change_of_issuer(facts, authority, now);
    let action = match action {
        Action::Renew if change.is_some() && condition.urgency() <= Urgency::Due => Action::Error,
        Action::Nothing if change.is_some() && ours => Action::Report,
        action => action,
    };
    let attention = (action.issues() || action == Action::Error)
        || (is_operators && action == Action::Report)
        || ends_soon(facts.material.leaf(), policy, now, condition);
    let reason = match change {
        Some(change) if matches!(condition, Condition::Fresh | Condition::Due) && ours => {
            format!("{}; {change}; {ADVICE}", describe(facts, condition, policy, now))
        }
        Some(change) if action == Action::Renew => {
            format!("{}; {change}", reason(facts, authority, condition, action, policy, now))
        }
        _ => reason(facts, authority, condition, action, policy, now),
    };
    Judgement { condition, action, reason, attention }
}

fn is_by_intermediate(facts: &CredentialFacts) -> bool {
    matches!(&facts.material, Material::Whole(leaf) if leaf.signer == Signer::Intermediate)
}

/// Whether a certificate names its authority as its issuer, and is signed with SHA-1 by a key for
/// which no library verifies that: ECDSA on P-384, or RSA below 2048 bits.
fn sha1_by_unknown(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    condition: Condition,
    now: Timestamp,
) -> bool {
    let subject = authority.and_then(|authority| Some(&authority.state.certificate(now)?.subject));
    condition == Condition::ForeignIssuer
        && facts.material.leaf().is_some_and(|leaf| leaf.sha1 && Some(&leaf.issuer) == subject)
}

/// Why nothing is issued for a certificate that others than root can have put where it is: nothing
/// says whom the credential is for. A certificate that is valid and has its key shows at least that
/// its owner has it.
#[must_use]
pub fn not_known(facts: &CredentialFacts, now: Timestamp) -> Option<String> {
    let OtherWriters { through, identity, .. } = facts.other_writers.as_ref()?;
    let is_shown = match &facts.material {
        // A signature with SHA-1 proves too little against a user who chooses the file.
        Material::Whole(leaf) if leaf.sha1 => false,
        Material::Whole(leaf) => {
            matches!(identity, Identity::Unknown | Identity::OtherNames) && now <= leaf.not_after
        }
        // It is issued after a backup, which only root can write.
        Material::Damaged(_) | Material::CertificateMissing(_) | Material::Absent => {
            facts.kubelet.is_none()
        }
        Material::Unreadable(_) | Material::NoCertificate(_) | Material::Changed(_) => true,
        Material::KeyMissing(..) | Material::Mismatched(..) => false,
    };
    if is_shown || *identity == Identity::Known {
        return None;
    }
    let name = &facts.credential.name;
    let known = match identity {
        Identity::OtherSubject(subject) => format!("{name} is known to be for {subject}"),
        Identity::OtherNames => format!("{name} is known with other names or usages"),
        Identity::Unknown | Identity::Known => format!("the subject of {name} is not known"),
    };
    Some(format!(
        "{through}, so others than root may have put the certificate there, and {known}: check \
         that it is the right one, make root the owner of its files and directory, then kubecertd \
         renew {name}"
    ))
}

/// Why no certificate is issued with a key of the kind that the old one has.
pub(in crate::plan) fn key_not_made(facts: &CredentialFacts, policy: &Policy) -> Option<String> {
    let (kind, can_be_made) = old_key(facts)?;
    (policy.key == KeyChoice::Keep && !can_be_made).then(|| {
        format!(
            "can't be renewed: kubecertd can't make a key of the kind {kind}; set key_algorithm in \
             [renewal] of the configuration to a kind for all new keys, for example \"RSA-2048\" \
             or \"ECDSA-P256\""
        )
    })
}

/// What is to be known of the key of a credential of ours before it is due.
#[must_use]
pub fn key_note(facts: &CredentialFacts, policy: &Policy) -> Option<String> {
    let ours = facts.credential.renewal == Renewal::Ours && facts.credential.authority.is_some();
    key_not_made(facts, policy).filter(|_| ours)
}

/// The kind of the key of the certificate that would be issued again, and whether one can be made.
fn old_key(facts: &CredentialFacts) -> Option<(&str, bool)> {
    let of_backup = || {
        let backup = facts.backup.as_ref()?;
        Some((backup.key_algorithm.as_str(), backup.key_can_be_made))
    };
    let leaf = facts.material.leaf();
    leaf.map(|leaf| (leaf.key_algorithm.as_str(), leaf.key_can_be_made)).or_else(of_backup)
}

fn condition(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    policy: &Policy,
    now: Timestamp,
    ours: bool,
) -> Condition {
    match &facts.material {
        Material::Absent
            if facts.credential.need == Need::Optional && !is_made(facts, authority, now) =>
        {
            Condition::Absent
        }
        Material::Absent => Condition::Missing,
        Material::Unreadable(_) => Condition::Unreadable,
        Material::NoCertificate(_) => Condition::NoCertificate,
        Material::Damaged(_) => Condition::Damaged,
        Material::CertificateMissing(_) => Condition::CertificateMissing,
        Material::KeyMissing(..) => Condition::KeyMissing,
        Material::Mismatched(..) => Condition::Mismatched,
        // An expired one is of no use, whichever CA signed it.
        Material::Whole(leaf) if kubelet_repaired_here(facts).is_some() && now > leaf.not_after => {
            by_time(leaf, authority, policy, now)
        }
        Material::Whole(leaf) if may_sign(facts, ours) && leaf.signer == Signer::Itself => {
            Condition::SelfSigned
        }
        Material::Whole(leaf)
            if may_sign(facts, ours)
                && matches!(leaf.signer, Signer::Foreign | Signer::Renamed) =>
        {
            Condition::ForeignIssuer
        }
        Material::Whole(leaf) => by_time(leaf, authority.filter(|_| ours), policy, now),
        Material::Changed(_) => Condition::Changed,
    }
}

/// Whether a credential that no manifest names is made all the same: the profile has it beside one
/// that is named, or the configuration asks for it. Only then is a backup of it looked for.
fn is_made(facts: &CredentialFacts, authority: Option<&AuthorityFacts>, now: Timestamp) -> bool {
    let usable = |authority: &AuthorityFacts| {
        authority_condition(&authority.state, now) == AuthorityCondition::Usable
    };
    Basis::of(facts) != Basis::Nothing && authority.is_some_and(usable)
}

fn may_sign(facts: &CredentialFacts, ours: bool) -> bool {
    ours || kubelet_repaired_here(facts).is_some()
}

fn by_time(
    leaf: &Leaf,
    authority: Option<&AuthorityFacts>,
    policy: &Policy,
    now: Timestamp,
) -> Condition {
    let condition = life(leaf, policy, now);
    let shortens = matches!(condition, Condition::Due | Condition::Urgent | Condition::Expired);
    let end = authority
        .and_then(|facts| facts.state.certificate(now))
        .map(|certificate| certificate.not_after);
    match end {
        Some(end) if shortens && end >= now && !worth_it(leaf, new_end(policy, end, now)) => {
            Condition::EndsWithAuthority
        }
        _ => condition,
    }
}

/// The condition by the dates of the certificate and of those above it.
fn life(leaf: &Leaf, policy: &Policy, now: Timestamp) -> Condition {
    let end = leaf.accepted_until();
    if now > end {
        Condition::Expired
    } else if now < leaf.not_before {
        Condition::NotYetValid
    } else if leaf.sha1 && matches!(leaf.signer, Signer::Authority | Signer::Intermediate) {
        Condition::Sha1
    } else if end <= now.plus(policy.urgent_before) {
        Condition::Urgent
    } else if end <= now.plus(policy.renew_before) {
        Condition::Due
    } else {
        Condition::Fresh
    }
}

/// When a credential issued now would end: never after its authority.
pub(in crate::plan) fn new_end(
    policy: &Policy,
    authority_end: Timestamp,
    now: Timestamp,
) -> Timestamp {
    now.plus(policy.validity).min(authority_end)
}

fn worth_it(old: &Leaf, new_end: Timestamp) -> bool {
    new_end >= old.accepted_until().plus(least_gain(old))
}

fn ends_soon(leaf: Option<&Leaf>, policy: &Policy, now: Timestamp, condition: Condition) -> bool {
    condition != Condition::EndsWithAuthority
        && leaf.is_some_and(|leaf| life(leaf, policy, now) != Condition::Fresh)
}

/// One sentence that an operator can act on.
fn reason(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    condition: Condition,
    action: Action,
    policy: &Policy,
    now: Timestamp,
) -> String {
    let what = describe(facts, condition, policy, now);
    let why_not = || authority.map_or_else(String::new, |facts| authority_trouble(facts, now));
    match action {
        Action::Nothing => match key_note(facts, policy) {
            Some(note) => format!("{what}; {note}"),
            None => what,
        },
        Action::Renew | Action::Copy => what,
        Action::Repair => format!(
            "{what}; it is issued again by the backup {}",
            facts.backup.as_ref().map(|backup| backup.name.as_str()).unwrap_or_default()
        ),
        Action::Make => match &facts.template {
            Some(Ok(template)) => format!("{what}; lost: made by the profile {}", template.content),
            Some(Err(_)) | None => what,
        },
        Action::Report | Action::Error
            if let Some(why) = beyond_kubelet(facts, authority, condition, now) =>
        {
            format!("{what}; {why}")
        }
        Action::Report if condition == Condition::EndsWithAuthority => what,
        Action::Report if let Some((why, advice)) = not_by_kubelet(facts) => {
            format!("{what}; {why}: {advice}")
        }
        Action::Report if facts.credential.renewal == Renewal::Kubelet => {
            format!("{what}; kubelet renews it, not kubecertd")
        }
        Action::Report if facts.credential.authority.is_none() => {
            format!("{what}; no CA is configured for it, so it is only watched")
        }
        Action::Report if is_further_user(facts) => format!(
            "{what}; it is not the user of the current context, so it is only watched: a \
             [[credential]] with kubeconfig and user in the configuration has it renewed"
        ),
        Action::Report if matches!(condition, Condition::ForeignIssuer | Condition::SelfSigned) => {
            format!("{what}; it is never re-signed")
        }
        Action::Report if is_by_intermediate(facts) && why_not().is_empty() => format!(
            "{what}; an intermediate CA signed it ({}), whose key is not on this node: kubecertd \
             csr makes a request for its holder",
            facts.material.leaf().map(|leaf| leaf.issuer.as_str()).unwrap_or_default()
        ),
        Action::Report => format!("{what}; {}", why_not()),
        Action::Error if sha1_by_unknown(facts, authority, condition, now) => format!(
            "{what}; signed with SHA-1 by a key for which that can't be verified (ECDSA on P-384, \
             or RSA below 2048 bits), and Kubernetes refuses SHA-1 from 1.24 on: have it issued \
             again by kubeadm certs renew, or by the holder of the CA"
        ),
        Action::Error => format!("{what}; {}", error_advice(facts, &why_not(), policy, now)),
    }
}

/// Whether it is a user of a kubeconfig that the configuration does not name.
fn is_further_user(facts: &CredentialFacts) -> bool {
    facts.credential.renewal == Renewal::Elsewhere && facts.credential.location.user().is_some()
}

/// What is to be said of kubelet's client certificate when kubelet can't renew it any more.
fn beyond_kubelet(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    condition: Condition,
    now: Timestamp,
) -> Option<String> {
    let too_late = kubelet_action(condition, AuthorityCondition::Usable, true) == Action::Renew;
    if too_late { left_to_others(facts, authority, now) } else { None }
}

fn describe(
    facts: &CredentialFacts,
    condition: Condition,
    policy: &Policy,
    now: Timestamp,
) -> String {
    match &facts.material {
        Material::Absent => match &facts.credential.need {
            Need::Optional if condition == Condition::Missing => {
                format!("{} does not exist", facts.credential.location)
            }
            Need::Optional => "not on this node, and not needed".to_owned(),
            Need::Configured => format!(
                "{} does not exist, and the configuration names it",
                facts.credential.location
            ),
            Need::Manifest(file) => {
                format!("{} does not exist, and {file} names it", facts.credential.location)
            }
            Need::Kubeconfig(file) => {
                format!("{} does not exist, and {file} points to it", facts.credential.location)
            }
            Need::KubeletStart => format!(
                "{} does not exist, and kubelet does not start without it",
                facts.credential.location
            ),
            Need::Kubelet(by) => {
                format!("{} does not exist, and {by} names it", facts.credential.location)
            }
        },
        Material::Unreadable(text)
        | Material::NoCertificate(text)
        | Material::Damaged(text)
        | Material::CertificateMissing(text) => text.clone(),
        Material::KeyMissing(_, text) | Material::Mismatched(_, text) | Material::Changed(text) => {
            text.clone()
        }
        Material::Whole(leaf) => describe_leaf(leaf, condition, policy, now),
    }
}

fn describe_leaf(leaf: &Leaf, condition: Condition, policy: &Policy, now: Timestamp) -> String {
    let end = remaining(now, leaf.accepted_until());
    let end = match leaf.outlives_its_chain() {
        true => format!("{end} with a CA certificate above it"),
        false => end,
    };
    match condition {
        Condition::Expired => format!("expired {end}"),
        Condition::NotYetValid => format!("not valid before {}", leaf.not_before),
        Condition::Urgent => format!("expires {end}, within {}", span(policy.urgent_before)),
        Condition::Due => format!("expires {end}, within {}", span(policy.renew_before)),
        Condition::Sha1 => format!(
            "signed with SHA-1, which Kubernetes refuses from 1.24 on (Go 1.18): a new one is \
             signed with SHA-256; expires {end}"
        ),
        Condition::EndsWithAuthority => {
            format!("expires {end}, as its CA does: renew the CA")
        }
        Condition::ForeignIssuer if leaf.signer == Signer::Renamed => format!(
            "signed with the key of its CA, and its issuer {} is in other bytes than the \
             subjects there, so that it does not verify; expires {end}",
            leaf.issuer
        ),
        Condition::ForeignIssuer => {
            format!("issued by {}, does not verify by its CA; expires {end}", leaf.issuer)
        }
        Condition::SelfSigned => {
            format!("signed by its own key, not by its CA; expires {end}")
        }
        _ => format!("expires {end}"),
    }
}

fn error_advice(
    facts: &CredentialFacts,
    authority_trouble: &str,
    policy: &Policy,
    now: Timestamp,
) -> String {
    let leaf = facts.material.leaf();
    if !authority_trouble.is_empty() {
        return authority_trouble.to_owned();
    }
    if let Some(not_known) = not_known(facts, now) {
        return not_known;
    }
    if let Some(not_made) = key_not_made(facts, policy) {
        return not_made;
    }
    let why_not = match &facts.template {
        Some(Err(why)) => format!(", and it is not made by the profile: {why}"),
        Some(Ok(_)) | None => String::new(),
    };
    match &facts.material {
        Material::Damaged(_) if facts.credential.location.kubeconfig().is_some() => {
            format!(
                "there is no backup of it{why_not}: correct the file, or make it again, for \
                 example with kubeadm init phase kubeconfig"
            )
        }
        Material::Absent | Material::Damaged(_) | Material::CertificateMissing(_) => {
            format!(
                "there is no backup of it{why_not}: make it again, for example with kubeadm init \
                 phase certs or kubeconfig"
            )
        }
        Material::KeyMissing(..) | Material::Mismatched(..)
            if leaf.is_some_and(|leaf| leaf.signer != Signer::Authority) =>
        {
            "its certificate was not issued by its CA, so it can't be issued here again".to_owned()
        }
        _ => "correct this; the next pass checks it again".to_owned(),
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
