use proptest::prelude::*;

use super::super::fixtures::*;
use super::*;
use crate::model::{
    AbsolutePath, AuthorityCertificate, AuthorityState, KeyChoice, Location, Template,
    TemplateContent, Usage, days,
};

#[test]
fn table_of_credentials_is_the_one_in_the_docs() {
    let mut table = String::from("| a credential that is | ");
    for condition in AuthorityCondition::ALL {
        table += &format!("{condition} | ");
    }
    table += "\n|---|";
    table += &"---|".repeat(AuthorityCondition::ALL.len());
    for condition in Condition::of_originals() {
        table += &format!("\n| {condition} | ");
        for state in AuthorityCondition::ALL {
            let mut found: Vec<_> = [Basis::Backup, Basis::Profile, Basis::Nothing]
                .map(|basis| action(*condition, *state, basis).to_string())
                .into();
            found.dedup();
            let cell = found.join(", or else ");
            table += &format!("{cell} | ");
        }
    }
    let table = table.replace("| \n", "|\n").trim_end().to_owned();
    let page = include_str!("../../../docs/judging.md");
    assert!(page.contains(&table), "docs/judging.md does not hold this table:\n\n{table}\n");
}

#[test]
fn credential_in_every_state_follows_the_table() {
    for condition in Condition::of_originals() {
        for state in AuthorityCondition::ALL {
            for backup in [None, Some(backup())] {
                let mut authority = authority_in(*state);
                if *condition == Condition::EndsWithAuthority {
                    let AuthorityState::Present { anchors, .. } = &mut authority.state else {
                        continue;
                    };
                    *anchors = anchors
                        .map(|one| AuthorityCertificate { not_after: at(15), ..one.clone() });
                }
                if *condition == Condition::EndsWithAuthority
                    && *state == AuthorityCondition::NotYetValid
                {
                    continue;
                }
                // A backup of what is not needed is looked for only where it would be made.
                if *condition == Condition::Absent && backup.is_some() {
                    continue;
                }
                let facts = CredentialFacts { backup: backup.clone(), ..facts_in(*condition) };
                let judgement = judge(&facts, Some(&authority), &policy(), now());
                assert_eq!(
                    (judgement.condition, judgement.action),
                    (*condition, action(*condition, *state, Basis::of(&facts))),
                    "{state} {backup:?}"
                );
                assert!(!judgement.reason.is_empty(), "{condition} {state}");
            }
        }
    }
}

#[test]
fn reasons_name_cause_and_remedy() {
    let say = |condition, state| {
        judge(&facts_in(condition), Some(&authority_in(state)), &policy(), now()).reason
    };
    use AuthorityCondition as A;
    use Condition as C;
    let cases = [
        (C::Fresh, A::Usable, "expires in 16 days"),
        (C::Due, A::Usable, "expires in 15 days, within 15 days"),
        (C::Urgent, A::Usable, "expires in 3 days, within 3 days"),
        (C::Expired, A::Usable, "expired 24 hours ago"),
        (
            C::Due,
            A::External,
            "expires in 15 days, within 15 days; its CA ca: external: \
             /etc/kubernetes/pki/ca.key is not on this node, so nothing is signed here; kubecertd \
             csr makes a request for its holder",
        ),
        (
            C::Expired,
            A::Expired,
            "expired 24 hours ago; its CA ca: /etc/kubernetes/pki/ca.crt expired 24 hours \
             ago: nothing is signed with it",
        ),
        (
            C::Due,
            A::KeyUnusable,
            "expires in 15 days, within 15 days; its CA ca: ca.key: is encrypted",
        ),
        (
            C::Missing,
            A::Usable,
            "/etc/kubernetes/pki/apiserver.crt does not exist, and kube-apiserver.yaml names it; \
             there is no backup of it: make it again, for example with kubeadm init phase certs \
             or kubeconfig",
        ),
        (
            C::ForeignIssuer,
            A::Usable,
            "issued by CN=other, does not verify by its CA; expires in 300 days; it is \
             never re-signed",
        ),
        (C::Absent, A::Usable, "not on this node, and not needed"),
        (
            C::Unreadable,
            A::Usable,
            "apiserver.crt: is a directory, not a file; correct this; the next pass checks it \
             again",
        ),
    ];
    for (condition, state, text) in cases {
        assert_eq!(say(condition, state), text);
    }
}

#[test]
fn broken_credential_of_foreign_issuer_is_not_renewed() {
    for signer in [Signer::Foreign, Signer::Itself, Signer::Unknown] {
        let material = Material::Mismatched(
            leaf(signer, at(-1), at(300)),
            "apiserver.key: does not fit".into(),
        );
        let judgement = judge(
            &facts(material),
            Some(&authority_in(AuthorityCondition::Usable)),
            &policy(),
            now(),
        );
        assert_eq!(judgement.action, Action::Error, "{signer:?}");
    }
}

#[test]
fn credential_that_kubelet_renews_is_only_watched() {
    let mut facts = facts_in(Condition::Expired);
    facts.credential.renewal = Renewal::Kubelet;
    facts.credential.authority = None;
    let judgement = judge(&facts, None, &policy(), now());
    assert_eq!(
        (judgement.condition, judgement.action, judgement.attention),
        (Condition::Expired, Action::Report, true)
    );
    assert_eq!(judgement.reason, "expired 24 hours ago; kubelet renews it, not kubecertd");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn urgency_never_falls_with_time(
        facts in any_facts(),
        authority in any_authority(),
        policy in policies(),
        later in 0u64..5_000,
    ) {
        // Apart from a validity that begins.
        prop_assume!(facts.material.leaf().is_none_or(|leaf| leaf.not_before <= now()));
        let urgency = |at| {
            let judged = judge(&facts, Some(&authority), &policy, at);
            (judged.condition != Condition::EndsWithAuthority).then(|| judged.condition.urgency())
        };
        let (today, then) = (urgency(now()), urgency(now().plus(days(later))));
        if let (Some(today), Some(then)) = (today, then) {
            prop_assert!(then >= today, "{today:?} {then:?}");
        }
    }
}

