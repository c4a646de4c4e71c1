use std::collections::BTreeMap;

use super::*;
use crate::model::{
    AbsolutePath, Action, Authority, AuthorityCertificate, AuthorityFacts, AuthorityKey,
    AuthorityName, AuthorityState, Credential, CredentialFacts, CredentialName, Digest, Identity,
    Judgement, Leaf, Location, Material, NameParts, Need, Relations, Renewal, Signer,
};
use crate::plan::judge::fixtures::only;
use crate::plan::{Terms, judge, plan};
use proptest::prelude::*;

const YEAR: Duration = days(365);

fn now() -> Timestamp {
    RELEASED.plus(days(20))
}

fn clock(now: Timestamp, last_seen: Option<Timestamp>, synchronised: Option<bool>) -> ClockFacts {
    ClockFacts { now, last_seen, synchronised }
}

fn policy() -> Policy {
    Policy {
        renew_before: days(15),
        urgent_before: days(3),
        validity: YEAR,
        backdate: Duration::from_secs(300),
        key: crate::model::KeyChoice::Keep,
    }
}

fn path(path: &str) -> AbsolutePath {
    AbsolutePath::new(path).unwrap()
}

/// A credential whose certificate ends in so many days, with an authority that has ten years.
fn ends_in(ends: u64) -> Judged {
    let name = AuthorityName::new("ca").unwrap();
    let credential = Credential {
        name: CredentialName::new("apiserver").unwrap(),
        kubeadm_name: None,
        location: Location::Pair {
            certificate: path("/pki/apiserver.crt"),
            key: path("/pki/apiserver.key"),
        },
        authority: Some(name.clone()),
        renewal: Renewal::Ours,
        need: Need::Configured,
    };
    let leaf = Leaf {
        subject: String::new(),
        issuer: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: now().minus(YEAR),
        not_after: now().plus(days(ends)),
        key_algorithm: String::new(),
        key_can_be_made: true,
        names: Vec::new(),
        fingerprint: Digest::of(b"leaf"),
        signer: Signer::Authority,
        sha1: false,
        verifies_by: vec![Digest::of(b"ca")],
        chain_end: None,
    };
    let certificate = AuthorityCertificate {
        subject: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: authority_begins(),
        not_after: now().plus(10 * YEAR),
        fingerprint: Digest::of(b"ca"),
    };
    let authority = AuthorityFacts {
        authority: Authority {
            name,
            certificate: path("/pki/ca.crt"),
            key: path("/pki/ca.key"),
            other_keys: Vec::new(),
            clients: None,
            clients_may: None,
            root: true,
            key_elsewhere: false,
            need: Need::Configured,
        },
        state: AuthorityState::Present { anchors: only(certificate), key: AuthorityKey::Usable },
        relations: Relations::default(),
    };
    let facts = CredentialFacts {
        credential,
        material: Material::Whole(leaf),
        files: Vec::new(),
        backup: None,
        template: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy: None,
        other_writers: None,
    };
    let judgement = judge(&facts, Some(&authority), &policy(), now());
    Judged { facts, authority: Some(authority), judgement }
}

fn authority_begins() -> Timestamp {
    now().minus(2 * YEAR)
}

fn held() -> Constraints {
    Constraints {
        clock_trust: ClockTrust::Trusted,
        reasons: vec![DeferralReason::KubeadmRunning { pid: 7 }],
        refused: Vec::new(),
        long_expired: BTreeMap::new(),
    }
}

fn deferred(
    judged: &Judged,
    request: &Request,
    constraints: &Constraints,
) -> (usize, Vec<Deferral>) {
    let judged = std::slice::from_ref(judged);
    let (plan, deferred) = defer(
        plan(judged, request, &policy(), now()),
        judged,
        request,
        &policy(),
        constraints,
        now(),
    );
    (plan.issuing().count(), deferred)
}

