use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::*;
use crate::plan::judge::fixtures::only;
use crate::plan::service_fixtures::{judged, name, now};
use crate::plan::{Finding, JudgedService, judge, judge_authority};

const DAY: i64 = 86_400;

fn at(days: i64) -> Timestamp {
    Timestamp::from_seconds(now().seconds() + days * DAY)
}

fn policy() -> Policy {
    Policy {
        renew_before: days(15),
        urgent_before: days(3),
        validity: days(365),
        backdate: Duration::ZERO,
        key: KeyChoice::Keep,
    }
}

/// An authority with this many days left.
fn authority(name: &str, left: i64, key: AuthorityKey) -> AuthorityFacts {
    let certificate = AuthorityCertificate {
        subject: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: at(-1_000),
        not_after: at(left),
        fingerprint: Digest::of(b"ca"),
    };
    let path = AbsolutePath::constant("/etc/kubernetes/pki/ca.crt");
    let authority = Authority {
        name: AuthorityName::new(name).unwrap(),
        certificate: path.clone(),
        key: path,
        other_keys: Vec::new(),
        clients: None,
        clients_may: None,
        root: name == "ca",
        key_elsewhere: false,
        need: Need::Configured,
    };
    let state = AuthorityState::Present { anchors: only(certificate), key };
    AuthorityFacts { authority, state, relations: Relations::default() }
}

/// A credential that lived a year in all, or longer where it has more left, judged as a pass would.
fn ends_in(credential: &str, left: i64, change: impl FnOnce(&mut Judged)) -> Judged {
    let mut one = judged(credential, credential);
    one.authority = Some(authority("ca", 3_000, AuthorityKey::Usable));
    if let Material::Whole(leaf) = &mut one.facts.material {
        (leaf.not_before, leaf.not_after) = (at((left - 365).min(-1)), at(left));
    }
    change(&mut one);
    one.judgement = judge(&one.facts, one.authority.as_ref(), &policy(), now());
    one
}

fn nothing(_: &mut Judged) {}

fn by_kubelet(one: &mut Judged) {
    one.facts.credential.renewal = Renewal::Kubelet;
    one.facts.credential.location =
        Location::Bundle(AbsolutePath::constant("/var/lib/kubelet/pki/kubelet-client-current.pem"));
}

fn external(one: &mut Judged) {
    one.authority = Some(authority("ca", 3_000, AuthorityKey::Absent));
}

/// A node at the end of a pass; fresh at first.
struct Case {
    authorities: Vec<AuthorityFacts>,
    credentials: Vec<Judged>,
    only: BTreeSet<CredentialName>,
    deferred: Vec<Deferral>,
    membership: Option<MembershipFinding>,
    holds: Vec<DeferralReason>,
    clock_trust: ClockTrust,
    lacking: BTreeMap<CredentialName, Vec<String>>,
    renewers: Vec<OtherRenewer>,
    unclear: Vec<UnclearManifest>,
    not_copied: BTreeMap<CredentialName, String>,
    not_trusted: Option<Vec<String>>,
    schedule: ConfigurationCheck<'static>,
    rotation: RotationInputs<'static>,
    memory: AlarmMemory,
}

impl Case {
    fn fresh() -> Self {
        Self {
            authorities: vec![authority("ca", 3_000, AuthorityKey::Usable)],
            credentials: vec![ends_in("apiserver", 364, nothing)],
            only: BTreeSet::new(),
            deferred: Vec::new(),
            membership: None,
            holds: Vec::new(),
            clock_trust: ClockTrust::Trusted,
            lacking: BTreeMap::new(),
            renewers: Vec::new(),
            unclear: Vec::new(),
            not_copied: BTreeMap::new(),
            not_trusted: Some(Vec::new()),
            schedule: ConfigurationCheck::Right,
            rotation: RotationInputs::None,
            memory: AlarmMemory::default(),
        }
    }

    fn with(credentials: Vec<Judged>) -> Self {
        Self { credentials, ..Self::fresh() }
    }

