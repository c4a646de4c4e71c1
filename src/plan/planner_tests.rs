use proptest::prelude::*;

use super::*;
use crate::model::{
    AuthorityCondition, AuthorityKey, AuthorityState, Condition, CredentialFacts, CredentialName,
    LEAST_GAIN, SanChange, days,
};
use crate::plan::judge;
use crate::plan::judge::fixtures::*;

#[test]
fn force_renews_fresh_credentials_of_usable_authority_only() {
    let forced = |condition, state| {
        let (facts, authority) = (facts_in(condition), authority_in(state));
        let judgement = judge(&facts, Some(&authority), &policy(), now());
        let request = Request { force: true, ..Request::default() };
        let plan = plan(
            &[Judged { facts, authority: Some(authority), judgement }],
            &request,
            &policy(),
            now(),
        );
        plan.issuing().count()
    };
    assert_eq!(forced(Condition::Fresh, AuthorityCondition::Usable), 1);
    let judged = |facts: CredentialFacts| {
        let authority = authority_in(AuthorityCondition::Usable);
        let judgement = judge(&facts, Some(&authority), &policy(), now());
        Judged { facts, authority: Some(authority), judgement }
    };
    let counted = |facts: CredentialFacts, only: &[&CredentialName]| {
        let request = Request {
            only: only.iter().copied().cloned().collect(),
            force: true,
            ..Request::default()
        };
        plan(&[judged(facts)], &request, &policy(), now()).issuing().count()
    };
    let name = kubelets(Condition::Fresh).credential.name;
    assert_eq!(
        (counted(kubelets(Condition::Fresh), &[]), counted(kubelets(Condition::Fresh), &[&name])),
        (0, 1)
    );
    let watched = CredentialFacts { kubelet: None, ..kubelets(Condition::Fresh) };
    assert_eq!(counted(watched, &[&name]), 0);
    for condition in
        [Condition::ForeignIssuer, Condition::SelfSigned, Condition::Absent, Condition::Unreadable]
    {
        assert_eq!(forced(condition, AuthorityCondition::Usable), 0, "{condition}");
    }
    for state in
        AuthorityCondition::ALL.iter().filter(|state| **state != AuthorityCondition::Usable)
    {
        assert_eq!(forced(Condition::Fresh, *state), 0, "{state}");
    }
}

#[test]
fn forced_renewal_never_shortens_without_a_word() {
    let forced = |ends: (Timestamp, Timestamp), request: Request| {
        let (leaf_end, authority_end) = ends;
        let facts = facts(Material::Whole(leaf(Signer::Authority, at(-1), leaf_end)));
        let anchors = only(certificate(at(-1), authority_end));
        let authority = authority(AuthorityState::Present { anchors, key: AuthorityKey::Usable });
        let judgement = judge(&facts, Some(&authority), &policy(), now());
        let judged = Judged { facts, authority: Some(authority), judgement };
        plan(&[judged], &Request { force: true, ..request }, &policy(), now()).steps.remove(0)
    };
    let hour = Duration::from_secs(3_600);
    let names = SanChange { add: vec!["cp1.example".parse().unwrap()], ..SanChange::default() };
    let changed = Request { names, ..Request::default() };
    for (ends, request, allowed) in [
        // The end of the CA.
        ((at(364), at(5)), Request::default(), false),
        ((at(364), at(5)), changed.clone(), false),
        ((at(364), at(5)), Request { allow_shorter: true, ..Request::default() }, true),
        ((at(364), at(5)), Request { allow_shorter: true, ..changed }, true),
        // The configured validity.
        ((at(365).plus(hour), at(3_000)), Request::default(), true),
        ((at(365).plus(hour * 2), at(3_000)), Request::default(), false),
        ((at(364), at(3_000)), Request::default(), true),
    ] {
        let step = forced(ends, request);
        assert_eq!(step.terms.is_some(), allowed, "{step:?}");
        assert_eq!(step.action == Action::Renew, allowed, "{step:?}");
        if !allowed {
            let new_end = at(365).min(ends.1);
            assert_eq!(step.action, Action::Error);
            assert_eq!(
                step.reason,
                format!(
                    "would expire {new_end}, earlier than the present certificate ({}): \
                     --allow-shorter renews it anyway",
                    ends.0
                )
            );
        }
    }
}

fn plan_one(facts: CredentialFacts, authority: AuthorityFacts, policy: &Policy) -> Plan {
    let judgement = judge(&facts, Some(&authority), policy, now());
    plan(
        &[Judged { facts, authority: Some(authority), judgement }],
        &Request::default(),
        policy,
        now(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn second_pass_issues_nothing(
        facts in any_facts(),
        authority in any_authority(),
        policy in policies(),
    ) {
        let first = plan_one(facts.clone(), authority.clone(), &policy);
        for step in first.issuing() {
            let terms = step.terms.unwrap();
            let leaf = leaf(Signer::Authority, terms.not_before, terms.not_after);
            let renewed = CredentialFacts { material: Material::Whole(leaf), ..facts.clone() };
            let second = plan_one(renewed, authority.clone(), &policy);
            prop_assert_eq!(second.issuing().count(), 0, "{:?}", second);
        }
    }

    #[test]
    fn only_certificates_of_a_usable_authority_are_renewed(
        facts in any_facts(),
        authority in any_authority(),
        policy in policies(),
    ) {
        let plan = plan_one(facts.clone(), authority.clone(), &policy);
        if plan.issuing().count() > 0 {
            let signer = facts.material.leaf().map(|leaf| leaf.signer);
            prop_assert_eq!(signer, Some(Signer::Authority));
            let judgement = judge_authority(&authority, days(0), now());
            prop_assert_eq!(judgement.condition, AuthorityCondition::Usable);
        }
    }

    #[test]
    fn issued_terms_are_valid_now_and_within_the_authority(
        facts in any_facts(),
        authority in any_authority(),
        policy in policies(),
    ) {
        let end = authority.state.certificate(now()).map(|certificate| certificate.not_after);
        for step in plan_one(facts, authority, &policy).issuing() {
            let terms = step.terms.unwrap();
            prop_assert!(terms.not_before <= now() && now() <= terms.not_after);
            prop_assert!(Some(terms.not_after) <= end);
        }
    }

    #[test]
    fn renewal_gains_at_least_a_day(
        facts in any_facts(),
        authority in any_authority(),
        policy in policies(),
    ) {
        if let Material::Whole(old) = facts.material.clone() && now() >= old.not_before {
            for step in plan_one(facts, authority, &policy).issuing() {
                prop_assert!(step.terms.unwrap().not_after >= old.not_after.plus(LEAST_GAIN));
            }
        }
    }
}