/// kubeadm makes and removes files one by one, and an operator moves them away for it.
#[test]
fn files_that_are_gone_wait_for_kubeadm_and_holds() {
    let mut gone = ends_in(100);
    gone.facts.material = Material::Absent;
    gone.facts.template = Some(Ok(crate::model::Template {
        content: crate::model::TemplateContent::Remembered(Vec::new()),
        key: crate::model::KeyChoice::Rsa2048,
        server: None,
    }));
    gone.judgement = judge(&gone.facts, gone.authority.as_ref(), &policy(), now());
    assert_eq!(gone.judgement.action, Action::Make);
    let held_by = |reason| Constraints { reasons: vec![reason], ..held() };
    let waits = |reason, request: &Request| deferred(&gone, request, &held_by(reason)).1.len();
    let plain = Request::default();
    let kubeadm = || DeferralReason::KubeadmRunning { pid: 7 };
    assert_eq!(waits(kubeadm(), &plain), 1);
    let until = now().plus(days(1));
    let hold = Hold { until, reason: String::new() };
    assert_eq!(waits(DeferralReason::Hold(hold), &plain), 1);
    let changed =
        DeferralReason::ManifestsChanged { file: path("/manifests/etcd.yaml"), at: now() };
    assert_eq!(waits(changed, &plain), 0);
    assert_eq!(waits(kubeadm(), &Request { force: true, ..Request::default() }), 0);
    let mut damaged = gone.clone();
    damaged.facts.material = Material::Damaged(String::new());
    assert_eq!(deferred(&damaged, &plain, &held()).1.len(), 0, "it is there");
}

#[test]
fn the_release_date_is_the_one_that_is_written_down() {
    assert_eq!(RELEASED.to_string(), "2026-11-01T00:00:00Z");
}

#[test]
fn synchronised_clock_is_trusted_after_any_absence() {
    assert_eq!(
        judge_clock(&clock(now().plus(20 * YEAR), Some(now()), Some(true)), false),
        ClockTrust::Trusted
    );
    assert_eq!(judge_clock(&clock(RELEASED, None, Some(true)), false), ClockTrust::Trusted);
}

#[test]
fn clock_before_the_release_is_not_trusted() {
    let early = RELEASED.minus(Duration::from_secs(1));
    for synchronised in [Some(true), Some(false), None] {
        let ClockTrust::NotTrusted(reason) =
            judge_clock(&clock(early, Some(early), synchronised), false)
        else {
            panic!("{synchronised:?}")
        };
        assert_eq!(
            reason,
            "the clock says 2026-10-31T23:59:59Z, before kubecertd was released \
             (2026-11-01T00:00:00Z): nothing is signed until it is trusted; set the clock, or run \
             kubecertd renew --trust-clock"
        );
    }
}

#[test]
fn unsynchronised_clock_is_trusted_for_three_years() {
    let last = now().plus(YEAR);
    let then = |absence| judge_clock(&clock(last.plus(absence), Some(last), Some(false)), false);
    assert_eq!(then(YEAR), ClockTrust::TrustedUnsynchronised);
    assert_eq!(then(days(1_096)), ClockTrust::TrustedUnsynchronised);
    let ClockTrust::NotTrusted(reason) = then(days(1_096) + Duration::from_secs(1)) else {
        panic!()
    };
    let begin = "the clock says 2030-11-21T00:00:01Z, 3 years after it was last trusted \
        (2027-11-21T00:00:00Z), and is not synchronised:";
    assert!(reason.starts_with(begin), "{reason}");
}

#[test]
fn where_it_is_unknown_a_clock_is_not_synchronised() {
    assert_eq!(
        judge_clock(&clock(now(), Some(now()), None), false),
        ClockTrust::TrustedUnsynchronised
    );
}

#[test]
fn without_a_usable_memory_the_release_is_the_last_time_seen() {
    for last in [None, Some(Timestamp::from_seconds(0))] {
        assert_eq!(
            judge_clock(&clock(RELEASED.plus(days(1_096)), last, None), false),
            ClockTrust::TrustedUnsynchronised
        );
        let ClockTrust::NotTrusted(reason) =
            judge_clock(&clock(RELEASED.plus(days(1_097)), last, None), false)
        else {
            panic!("{last:?}")
        };
        assert!(
            reason.contains("3 years after kubecertd was released (2026-11-01T00:00:00Z)"),
            "{reason}"
        );
    }
}