    fn assessment(&self) -> AlarmAssessment {
        let authorities: Vec<_> = self
            .authorities
            .iter()
            .map(|facts| (facts.clone(), judge_authority(facts, Duration::ZERO, now())))
            .collect();
        let seen = AlarmInputs {
            trust: &[],
            authorities: &authorities,
            credentials: &self.credentials,
            only: &self.only,
            deferred: &self.deferred,
            membership: self.membership.as_ref(),
            holds: &self.holds,
            lacking: &self.lacking,
            renewers: &self.renewers,
            unclear: &self.unclear,
            not_copied: &self.not_copied,
            not_trusted: self.not_trusted.as_deref(),
            rotation: self.rotation,
            policy: &policy(),
            root_authority_within: days(180),
            within: days(30),
        };
        let (clock_trust, configuration) = (&self.clock_trust, ConfigurationCheck::Right);
        let situation = AlarmSituation {
            host: "cp1",
            now: now(),
            seen: Some(seen),
            clock_trust,
            trouble: None,
            configuration,
            schedule: self.schedule,
        };
        let mut assessment = alarms(&situation, &self.memory);
        // A pass never observes these.
        for kind in [AlarmKind::NodesDiffer, AlarmKind::ClockDiffers] {
            let of_kind = (kind, None);
            assert!(assessment.unseen.contains(&of_kind), "{kind}");
            assessment.unseen.retain(|unseen| *unseen != of_kind);
        }
        assessment
    }

    fn raised(&self) -> Vec<String> {
        self.assessment()
            .alarms
            .iter()
            .map(|alarm| format!("{} {}", alarm.kind, alarm.entity))
            .collect()
    }
}

fn failed(credential: &str) -> AlarmMemory {
    AlarmMemory {
        failed: BTreeMap::from([(name(credential), "the disk is full".to_owned())]),
        ..AlarmMemory::default()
    }
}

const SOON: &str = "expiring-soon system.certificate.";
const EXPIRED: &str = "expired system.certificate.";

/// A copy of the API server's pair with this certificate, judged as a pass would.
fn copy(material: Material) -> Judged {
    ends_in("copy", -5, |one| {
        one.facts.credential.renewal =
            Renewal::Copy(CopyOf { original: name("apiserver"), found: false });
        one.facts.copy =
            Some(CopyFacts { original: Ok(Digest::of(b"the newest")), equivalent: false });
        if let Some(leaf) = material.leaf() {
            one.facts.material = Material::Whole(leaf.clone());
        } else {
            one.facts.material = material;
        }
    })
}

#[test]
fn outdated_copy_is_alarmed_without_its_expiry() {
    const TOLD: &str = "copy-not-updated copy=copy";
    let old = match copy(Material::Absent).facts.material {
        Material::Absent => ends_in("other", -5, nothing).facts.material,
        other => panic!("{other:?}"),
    };
    for material in [Material::Changed("x".into()), Material::Unreadable("x".into()), old.clone()] {
        assert_eq!(
            Case::with(vec![copy(material)]).raised(),
            [TOLD],
            "and not that it has expired"
        );
    }
    assert_eq!(Case::with(vec![copy(Material::Absent)]).raised(), [""; 0]);
    let mut case = Case::with(vec![copy(old)]);
    case.not_copied.insert(name("copy"), "the disk is full".to_owned());
    let alarm = case.assessment().alarms.remove(0);
    assert!(
        alarm.reason.ends_with("; the disk is full")
            && alarm.text.contains("does not follow apiserver"),
        "{alarm:?}"
    );
    case.deferred = vec![Deferral {
        credential: name("copy"),
        awaits: Awaited::Moment,
        reason: String::new(),
        until: None,
        urgent_from: None,
    }];
    assert_eq!(case.raised(), [""; 0], "it waits");
    // A pass that was about something else says nothing of it.
    (case.deferred, case.only) = (Vec::new(), [name("etcd/peer")].into());
    let assessment = case.assessment();
    assert_eq!(assessment.alarms, []);
    assert!(assessment.is_unseen(&alarm));
}

#[test]
fn healthy_node_has_no_alarm() {
    assert_eq!(Case::fresh().assessment(), AlarmAssessment::default());
}