fn writable_by_others(material: Material, identity: Identity) -> Judgement {
    let writers = OtherWriters {
        through: "/srv/app belongs to user 1234".to_owned(),
        identity,
        issued: None,
    };
    let backup = Some(backup());
    let facts = CredentialFacts { other_writers: Some(writers), backup, ..facts(material) };
    judge(&facts, Some(&authority_in(AuthorityCondition::Usable)), &policy(), now())
}

#[test]
fn certificate_that_others_can_write_is_issued_for_the_known_subject_only() {
    let leaf = |not_after| leaf(Signer::Authority, at(-300), at(not_after));
    let text = || "/srv/app/app.key: does not fit".to_owned();
    let (valid, expired) = (Material::Whole(leaf(5)), Material::Whole(leaf(-1)));
    let other = || Identity::OtherSubject("CN=app".to_owned());
    for (material, identity, expected) in [
        (valid.clone(), Identity::Known, Action::Renew),
        (valid.clone(), Identity::Unknown, Action::Renew),
        (valid.clone(), Identity::OtherNames, Action::Renew),
        (valid, other(), Action::Error),
        (expired.clone(), Identity::Known, Action::Renew),
        (expired.clone(), Identity::Unknown, Action::Error),
        (expired.clone(), Identity::OtherNames, Action::Error),
        (expired, other(), Action::Error),
        (Material::Mismatched(leaf(300), text()), Identity::Known, Action::Renew),
        (Material::Mismatched(leaf(300), text()), Identity::Unknown, Action::Error),
        (Material::Mismatched(leaf(300), text()), Identity::OtherNames, Action::Error),
        (Material::KeyMissing(leaf(300), text()), other(), Action::Error),
        (Material::Damaged(text()), Identity::Unknown, Action::Repair),
        (Material::Unreadable(text()), Identity::Unknown, Action::Error),
    ] {
        let judgement = writable_by_others(material.clone(), identity.clone());
        assert_eq!(judgement.action, expected, "{material:?} {identity:?}");
        let is_refused = material.leaf().is_some() && expected == Action::Error;
        assert_eq!(
            judgement.reason.contains("/srv/app belongs to user 1234, so others"),
            is_refused,
            "{}",
            judgement.reason
        );
    }
}

fn template() -> Template {
    let subject = "CN=kube-apiserver".parse().unwrap();
    let names = vec!["cp1".parse().unwrap(), "10.0.0.5".parse().unwrap()];
    let content = TemplateContent::Described { subject, usages: vec![Usage::Server], names };
    Template { content, key: KeyChoice::Rsa2048, server: None }
}

#[test]
fn lost_credential_is_made_by_its_template() {
    for condition in [Condition::Missing, Condition::CertificateMissing, Condition::Damaged] {
        let lost = |template| CredentialFacts { template, ..facts_in(condition) };
        let say = |template, state| {
            let judged = judge(&lost(template), Some(&authority_in(state)), &policy(), now());
            (judged.action, judged.reason)
        };
        let (action, reason) = say(Some(Ok(template())), AuthorityCondition::Usable);
        assert_eq!(action, Action::Make, "{condition}");
        let ending = "; lost: made by the profile for CN=kube-apiserver, with the names cp1, \
            10.0.0.5";
        assert!(reason.ends_with(ending), "{reason}");
        let (action, reason) = say(Some(Err("why".to_owned())), AuthorityCondition::Usable);
        assert_eq!(action, Action::Error, "{condition}");
        assert!(reason.contains("and it is not made by the profile: why: make it"), "{reason}");
        let (action, _) = say(Some(Ok(template())), AuthorityCondition::External);
        assert_eq!(action, Action::Error, "{condition}");
    }
    let mut kubeconfig =
        CredentialFacts { template: Some(Err("why".to_owned())), ..facts_in(Condition::Damaged) };
    let file = AbsolutePath::constant("/etc/kubernetes/scheduler.conf");
    kubeconfig.credential.location = Location::Kubeconfig(file);
    let usable = authority_in(AuthorityCondition::Usable);
    let reason = judge(&kubeconfig, Some(&usable), &policy(), now()).reason;
    assert!(reason.contains("not made by the profile: why: correct the file"), "{reason}");
}

/// One that no manifest names is missed only where it can be made.
#[test]
fn optional_credential_with_a_template_is_missing() {
    let absent = facts_in(Condition::Absent);
    let made = CredentialFacts { template: Some(Ok(template())), ..absent.clone() };
    let in_backup = CredentialFacts { backup: Some(backup()), ..absent.clone() };
    let not_described = CredentialFacts { template: Some(Err("why".to_owned())), ..absent };
    for (facts, state, expected) in [
        (&in_backup, AuthorityCondition::Usable, (Condition::Missing, Action::Repair)),
        (&made, AuthorityCondition::Usable, (Condition::Missing, Action::Make)),
        (&made, AuthorityCondition::External, (Condition::Absent, Action::Nothing)),
        (&not_described, AuthorityCondition::Usable, (Condition::Absent, Action::Nothing)),
    ] {
        let judged = judge(facts, Some(&authority_in(state)), &policy(), now());
        assert_eq!((judged.condition, judged.action), expected);
    }
}