#[test]
fn clock_behind_the_last_time_seen_is_trusted() {
    assert_eq!(
        judge_clock(&clock(now(), Some(now().plus(YEAR)), None), false),
        ClockTrust::TrustedUnsynchronised
    );
}

#[test]
fn trust_clock_flag_counts_as_unsynchronised() {
    let far = clock(now().plus(20 * YEAR), Some(now()), Some(false));
    let early = clock(Timestamp::from_seconds(0), None, Some(true));
    for facts in [far, early] {
        assert_eq!(judge_clock(&facts, true), ClockTrust::TrustedUnsynchronised, "{facts:?}");
    }
    assert_eq!(judge_clock(&clock(now(), None, Some(true)), true), ClockTrust::Trusted);
}

#[test]
fn pass_after_trust_clock_flag_trusts_the_clock() {
    let mut facts = clock(now().plus(20 * YEAR), Some(now()), Some(false));
    facts.last_seen = last_seen(&facts, &judge_clock(&facts, true));
    assert_eq!(judge_clock(&facts, false), ClockTrust::TrustedUnsynchronised);
}

#[test]
fn trusted_clock_is_remembered_and_synchronised_one_turns_back() {
    let (early, late) = (now(), now().plus(YEAR));
    let remembered =
        |now, last, clock_trust: ClockTrust| last_seen(&clock(now, last, None), &clock_trust);
    assert_eq!(remembered(early, Some(late), ClockTrust::Trusted), Some(early));
    assert_eq!(remembered(early, Some(late), ClockTrust::TrustedUnsynchronised), Some(late));
    assert_eq!(remembered(late, Some(early), ClockTrust::TrustedUnsynchronised), Some(late));
    assert_eq!(remembered(late, None, ClockTrust::TrustedUnsynchronised), Some(late));
    assert_eq!(remembered(late, Some(early), ClockTrust::NotTrusted(String::new())), Some(early));
}

#[test]
fn by_an_unsynchronised_clock_a_certificate_begins_with_its_authority() {
    let begins = |clock_trust| {
        let plan = plan(
            &[ends_in(10)],
            &Request::default(),
            &policy_for_clock(policy(), &clock_trust),
            now(),
        );
        plan.steps[0].terms.unwrap()
    };
    let not_after = now().plus(YEAR);
    assert_eq!(
        begins(ClockTrust::Trusted),
        Terms { not_before: now().minus(Duration::from_secs(300)), not_after }
    );
    assert_eq!(
        begins(ClockTrust::TrustedUnsynchronised),
        Terms { not_before: authority_begins(), not_after }
    );
}

#[test]
fn every_reason_to_wait_is_found() {
    let asked = Hold { until: now().plus(days(1)), reason: "upgrade".into() };
    let facts = DeferralFacts {
        kubeadm: Some(7),
        manifests: vec![(path("/m/etcd.yaml"), now())],
        asked: Some(asked.clone()),
    };
    let changed = DeferralReason::ManifestsChanged { file: path("/m/etcd.yaml"), at: now() };
    assert_eq!(
        deferral_reasons(&facts, now()),
        [DeferralReason::KubeadmRunning { pid: 7 }, changed, DeferralReason::Hold(asked)]
    );
    assert_eq!(deferral_reasons(&DeferralFacts::default(), now()), []);
}

#[test]
fn manifests_count_for_fifteen_minutes_in_either_direction() {
    let holds_at = |seconds: i64| {
        let at = Timestamp::from_seconds(now().seconds() + seconds);
        let facts = DeferralFacts {
            manifests: vec![(path("/m/etcd.yaml"), at)],
            ..DeferralFacts::default()
        };
        !deferral_reasons(&facts, now()).is_empty()
    };
    assert_eq!(
        [-900, -899, 0, 899, 900, i64::from(i32::MAX)].map(holds_at),
        [false, true, true, true, false, false]
    );
}

#[test]
fn the_manifest_that_was_changed_last_is_named() {
    let old = |seconds| now().minus(Duration::from_secs(seconds));
    let manifests =
        vec![(path("/m/a"), old(600)), (path("/m/b"), old(60)), (path("/m/c"), old(6_000))];
    let holds = deferral_reasons(&DeferralFacts { manifests, ..DeferralFacts::default() }, now());
    assert_eq!(holds, [DeferralReason::ManifestsChanged { file: path("/m/b"), at: old(60) }]);
    assert_eq!(holds[0].until(), Some(old(60).plus(QUIET)));
}

