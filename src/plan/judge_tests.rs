use super::*;
use crate::model::{
    AbsolutePath, Authority, AuthorityCertificate, AuthorityName, Credential, CredentialName,
    Digest, Location, NameParts, days,
};
use crate::plan::{Judged, Request, plan};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_219_200)
}

fn at(days: i64) -> Timestamp {
    Timestamp::from_seconds(now().seconds() + days * DAY)
}

pub(in crate::plan) fn policy() -> Policy {
    Policy {
        renew_before: days(15),
        urgent_before: days(3),
        validity: days(365),
        backdate: Duration::from_secs(300),
    }
}

fn leaf(signer: Signer, not_before: Timestamp, not_after: Timestamp) -> Leaf {
    Leaf {
        subject: "CN=kube-apiserver".into(),
        issuer: "CN=somebody".into(),
        parts: NameParts::default(),
        serial: "01".into(),
        not_before,
        not_after,
        key_algorithm: "RSA-2048".into(),
        names: Vec::new(),
        fingerprint: Digest::of(b"leaf"),
        signer,
    }
}

fn facts(material: Material) -> CredentialFacts {
    let path = |path| AbsolutePath::new(path).unwrap();
    let credential = Credential {
        name: CredentialName::new("apiserver").unwrap(),
        kubeadm_name: None,
        location: Location::Pair {
            certificate: path("/etc/kubernetes/pki/apiserver.crt"),
            key: path("/etc/kubernetes/pki/apiserver.key"),
        },
        authority: Some(AuthorityName::new("ca").unwrap()),
        renewal: Renewal::Ours,
        need: Need::Manifest("kube-apiserver.yaml".into()),
    };
    CredentialFacts {
        credential,
        material,
        files: Vec::new(),
        backup: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy: None,
    }
}

fn authority(state: AuthorityState) -> AuthorityFacts {
    let path = |path| AbsolutePath::new(path).unwrap();
    let authority = Authority {
        name: AuthorityName::new("ca").unwrap(),
        certificate: path("/etc/kubernetes/pki/ca.crt"),
        key: path("/etc/kubernetes/pki/ca.key"),
        root: true,
        need: Need::Manifest("kube-apiserver.yaml".into()),
    };
    AuthorityFacts { authority, state }
}

fn certificate(not_before: Timestamp, not_after: Timestamp) -> AuthorityCertificate {
    AuthorityCertificate {
        subject: "CN=kubernetes".into(),
        parts: NameParts::default(),
        serial: "00".into(),
        not_before,
        not_after,
        fingerprint: Digest::of(b"ca"),
    }
}

fn present(key: AuthorityKey, not_before: i64, not_after: i64) -> AuthorityState {
    AuthorityState::Present { certificate: certificate(at(not_before), at(not_after)), key }
}

/// Facts that are in exactly this state.
fn authority_in(condition: AuthorityCondition) -> AuthorityFacts {
    authority(match condition {
        AuthorityCondition::Usable => present(AuthorityKey::Usable, -100, 3000),
        AuthorityCondition::External => present(AuthorityKey::Absent, -100, 3000),
        AuthorityCondition::Expired => present(AuthorityKey::Usable, -100, -1),
        AuthorityCondition::NotYetValid => present(AuthorityKey::Usable, 1, 3000),
        AuthorityCondition::KeyUnusable => {
            present(AuthorityKey::Unusable("ca.key: is encrypted".into()), -100, 3000)
        }
        AuthorityCondition::Absent => AuthorityState::Absent,
        AuthorityCondition::Unreadable => AuthorityState::Unreadable("ca.crt: is empty".into()),
        AuthorityCondition::NotARoot => {
            AuthorityState::NotARoot("ca.crt: is an intermediate".into())
        }
    })
}