#[test]
fn authority_is_alarmed_by_days_and_root_long_before() {
    for (name, left, expected) in [
        ("ca", 181, None),
        ("ca", 180, Some(SOON)),
        ("ca", -1, Some(EXPIRED)),
        ("etcd-ca", 31, None),
        ("etcd-ca", 30, Some(SOON)),
        ("etcd-ca", 0, Some(SOON)),
        ("etcd-ca", -1, Some(EXPIRED)),
    ] {
        let case = Case {
            authorities: vec![authority(name, left, AuthorityKey::Usable)],
            ..Case::fresh()
        };
        let expected: Vec<String> =
            expected.map(|kind| format!("{kind}{name}")).into_iter().collect();
        assert_eq!(case.raised(), expected, "{name} {left}");
    }
}

/// The root that was replaced is still trusted, and what it signed is lost when it expires.
#[test]
fn root_that_signs_no_more_is_alarmed_before_its_expiry() {
    for (left, expected) in [(181, None), (180, Some(SOON)), (-1, None)] {
        let mut facts = authority("ca", 3_000, AuthorityKey::Usable);
        let AuthorityState::Present { anchors, .. } = &mut facts.state else { panic!() };
        let signer = anchors.signers().next().unwrap().clone();
        let other = AuthorityCertificate { not_after: at(left), ..signer.clone() };
        let anchor = |certificate, can_sign| Anchor { certificate, can_sign };
        *anchors = vec![anchor(other, false), anchor(signer, true)].into();
        let case = Case { authorities: vec![facts], ..Case::fresh() };
        let expected: Vec<_> = expected.map(|kind| format!("{kind}ca")).into_iter().collect();
        assert_eq!(case.raised(), expected, "{left}");
    }
}