#[test]
fn what_an_operator_asked_for_ends_by_itself() {
    let asked = Hold { until: now(), reason: "upgrade".into() };
    let facts = DeferralFacts { asked: Some(asked), ..DeferralFacts::default() };
    assert_eq!(deferral_reasons(&facts, now().minus(Duration::from_secs(1))).len(), 1);
    assert_eq!(deferral_reasons(&facts, now()).len(), 0);
}

#[test]
fn what_is_due_waits_until_it_is_urgent() {
    let due = ends_in(10);
    let (issued, waiting) = deferred(&due, &Request::default(), &held());
    assert_eq!(issued, 0);
    let credential = due.facts.credential.name.clone();
    let reason = "kubeadm is running (process 7)".to_owned();
    assert_eq!(
        waiting,
        [Deferral {
            credential,
            awaits: Awaited::Moment,
            reason,
            until: None,
            urgent_from: Some(now().plus(days(7)))
        }]
    );
    let then = judge(&due.facts, due.authority.as_ref(), &policy(), now().plus(days(7)));
    assert_eq!(then.condition, Condition::Urgent, "it does go ahead at that moment");
}

#[test]
fn what_is_urgent_or_has_no_hold_goes_ahead() {
    assert_eq!(deferred(&ends_in(3), &Request::default(), &held()), (1, vec![]));
    let free = Constraints {
        clock_trust: ClockTrust::TrustedUnsynchronised,
        reasons: vec![],
        refused: vec![],
        long_expired: BTreeMap::new(),
    };
    assert_eq!(deferred(&ends_in(10), &Request::default(), &free), (1, vec![]));
}

#[test]
fn what_was_refused_waits_a_day_while_the_old_one_is_in_place() {
    let due = ends_in(10);
    let refused = Refused {
        credential: due.facts.credential.name.clone(),
        fingerprint: due.facts.material.leaf().unwrap().fingerprint.to_string(),
        server: "https://10.0.0.1:6443".to_owned(),
        answer: "status 401".to_owned(),
        at: now().minus(days(1)).plus(Duration::from_secs(1)),
    };
    let constraints = |refused: &Refused| {
        let refused = standing_refusals(std::slice::from_ref(refused), now());
        Constraints {
            clock_trust: ClockTrust::Trusted,
            reasons: vec![],
            refused,
            long_expired: BTreeMap::new(),
        }
    };
    let (issued, waiting) = deferred(&due, &Request::default(), &constraints(&refused));
    assert_eq!((issued, waiting.len()), (0, 1));
    assert_eq!(
        (waiting[0].awaits, waiting[0].until),
        (Awaited::AnotherDay, Some(now().plus(Duration::from_secs(1))))
    );
    assert!(
        waiting[0].reason.starts_with("https://10.0.0.1:6443 refused a new certificate at "),
        "{}",
        waiting[0].reason
    );
    let force = Request { force: true, ..Request::default() };
    assert_eq!(deferred(&due, &force, &constraints(&refused)).0, 1);
    assert_eq!(
        deferred(&ends_in(3), &Request::default(), &constraints(&refused)).0,
        1,
        "what is urgent does not wait"
    );
    let a_day_ago = Refused { at: now().minus(days(1)), ..refused.clone() };
    let another = Refused { fingerprint: "00".to_owned(), ..refused.clone() };
    let from_the_future = Refused { at: now().plus(Duration::from_secs(1)), ..refused };
    for refused in [a_day_ago, another, from_the_future] {
        assert_eq!(deferred(&due, &Request::default(), &constraints(&refused)).0, 1, "{refused:?}");
    }
}

#[test]
fn force_overrides_a_hold_and_never_the_clock() {
    let force = Request { force: true, ..Request::default() };
    assert_eq!(deferred(&ends_in(300), &force, &held()), (1, vec![]));
    let wrong = Constraints {
        clock_trust: ClockTrust::NotTrusted("the clock is wrong".into()),
        reasons: vec![],
        refused: vec![],
        long_expired: BTreeMap::new(),
    };
    let (issued, waiting) = deferred(&ends_in(1), &force, &wrong);
    assert_eq!((issued, waiting.len(), waiting[0].reason.as_str()), (0, 1, "the clock is wrong"));
}