/// Facts that are in exactly this state, where the authority's end plays no part.
fn facts_in(condition: Condition) -> CredentialFacts {
    let old = |not_after| leaf(Signer::Authority, at(-300), at(not_after));
    let whole = |not_after| facts(Material::Whole(old(not_after)));
    match condition {
        Condition::Fresh => whole(16),
        Condition::Due | Condition::EndsWithAuthority => whole(15),
        Condition::Urgent => whole(3),
        Condition::Expired => whole(-1),
        Condition::NotYetValid => facts(Material::Whole(leaf(Signer::Authority, at(1), at(300)))),
        Condition::Absent => {
            let mut facts = facts(Material::Absent);
            facts.credential.need = Need::Optional;
            facts
        }
        Condition::Missing => facts(Material::Absent),
        Condition::KeyMissing => {
            facts(Material::KeyMissing(old(300), "apiserver.key: does not exist".into()))
        }
        Condition::CertificateMissing => {
            facts(Material::CertificateMissing("apiserver.crt: does not exist".into()))
        }
        Condition::Mismatched => facts(Material::Mismatched(
            old(300),
            "apiserver.key: does not fit apiserver.crt".into(),
        )),
        Condition::Damaged => facts(Material::Damaged("apiserver.crt: is empty".into())),
        Condition::Unreadable => {
            facts(Material::Unreadable("apiserver.crt: is a directory, not a file".into()))
        }
        Condition::ForeignIssuer => {
            facts(Material::Whole(leaf(Signer::Foreign, at(-300), at(300))))
        }
        Condition::SelfSigned => facts(Material::Whole(leaf(Signer::Itself, at(-300), at(300)))),
        Condition::InStep | Condition::Behind | Condition::Changed => {
            unreachable!("only a copy can be {condition}")
        }
    }
}

#[test]
fn the_written_table_is_the_one_that_is_followed() {
    let mut table = String::from("| a credential that is | ");
    for condition in AuthorityCondition::ALL {
        table += &format!("{condition} | ");
    }
    table += "\n|---|";
    table += &"---|".repeat(AuthorityCondition::ALL.len());
    for condition in Condition::of_originals() {
        table += &format!("\n| {condition} | ");
        for state in AuthorityCondition::ALL {
            let mut found = [false, true].map(|backup| action(*condition, *state, backup));
            found.reverse();
            let cell = if found[0] == found[1] {
                found[0].to_string()
            } else {
                format!("{}, or else {}", found[0], found[1])
            };
            table += &format!("{cell} | ");
        }
    }
    let table = table.replace("| \n", "|\n").trim_end().to_owned();
    let page = include_str!("../../docs/judging.md");
    assert!(page.contains(&table), "docs/judging.md does not hold this table:\n\n{table}\n");
}

#[test]
fn the_written_table_of_kubelets_own_is_the_one_that_is_followed() {
    let mut table = String::from("| kubelet's client certificate that is | ");
    AuthorityCondition::ALL.iter().for_each(|state| table += &format!("{state} | "));
    table += "\n|---|";
    table += &"---|".repeat(AuthorityCondition::ALL.len());
    for condition in Condition::of_originals() {
        table += &format!("\n| {condition} | ");
        for state in AuthorityCondition::ALL {
            let [known, unknown] =
                [true, false].map(|known| kubelet_action(*condition, *state, known));
            let cell = if known == unknown {
                known.to_string()
            } else {
                format!("{known}, or else {unknown}")
            };
            table += &format!("{cell} | ");
        }
    }
    let table = table.replace("| \n", "|\n").trim_end().to_owned();
    let page = include_str!("../../docs/judging.md");
    assert!(page.contains(&table), "docs/judging.md does not hold this table:\n\n{table}\n");
}

/// kubelet's client certificate as it would be in this state.
fn kubelets(condition: Condition) -> CredentialFacts {
    let mut facts = facts_in(condition);
    facts.credential.renewal = Renewal::Kubelet;
    let kubeconfig = AbsolutePath::new("/etc/kubernetes/kubelet.conf").unwrap();
    facts.kubelet =
        Some(crate::model::KubeletClient { kubeconfig, embedded: None, node: Ok("cp1".into()) });
    facts
}

