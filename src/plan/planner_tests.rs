use proptest::prelude::*;

use super::*;
use crate::model::{
    AuthorityCondition, Condition, CredentialFacts, CredentialName, LEAST_GAIN, Material, days,
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