fn any_constraints() -> impl Strategy<Value = Constraints> {
    let clock_trust = prop_oneof![
        Just(ClockTrust::Trusted),
        Just(ClockTrust::TrustedUnsynchronised),
        Just(ClockTrust::NotTrusted("wrong".into()))
    ];
    (clock_trust, 0usize..3).prop_map(|(clock_trust, count)| Constraints {
        clock_trust,
        reasons: vec![DeferralReason::KubeadmRunning { pid: 7 }; count],
        refused: vec![],
        long_expired: BTreeMap::new(),
    })
}

/// A node of credentials in any condition, each with a step that does anything.
fn any_node() -> impl Strategy<Value = (Vec<Judged>, Plan)> {
    let action = prop_oneof![
        Just(Action::Report),
        Just(Action::Error),
        Just(Action::Renew),
        Just(Action::Repair)
    ];
    let one = (0..Condition::ALL.len(), action);
    proptest::collection::vec(one, 0..8).prop_map(|node| {
        let node = node.into_iter().enumerate().map(|(number, (condition, action))| {
            let mut judged = ends_in(10);
            judged.facts.credential.name =
                CredentialName::new(format!("credential-{number}")).unwrap();
            judged.judgement = Judgement {
                condition: Condition::ALL[condition],
                action,
                reason: String::new(),
                attention: true,
            };
            let issues = action.issues();
            let terms = issues.then(|| Terms { not_before: now(), not_after: now() });
            let step = Step {
                credential: judged.facts.credential.name.clone(),
                action,
                reason: String::new(),
                terms,
            };
            (judged, step)
        });
        let (judged, steps) = node.unzip();
        (judged, Plan { steps })
    })
}

proptest! {
    #[test]
    fn every_step_goes_ahead_or_is_deferred(
        (judged, plan) in any_node(),
        constraints in any_constraints(),
        force: bool,
    ) {
        let request = Request { force, ..Request::default() };
        let (left, waiting) =
            defer(plan.clone(), &judged, &request, &policy(), &constraints, now());
        let trusted = !matches!(constraints.clock_trust, ClockTrust::NotTrusted(_));
        prop_assert!(trusted || left.issuing().count() == 0, "issued by a clock that is not \
            trusted");
        for (step, judged) in plan.steps.iter().zip(&judged) {
            let stays = left.steps.contains(step);
            let waits = waiting.iter().filter(|one| one.credential == step.credential).count();
            prop_assert_eq!(usize::from(stays) + waits, 1, "{:?} is either left or said to \
                wait", step);
            prop_assert!(stays || step.terms.is_some(), "{:?} issues nothing", step);
            let can_wait = judged.judgement.condition.urgency() <= Urgency::Due;
            prop_assert!(stays || can_wait || !trusted, "{:?} can't wait", step);
            prop_assert!(stays || !force || !trusted, "{:?} was forced", step);
            let is_held = !force && !constraints.reasons.is_empty();
            let held = step.terms.is_some() && can_wait && is_held;
            prop_assert!(!(stays && held), "{:?} should wait", step);
        }
    }

    #[test]
    fn remaining_steps_keep_their_order(
        (judged, plan) in any_node(),
        constraints in any_constraints(),
    ) {
        let request = Request::default();
        let (left, _) =
            defer(plan.clone(), &judged, &request, &policy(), &constraints, now());
        let kept: Vec<_> =
            plan.steps.into_iter().filter(|step| left.steps.contains(step)).collect();
        prop_assert_eq!(left.steps, kept);
    }
}

/// A credential that ended so many days ago.
fn ended(days_ago: u64) -> Judged {
    let mut judged = ends_in(0);
    let Material::Whole(leaf) = &mut judged.facts.material else { panic!() };
    leaf.not_after = now().minus(days(days_ago));
    judged.judgement = judge(&judged.facts, judged.authority.as_ref(), &policy(), now());
    judged
}