#[test]
fn kubelets_own_in_every_state_is_judged_by_its_table() {
    for condition in
        Condition::of_originals().filter(|condition| **condition != Condition::EndsWithAuthority)
    {
        for state in AuthorityCondition::ALL {
            for node in [Ok("cp1".to_owned()), Err("nothing tells which node this is".to_owned())] {
                let known = node.is_ok();
                let mut facts = kubelets(*condition);
                facts.kubelet.as_mut().unwrap().node = node;
                let judgement = judge(&facts, Some(&authority_in(*state)), &policy(), now());
                let expected = kubelet_action(*condition, *state, known);
                assert_eq!(
                    (judgement.condition, judgement.action),
                    (*condition, expected),
                    "{state} {known}"
                );
                let said = judgement.reason.contains("nothing tells");
                assert_eq!(
                    said,
                    expected == Action::Error && *state == AuthorityCondition::Usable,
                    "{}",
                    judgement.reason
                );
            }
        }
    }
}

#[test]
fn past_its_end_kubelets_own_serves_nobody_whoever_signed_it() {
    let mut facts = kubelets(Condition::Expired);
    for signer in [Signer::Foreign, Signer::Itself, Signer::Unknown, Signer::Authority] {
        facts.material = Material::Whole(leaf(signer, at(-400), at(-1)));
        let judgement =
            judge(&facts, Some(&authority_in(AuthorityCondition::Usable)), &policy(), now());
        assert_eq!(
            (judgement.condition, judgement.action),
            (Condition::Expired, Action::Renew),
            "{signer:?}"
        );
    }
}

#[test]
fn kubelet_starts_with_what_its_kubeconfig_embeds_where_that_is_of_no_use() {
    let judged = |embedded: Material| {
        let mut facts = kubelets(Condition::Fresh);
        facts.kubelet.as_mut().unwrap().embedded = Some(embedded);
        judge(&facts, Some(&authority_in(AuthorityCondition::Usable)), &policy(), now())
    };
    let old = judged(Material::Whole(leaf(Signer::Authority, at(-400), at(-30))));
    assert_eq!((old.condition, old.action), (Condition::Expired, Action::Renew));
    assert_eq!(
        old.reason,
        "/etc/kubernetes/kubelet.conf embeds a client certificate of its own: expired 30 days ago"
    );
    let broken = judged(Material::Mismatched(
        leaf(Signer::Authority, at(-400), at(30)),
        "does not fit".into(),
    ));
    assert_eq!(broken.action, Action::Renew);
    let good = judged(Material::Whole(leaf(Signer::Authority, at(-400), at(1))));
    assert_eq!(
        (good.condition, good.action),
        (Condition::Fresh, Action::Nothing),
        "kubelet renews the other one"
    );
    assert_eq!(judged(Material::Unreadable("odd".into())).action, Action::Nothing);
}

#[test]
fn where_the_key_is_elsewhere_the_command_is_said() {
    let judgement = judge(
        &kubelets(Condition::Expired),
        Some(&authority_in(AuthorityCondition::External)),
        &policy(),
        now(),
    );
    assert_eq!((judgement.action, judgement.attention), (Action::Report, true));
    let command = "`kubeadm kubeconfig user --config kubeadm.yaml --org system:nodes --client-name \
        system:node:cp1 > kubelet.conf`";
    for part in [
        "expired 24 hours ago; kubelet can't renew it any more",
        "/etc/kubernetes/pki/ca.key is not on this node",
        command,
        "copy that file here to /etc/kubernetes/kubelet.conf",
        "systemctl restart kubelet",
    ] {
        assert!(judgement.reason.contains(part), "{part}: {}", judgement.reason);
    }
    let due = judge(
        &kubelets(Condition::Due),
        Some(&authority_in(AuthorityCondition::External)),
        &policy(),
        now(),
    );
    assert_eq!(due.reason, "expires in 15 days, within 15 days; kubelet renews it, not kubecertd");
}