/// A credential that is renewed here is alarmed only when it was not; that of others when they are
/// late.
#[test]
fn credential_alarm_depends_on_its_renewer() {
    let foreign = |one: &mut Judged| {
        if let Material::Whole(leaf) = &mut one.facts.material {
            leaf.signer = Signer::Foreign;
        }
    };
    let watched = |one: &mut Judged| {
        (one.facts.credential.renewal, one.authority) = (Renewal::Elsewhere, None)
    };
    let kubelets_own_pair = |one: &mut Judged| {
        by_kubelet(one);
        one.facts.credential.location =
            Location::Kubeconfig(AbsolutePath::constant("/var/lib/kubelet/pki/kubelet.crt"));
    };
    let made_once = |one: &mut Judged| {
        one.facts.credential.renewal = Renewal::Operator(KubeletPair::SelfSigned);
    };
    let without_rotation = |one: &mut Judged| {
        by_kubelet(one);
        one.facts.kubelet = Some(KubeletClient {
            kubeconfig: AbsolutePath::constant("/etc/kubernetes/kubelet.conf"),
            embedded: None,
            lost: None,
            rotation_off: Some("rotateCertificates is not set".to_owned()),
            node: Ok("cp1".to_owned()),
        });
    };
    let with_authority =
        |one: &mut Judged| one.authority = Some(authority("ca", 2, AuthorityKey::Usable));
    type Change<'c> = &'c dyn Fn(&mut Judged);
    let table: [(&str, Change<'_>, i64, Option<&str>); 24] = [
        ("ours, due", &nothing, 10, None),
        ("ours, urgent", &nothing, 2, Some(SOON)),
        ("ours, expired", &nothing, -1, Some(EXPIRED)),
        ("external, comfortable", &external, 31, None),
        ("external, not due", &external, 16, None),
        ("external, due", &external, 14, Some(SOON)),
        ("external, expired", &external, -1, Some(EXPIRED)),
        ("foreign, comfortable", &foreign, 31, None),
        ("foreign, soon", &foreign, 30, Some(SOON)),
        ("foreign, expired", &foreign, -1, Some(EXPIRED)),
        ("watched, comfortable", &watched, 31, None),
        ("watched, soon", &watched, 30, Some(SOON)),
        ("kubelet's, at 89 % of a year", &by_kubelet, 40, None),
        ("kubelet's, at 90 % and a bit", &by_kubelet, 36, None),
        ("kubelet's, a day later", &by_kubelet, 35, Some(SOON)),
        ("kubelet's, expired", &by_kubelet, -1, Some(EXPIRED)),
        ("kubelet's own pair, which it never renews", &kubelets_own_pair, 35, None),
        ("kubelet's own pair, soon", &kubelets_own_pair, 29, Some(SOON)),
        ("made by kubelet once, comfortable", &made_once, 31, None),
        ("made by kubelet once, soon", &made_once, 29, Some(SOON)),
        ("kubelet's without rotation, comfortable", &without_rotation, 31, None),
        ("kubelet's without rotation, soon", &without_rotation, 29, Some(SOON)),
        ("expires with its CA", &with_authority, 2, None),
        ("ended with its CA", &with_authority, -1, Some(EXPIRED)),
    ];
    for (case, change, left, expected) in table {
        let one = ends_in("apiserver", left, |one| change(one));
        let raised: Vec<String> = Case::with(vec![one])
            .raised()
            .into_iter()
            .filter(|alarm| !alarm.starts_with("authority-"))
            .collect();
        let expected: Vec<String> =
            expected.map(|kind| format!("{kind}apiserver")).into_iter().collect();
        assert_eq!(raised, expected, "{case}");
    }
}

/// A certificate that lives for an hour gets no day of margin.
#[test]
fn kubelet_grace_is_proportional_to_lifetime() {
    let begin = now();
    let late = |life: u64| {
        expiry::kubelet_is_late(begin, begin.plus(Duration::from_secs(life))).seconds_since(begin)
    };
    assert_eq!(late(3_600), 3_240 + 180);
    assert_eq!(late(365 * 86_400), 365 * 86_400 / 10 * 9 + 86_400);
}

#[test]
fn due_and_failed_renewal_is_alarmed() {
    let case =
        Case { memory: failed("apiserver"), ..Case::with(vec![ends_in("apiserver", 10, nothing)]) };
    assert_eq!(
        case.raised(),
        ["renewal-failed host=cp1", "expiring-soon system.certificate.apiserver"]
    );
    let alarm = &case.assessment().alarms[0];
    assert_eq!(alarm.text, "Kubernetes certificates renewal failed.");
    assert_eq!(alarm.reason, "apiserver: the disk is full");
    assert_eq!(alarm.about, ["apiserver"]);
    let text = &case.assessment().alarms[1].text;
    assert_eq!(
        *text,
        format!(
            "Certificate apiserver is expiring soon on {}",
            at(10).civil().strftime("%Y-%m-%d, %H:%M:%S")
        )
    );
}

#[test]
fn external_authority_is_alarmed_when_its_key_is_needed() {
    let case = |left| Case {
        authorities: vec![authority("ca", 3_000, AuthorityKey::Absent)],
        ..Case::with(vec![ends_in("apiserver", left, external)])
    };
    assert_eq!(case(31).raised(), [""; 0]);
    assert_eq!(case(30).raised(), ["authority-external authority=ca"]);
}

fn deferred(urgent_in: Option<i64>) -> Deferral {
    Deferral {
        credential: name("apiserver"),
        awaits: Awaited::Moment,
        reason: "a good reason".to_owned(),
        until: None,
        urgent_from: urgent_in.map(at),
    }
}

#[test]
fn deferred_renewal_is_alarmed_a_day_before_urgent() {
    let hold = DeferralReason::Hold(Hold { until: at(1_000), reason: "upgrade".to_owned() });
    let case = |urgent_in| Case {
        deferred: vec![deferred(Some(urgent_in))],
        holds: vec![hold.clone()],
        ..Case::with(vec![ends_in("apiserver", 10, nothing)])
    };
    assert_eq!(case(7).raised(), [""; 0], "that is what a hold is for");
    assert_eq!(case(1).raised(), ["held-too-long host=cp1"]);
}

#[test]
fn long_expired_is_alarmed_with_what_the_other_members_say() {
    let alarm = |verdict: Option<MembershipVerdict>| {
        let text = "1 of the other 2 members of etcd lists this node's member".to_owned();
        let case = Case {
            deferred: vec![Deferral { awaits: Awaited::Word, ..deferred(None) }],
            membership: verdict.map(|verdict| MembershipFinding {
                verdict,
                text,
                may_change: true,
            }),
            ..Case::with(vec![ends_in("apiserver", -40, nothing)])
        };
        let alarms = case.assessment().alarms;
        alarms.into_iter().find(|alarm| alarm.kind == AlarmKind::LongExpired).unwrap()
    };
    let not_asked = alarm(None);
    assert_eq!(not_asked.reason, "a good reason");
    assert!(not_asked.repair.contains("on at least half of them"), "{}", not_asked.repair);
    // A timer makes a pass once a day.
    assert!(
        not_asked.repair.contains(
            "at their next pass (the daemon makes one about every ten minutes, kubecertd renew at \
             once)"
        ),
        "{}",
        not_asked.repair
    );
    let unknown = alarm(Some(MembershipVerdict::Unknown));
    assert_eq!(
        unknown.reason,
        "a good reason; 1 of the other 2 members of etcd lists this node's member"
    );
    assert_eq!(unknown.repair, not_asked.repair);
    let doubted = alarm(Some(MembershipVerdict::Doubted));
    assert_eq!(doubted.reason, unknown.reason);
    assert!(
        doubted.repair.contains("If it was removed, run kubeadm reset here")
            && !doubted.repair.contains("half of them"),
        "{}",
        doubted.repair
    );
}

#[test]
fn hanging_kubeadm_is_alarmed_after_a_day() {
    let holds = vec![DeferralReason::KubeadmRunning { pid: 7 }];
    let mut memory = AlarmMemory::default();
    let renewals = |now| Renewals {
        failed: const { &BTreeMap::new() },
        credentials: &[],
        by_a_trusted_clock: true,
        holds: &holds,
        now,
    };
    note_renewals(&mut memory, &renewals(at(-1).plus(Duration::from_secs(1))));
    note_renewals(&mut memory, &renewals(now()));
    let case = |memory: &AlarmMemory| Case {
        memory: memory.clone(),
        holds: holds.clone(),
        ..Case::fresh()
    };
    assert_eq!(case(&memory).raised(), [""; 0], "not yet");
    memory.kubeadm = Some(LongHold { pid: 7, since: at(-1) });
    note_renewals(&mut memory, &renewals(now()));
    assert_eq!(case(&memory).raised(), ["held-too-long host=cp1"]);
    memory.kubeadm = Some(LongHold { pid: 6, since: at(-1) });
    note_renewals(&mut memory, &renewals(now()));
    assert_eq!(case(&memory).raised(), [""; 0], "another one");
    note_renewals(&mut memory, &Renewals { holds: &[], ..renewals(now()) });
    assert_eq!(memory.kubeadm, None);
}

/// By a clock that can't be right, nothing is said of any date, and what was said of them stays.
#[test]
fn wrong_clock_is_alarmed_when_a_renewal_waits() {
    let clock_trust = || ClockTrust::NotTrusted("it is 1970".to_owned());
    let case = Case {
        clock_trust: clock_trust(),
        deferred: vec![deferred(None)],
        ..Case::with(vec![ends_in("apiserver", -1, nothing)])
    };
    assert_eq!(case.raised(), ["clock-not-believed host=cp1"]);
    let before = Case::with(vec![ends_in("apiserver", -1, nothing)]).assessment().alarms;
    let diff = diff(&before, case.assessment());
    assert_eq!(diff.events.iter().map(AlarmEvent::word).collect::<Vec<_>>(), ["raised"]);
    assert_eq!(diff.in_force.len(), 2);
    assert_eq!(Case { clock_trust: clock_trust(), ..Case::fresh() }.raised(), [""; 0]);
}

#[test]
fn lacking_names_and_other_renewers_are_alarmed() {
    let lacking = BTreeMap::from([(name("apiserver"), vec!["10.0.0.1".to_owned()])]);
    let file = AbsolutePath::constant("/etc/cron.d/certs");
    let renewers = vec![OtherRenewer { file, what: "cron runs it".to_owned() }];
    let file = AbsolutePath::constant("/etc/kubernetes/manifests/etcd.yaml");
    let unclear = vec![UnclearManifest { file, reason: "it names none".to_owned() }];
    let case = Case { lacking, renewers, unclear, ..Case::fresh() };
    assert_eq!(
        case.raised(),
        [
            "names-differ credential=apiserver",
            "manifest-unclear file=/etc/kubernetes/manifests/etcd.yaml",
            "other-renewer file=/etc/cron.d/certs"
        ]
    );
}

/// A pass for some of them says nothing of the others, except that they have expired.
#[test]
fn unrequested_credential_is_alarmed_only_when_expired() {
    let only = BTreeSet::from([name("etcd/server")]);
    let case =
        |left| Case { only: only.clone(), ..Case::with(vec![ends_in("apiserver", left, nothing)]) };
    assert_eq!(case(2).raised(), [""; 0]);
    assert_eq!(case(-1).raised(), ["expired system.certificate.apiserver"]);
    let before = Case::with(vec![ends_in("apiserver", 2, nothing)]).assessment().alarms;
    assert_eq!(diff(&before, case(2).assessment()).events, [], "nor is it cleared");
}

// ---- what is remembered ----

fn tried(memory: &mut AlarmMemory, errors: &[&str], credentials: &[Judged]) {
    let failed = errors.iter().map(|one| (name(one), "it failed".to_owned())).collect();
    note_renewals(
        memory,
        &Renewals {
            failed: &failed,
            credentials,
            by_a_trusted_clock: true,
            holds: &[],
            now: now(),
        },
    );
}

#[test]
fn failure_is_remembered_until_seen_to_be_over() {
    let mut memory = AlarmMemory::default();
    let due = ends_in("apiserver", 10, nothing);
    tried(&mut memory, &["apiserver"], std::slice::from_ref(&due));
    assert_eq!(memory.failed.keys().collect::<Vec<_>>(), [&name("apiserver")]);
    tried(&mut memory, &[], std::slice::from_ref(&due));
    assert_eq!(memory.failed.len(), 1, "it was not its turn, or it waits");
    tried(&mut memory, &[], &[ends_in("apiserver", 364, nothing)]);
    assert_eq!(memory.failed.len(), 0);
}

#[test]
fn failure_needs_due_credential_or_operator() {
    let mut memory = AlarmMemory::default();
    let damaged = ends_in("admin.conf", 364, |one| {
        one.facts.material = Material::Damaged("admin.conf: is empty".to_owned())
    });
    tried(&mut memory, &["apiserver"], &[damaged, ends_in("apiserver", 364, nothing)]);
    assert_eq!(memory.failed.keys().collect::<Vec<_>>(), [&name("admin.conf")]);
    assert!(memory.failed[&name("admin.conf")].starts_with("admin.conf: is empty"));
    tried(&mut memory, &[], &[]);
    assert_eq!(memory.failed.len(), 0, "it is no longer managed");
}

fn service(presence: Presence, freshness: Freshness) -> JudgedService {
    let service = Service {
        name: ServiceName::new("kube-scheduler").unwrap(),
        kind: ServiceKind::Unit { unit: "a.service".to_owned(), refresh: UnitRefresh::Restart },
        health: None,
        essential: None,
        leader_lease: None,
        trusts: Vec::new(),
        one_certificate: None,
        uses: Vec::new(),
        ages: false,
        configured: false,
    };
    let facts = ServiceFacts { service, presence, health: Health::NotAsked, holds: Vec::new() };
    JudgedService { facts, freshness: vec![(name("scheduler.conf").into(), freshness)] }
}

fn running() -> Presence {
    let started = Uptime { boot: BootId("boot".to_owned()), since_boot: Duration::ZERO };
    Presence::Running(Instance {
        id: "i".to_owned(),
        pid: None,
        started,
        started_at: now(),
        age: Duration::ZERO,
    })
}

/// What a service was before (not updated or not), what was found and done, and whether it counts
/// as not updated then.
#[test]
fn service_is_not_updated_until_verified() {
    let name = ServiceName::new("kube-scheduler").unwrap();
    let stale = || Freshness::Stale(Evidence::Sees);
    let fresh = || Freshness::Fresh(Evidence::Sees);
    let unknown = || Freshness::Unknown("it is not known".to_owned());
    let (down, unseen) = (
        || Presence::Down("exited".to_owned()),
        || Presence::Unknown("containerd does not answer".to_owned()),
    );
    let failed =
        || Some(ServiceOutcome::NotUpdated("kubelet has not started another one".to_owned()));
    let table = [
        ("fails", running(), stale(), failed(), [true, true]),
        ("is refreshed", running(), stale(), Some(ServiceOutcome::Updated), [false, false]),
        ("waits", running(), stale(), None, [false, true]),
        ("waits for its restart", running(), stale(), Some(ServiceOutcome::Open), [false, true]),
        ("is fresh", running(), fresh(), None, [false, false]),
        ("reads it by itself", running(), Freshness::ByItself, None, [false, false]),
        ("not known", running(), unknown(), None, [false, true]),
        ("is down", down(), Freshness::NotRunning, None, [false, true]),
        ("is not seen", unseen(), unknown(), None, [false, true]),
        ("is gone", Presence::Absent, Freshness::NotRunning, None, [false, false]),
    ];
    for (case, presence, freshness, end, expected) in table {
        for (before, expected) in [false, true].into_iter().zip(expected) {
            let mut memory = AlarmMemory::default();
            memory.not_updated.extend(before.then(|| (name.clone(), "earlier".to_owned())));
            let treated = end.iter().map(|end| (name.clone(), end.clone())).collect();
            note_services(
                &mut memory,
                &[service(presence.clone(), freshness.clone())],
                &[],
                &treated,
            );
            assert_eq!(
                memory.not_updated.contains_key(&name),
                expected,
                "{case}, before: {before}"
            );
        }
    }
}

#[test]
fn service_stale_after_restart_is_not_updated() {
    let seen = [service(running(), Freshness::Stale(Evidence::Sees))];
    let (service, credential) =
        (ServiceName::new("kube-scheduler").unwrap(), name("scheduler.conf"));
    let still = Finding::StillStale {
        service,
        content: credential.into(),
        evidence: Evidence::Sees,
        restarted: now(),
    };
    let mut memory = AlarmMemory::default();
    note_services(&mut memory, &seen, std::slice::from_ref(&still), &BTreeMap::new());
    let case = Case { memory: memory.clone(), ..Case::fresh() };
    assert_eq!(case.raised(), ["services-not-updated host=cp1"]);
    assert_eq!(
        case.assessment().alarms[0].text,
        "Kubernetes certificates have been renewed but not all services have been updated."
    );
    note_services(&mut memory, &[], &[], &BTreeMap::new());
    assert_eq!(memory.not_updated.len(), 1, "they were not looked at");
    let (service, credential) =
        (ServiceName::new("kube-scheduler").unwrap(), name("scheduler.conf"));
    let left = |overdue| Finding::LeftToKubelet {
        service: service.clone(),
        credential: credential.clone(),
        overdue,
    };
    let by_hand = Finding::ByHand {
        service: service.clone(),
        content: credential.clone().into(),
        evidence: Evidence::Sees,
    };
    for (finding, alarms) in [(by_hand, 1), (left(true), 1), (left(false), 0)] {
        let mut memory = AlarmMemory::default();
        note_services(&mut memory, &seen, &[finding], &BTreeMap::new());
        assert_eq!(memory.not_updated.len(), alarms, "no restart is made, so it stays");
    }
}

// ---- what becomes of them ----

fn alarm(kind: AlarmKind, entity: &str, about: &[&str], raised: i64) -> Alarm {
    Alarm {
        kind,
        entity: entity.to_owned(),
        about: about.iter().map(ToString::to_string).collect(),
        text: "A text.".to_owned(),
        reason: raised.to_string(),
        repair: String::new(),
        raised: at(raised),
    }
}

#[test]
fn alarm_keeps_its_time_and_ignores_new_reasons() {
    let before = [alarm(AlarmKind::RenewalFailed, "host=cp1", &["a"], 0)];
    let now = |about: &[&str]| AlarmAssessment {
        alarms: vec![alarm(AlarmKind::RenewalFailed, "host=cp1", about, 5)],
        unseen: Vec::new(),
    };
    let same = diff(&before, now(&["a"]));
    assert_eq!(same.events, []);
    assert_eq!(
        (same.in_force[0].raised, same.in_force[0].reason.as_str()),
        (at(0), "5"),
        "the reason is the newest"
    );
    let more = diff(&before, now(&["a", "b"]));
    assert!(
        matches!(more.events.as_slice(), [AlarmEvent::Changed(alarm)] if alarm.raised == at(0))
    );
    assert!(matches!(
        diff(&before, AlarmAssessment::default()).events.as_slice(),
        [AlarmEvent::Cleared(_)]
    ));
    let (alarms, configuration) = (&AlarmKind::ALL[1..], {
        configuration_alarms("cp1", at(0), None, ConfigurationCheck::Right)
    });
    let others: Vec<_> = alarms.iter().map(|kind| alarm(*kind, "host=cp1", &[], 0)).collect();
    let cleared: Vec<_> =
        diff(&others, configuration).events.iter().map(|event| event.alarm().kind).collect();
    assert_eq!(
        cleared,
        [AlarmKind::ConfigurationRefused, AlarmKind::ScheduleTooRare],
        "the configuration says nothing of anything else"
    );
}

#[test]
fn untrusted_state_files_are_alarmed_when_checked() {
    let case = Case {
        not_trusted: Some(vec![
            "/s/state.json: has mode 0666".to_owned(),
            "/s/x: belongs".to_owned(),
        ]),
        ..Case::fresh()
    };
    assert_eq!(case.raised(), ["not-trusted host=cp1"]);
    assert_eq!(case.assessment().alarms[0].reason, "/s/state.json: has mode 0666; /s/x: belongs");
    let unseen = Case { not_trusted: None, ..Case::fresh() }.assessment();
    assert_eq!((unseen.alarms, unseen.unseen), (Vec::new(), vec![(AlarmKind::NotTrusted, None)]));
}

#[test]
fn rare_schedule_is_alarmed_when_checked() {
    let schedule = ConfigurationCheck::Wrong("schedule.cron is too rare");
    let case = Case { schedule, ..Case::fresh() };
    assert_eq!(case.raised(), ["schedule-too-rare host=cp1"]);
    assert_eq!(case.assessment().alarms[0].reason, "schedule.cron is too rare");
    let unseen = Case { schedule: ConfigurationCheck::NotChecked, ..Case::fresh() }.assessment();
    assert_eq!(unseen.unseen, [(AlarmKind::ScheduleTooRare, None)]);
}

fn any_alarms() -> impl Strategy<Value = Vec<Alarm>> {
    let one = (0..AlarmKind::ALL.len(), "[ab]", "[cd]", 0_i64..9);
    let one = one.prop_map(|(kind, entity, about, raised)| {
        alarm(AlarmKind::ALL[kind], &entity, &[&about], raised)
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    /// Whatever happens: each alarm is in force once, every event is one that happened, and the
    /// same assessment again gives no event.
    #[test]
    fn alarms_never_flap(
        before in any_alarms(),
        now in any_alarms(),
        unseen in prop::collection::vec(0..AlarmKind::ALL.len(), 0..4),
    ) {
        let before = diff(&[], AlarmAssessment { alarms: before, unseen: Vec::new() }).in_force;
        let assessment = AlarmAssessment {
            alarms: now.clone(),
            unseen: unseen.iter().map(|kind| (AlarmKind::ALL[*kind], None)).collect(),
        };
        let first = diff(&before, assessment.clone());
        let has = |list: &[Alarm], alarm: &Alarm| {
            list.iter().filter(|other| other.key() == alarm.key()).count()
        };
        for event in &first.events {
            let (was, is) = (has(&before, event.alarm()), has(&first.in_force, event.alarm()));
            let expected = match event {
                AlarmEvent::Raised(_) => (0, 1),
                AlarmEvent::Changed(_) => (1, 1),
                AlarmEvent::Cleared(_) => (1, 0),
            };
            prop_assert_eq!((was, is), expected);
        }
        for alarm in &now {
            prop_assert_eq!(has(&first.in_force, alarm), 1);
        }
        for alarm in &before {
            let kept = has(&now, alarm) > 0
                || assessment.unseen.iter().any(|(kind, _)| *kind == alarm.kind);
            prop_assert_eq!(has(&first.in_force, alarm), usize::from(kept));
        }
        let again = diff(&first.in_force, assessment);
        prop_assert_eq!(again.events, []);
        prop_assert_eq!(again.in_force, first.in_force);
    }
}

#[test]
fn replacement_of_the_root_ca_is_alarmed_while_it_lasts() {
    let progress = "the nodes go to level trusted";
    let standing = |held| RotationInputs::UnderWay { progress, held };
    let raised = |rotation| Case { rotation, ..Case::fresh() }.raised();
    assert_eq!(raised(RotationInputs::None), Vec::<String>::new());
    let not_seen = Case { rotation: RotationInputs::NotSeen, ..Case::fresh() }.assessment();
    assert!(not_seen.unseen.contains(&(AlarmKind::RootCaBlocked, None)));
    assert_eq!(raised(standing(None)), ["root-ca-update host=cp1"]);
    let held = standing(Some("ca.crt: another CA"));
    assert_eq!(raised(held), ["root-ca-update host=cp1", "root-ca-blocked host=cp1"]);
}