#[test]
fn node_of_several_is_renewed_for_thirty_days() {
    let gone = |ago: u64, members| long_expired(&[ended(ago)], members, now()).len();
    assert_eq!((gone(31, 2), gone(30, 2), gone(400, 3)), (1, 0, 1));
    assert_eq!((gone(400, 1), gone(400, 0)), (0, 0), "a single node is renewed after any time");
}

#[test]
fn what_has_no_date_any_more_is_as_old_as_its_node() {
    let mut broken = ended(400);
    broken.facts.credential.name = CredentialName::new("broken").unwrap();
    broken.facts.material = Material::Damaged("is empty".into());
    let names = |node: &[Judged]| {
        long_expired(node, 3, now()).into_keys().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[ended(400), broken.clone()]), ["apiserver", "broken"]);
    let mut alive = ends_in(5);
    alive.facts.credential.name = CredentialName::new("alive").unwrap();
    assert_eq!(names(&[ended(400), broken.clone(), alive]), ["apiserver"], "the node was not away");
    assert_eq!(names(&[ended(20), broken]), Vec::<String>::new());
}

#[test]
fn what_kubelet_conf_embeds_from_long_ago_says_nothing_of_the_node() {
    let mut kubelets = ends_in(100);
    let embedded = Some(ended(400).facts.material);
    let kubeconfig = path("/etc/kubernetes/kubelet.conf");
    kubelets.facts.kubelet = Some(crate::model::KubeletClient {
        kubeconfig,
        embedded,
        lost: None,
        rotation_off: None,
        node: Ok("cp1".into()),
    });
    assert_eq!(long_expired(&[kubelets], 3, now()).len(), 0);
}

#[test]
fn long_expired_waits_only_for_an_operator() {
    let judged = ended(400);
    let long_expired = long_expired(std::slice::from_ref(&judged), 3, now());
    let constraints = Constraints { long_expired, reasons: Vec::new(), ..held() };
    for force in [false, true] {
        let (issued, waiting) =
            deferred(&judged, &Request { force, ..Request::default() }, &constraints);
        assert_eq!(
            (issued, waiting.len(), waiting[0].awaits, waiting[0].until),
            (0, 1, Awaited::Word, None)
        );
        let reason = &waiting[0].reason;
        assert!(
            reason.starts_with("it expired 400 days ago, and etcd has 3 members: ")
                && reason.contains("kubecertd renew --include-long-expired"),
            "{reason}"
        );
    }
    assert_eq!(
        deferred(
            &judged,
            &Request { include_long_expired: true, ..Request::default() },
            &constraints
        ),
        (1, vec![])
    );
    let wrong = Constraints {
        clock_trust: ClockTrust::NotTrusted("the clock is wrong".into()),
        ..constraints
    };
    assert_eq!(
        deferred(&judged, &Request { include_long_expired: true, ..Request::default() }, &wrong).0,
        0,
        "never by a wrong clock"
    );
}

#[test]
fn credential_that_others_can_write_is_issued_once_a_day() {
    let hour = Duration::from_secs(3_600);
    let issued = |at: Option<Timestamp>, request: &Request| {
        let mut judged = ends_in(5);
        judged.facts.other_writers = Some(OtherWriters {
            through: "/srv/app belongs to user 1234".to_owned(),
            identity: Identity::Known,
            issued: at,
        });
        let (issued, deferred) =
            deferred(&judged, request, &Constraints { reasons: Vec::new(), ..held() });
        (issued, deferred.first().and_then(|deferral| deferral.until))
    };
    let all = Request::default();
    assert_eq!(issued(None, &all), (1, None));
    assert_eq!(issued(Some(now().minus(hour)), &all), (0, Some(now().plus(23 * hour))));
    assert_eq!(issued(Some(now().minus(days(1))), &all), (1, None));
    assert_eq!(issued(Some(now().plus(hour)), &all), (1, None), "by a clock that was ahead");
    let forced = Request { force: true, ..Request::default() };
    assert_eq!(issued(Some(now().minus(hour)), &forced).0, 0, "it was not asked for by its name");
    let name = CredentialName::constant("apiserver");
    let asked = Request { only: [name].into(), ..Request::default() };
    assert_eq!(issued(Some(now().minus(hour)), &asked), (1, None));
}