#[test]
fn facts_in_every_state_are_judged_by_the_table() {
    for condition in Condition::of_originals() {
        for state in AuthorityCondition::ALL {
            for backup in [None, Some("20261121T000000Z".to_owned())] {
                let mut authority = authority_in(*state);
                if *condition == Condition::EndsWithAuthority {
                    let AuthorityState::Present { certificate, .. } = &mut authority.state else {
                        continue;
                    };
                    certificate.not_after = at(15);
                }
                if *condition == Condition::EndsWithAuthority
                    && *state == AuthorityCondition::NotYetValid
                {
                    continue;
                }
                let facts = CredentialFacts { backup: backup.clone(), ..facts_in(*condition) };
                let judgement = judge(&facts, Some(&authority), &policy(), now());
                assert_eq!(
                    (judgement.condition, judgement.action),
                    (*condition, action(*condition, *state, backup.is_some())),
                    "{state} {backup:?}"
                );
                assert!(!judgement.reason.is_empty(), "{condition} {state}");
            }
        }
    }
}

#[test]
fn reasons_are_sentences_an_operator_can_act_on() {
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
            "expires in 15 days, within 15 days; its authority ca: external: \
             /etc/kubernetes/pki/ca.key is not on this node, so nothing is signed here; kubecertd \
             csr makes a request for who has it",
        ),
        (
            C::Expired,
            A::Expired,
            "expired 24 hours ago; its authority ca: /etc/kubernetes/pki/ca.crt expired 24 hours \
             ago: nothing is signed with it",
        ),
        (
            C::Due,
            A::KeyUnusable,
            "expires in 15 days, within 15 days; its authority ca: ca.key: is encrypted",
        ),
        (
            C::Missing,
            A::Usable,
            "/etc/kubernetes/pki/apiserver.crt does not exist, and kube-apiserver.yaml names it; \
             there is no backup of it: make it anew, for example with kubeadm init phase certs or \
             kubeconfig",
        ),
        (
            C::ForeignIssuer,
            A::Usable,
            "issued by CN=somebody, not by its authority; expires in 300 days; it is never \
             re-signed",
        ),
        (C::Absent, A::Usable, "not on this node, and not needed"),
        (
            C::Unreadable,
            A::Usable,
            "apiserver.crt: is a directory, not a file; put this right, and it is looked at again \
             in the next pass",
        ),
    ];
    for (condition, state, text) in cases {
        assert_eq!(say(condition, state), text);
    }
}

#[test]
fn a_broken_credential_of_a_foreign_issuer_is_not_issued_anew() {
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
fn what_kubelet_renews_is_only_watched() {
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

#[test]
fn an_authority_near_its_end_is_said_in_time() {
    let facts = authority(present(AuthorityKey::Usable, -100, 100));
    assert_eq!(
        judge_authority(&facts, days(180), now()).reason,
        "ends in 100 days: plan its rotation, nothing it signs outlives it"
    );
    assert_eq!(judge_authority(&facts, days(30), now()).reason, "");
}

#[test]
fn force_renews_what_is_well_and_never_what_is_not_ours_to_sign() {
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

prop_compose! {
    fn policies()(renew in 0u64..400, urgent in 0u64..400, clear in 1u64..4000, backdate in 0u64..86_400) -> Policy {
        let validity = days(renew + 1 + clear);
        Policy { renew_before: days(renew), urgent_before: days(urgent.min(renew)), validity, backdate: Duration::from_secs(backdate) }
    }
}

prop_compose! {
    fn signers()(pick in 0usize..4) -> Signer {
        [Signer::Authority, Signer::Foreign, Signer::Itself, Signer::Unknown][pick]
    }
}

prop_compose! {
    fn any_facts()(kind in 0usize..7, signer in signers(), begin in -4_000 * DAY..40 * DAY, life in 0i64..8_000 * DAY) -> CredentialFacts {
        let begin = now().seconds() + begin;
        let leaf = leaf(signer, Timestamp::from_seconds(begin), Timestamp::from_seconds(begin + life));
        facts(match kind {
            0 => Material::Absent,
            1 => Material::Unreadable("x".into()),
            2 => Material::Damaged("x".into()),
            3 => Material::KeyMissing(leaf, "x".into()),
            4 => Material::Mismatched(leaf, "x".into()),
            _ => Material::Whole(leaf),
        })
    }
}

prop_compose! {
    fn any_authority()(kind in 0usize..8, begin in -4_000 * DAY..10 * DAY, life in 0i64..8_000 * DAY) -> AuthorityFacts {
        let begin = now().seconds() + begin;
        let certificate = certificate(Timestamp::from_seconds(begin), Timestamp::from_seconds(begin + life));
        authority(match kind {
            0 => AuthorityState::Absent,
            1 => AuthorityState::NotARoot("x".into()),
            2 => AuthorityState::Present { certificate, key: AuthorityKey::Absent },
            3 => AuthorityState::Present { certificate, key: AuthorityKey::Unusable("x".into()) },
            _ => AuthorityState::Present { certificate, key: AuthorityKey::Usable },
        })
    }
}

fn plan_one(
    facts: CredentialFacts,
    authority: AuthorityFacts,
    policy: &Policy,
) -> crate::plan::Plan {
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
    fn a_pass_after_a_pass_has_nothing_to_issue(facts in any_facts(), authority in any_authority(), policy in policies()) {
        let first = plan_one(facts.clone(), authority.clone(), &policy);
        for step in first.issuing() {
            let terms = step.terms.unwrap();
            let renewed = Material::Whole(leaf(Signer::Authority, terms.not_before, terms.not_after));
            let second = plan_one(CredentialFacts { material: renewed, ..facts.clone() }, authority.clone(), &policy);
            prop_assert_eq!(second.issuing().count(), 0, "{:?}", second);
        }
    }

    #[test]
    fn nothing_is_issued_that_its_authority_did_not_sign_or_can_not_sign(facts in any_facts(), authority in any_authority(), policy in policies()) {
        let plan = plan_one(facts.clone(), authority.clone(), &policy);
        if plan.issuing().count() > 0 {
            prop_assert_eq!(facts.material.leaf().map(|leaf| leaf.signer), Some(Signer::Authority));
            prop_assert_eq!(judge_authority(&authority, days(0), now()).condition, AuthorityCondition::Usable);
        }
    }

    #[test]
    fn what_is_issued_is_valid_now_and_ends_with_its_authority_at_the_latest(facts in any_facts(), authority in any_authority(), policy in policies()) {
        let end = authority.state.certificate().map(|certificate| certificate.not_after);
        for step in plan_one(facts, authority, &policy).issuing() {
            let terms = step.terms.unwrap();
            prop_assert!(terms.not_before <= now() && now() <= terms.not_after);
            prop_assert!(Some(terms.not_after) <= end);
        }
    }

    #[test]
    fn what_is_issued_for_its_age_lives_at_least_a_day_longer(facts in any_facts(), authority in any_authority(), policy in policies()) {
        if let Material::Whole(old) = facts.material.clone() && now() >= old.not_before {
            for step in plan_one(facts, authority, &policy).issuing() {
                prop_assert!(step.terms.unwrap().not_after >= old.not_after.plus(LEAST_GAIN));
            }
        }
    }

    #[test]
    fn time_never_makes_a_credential_look_better(facts in any_facts(), authority in any_authority(), policy in policies(), later in 0u64..5_000) {
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
