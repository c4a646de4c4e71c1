use super::super::service_fixtures::*;
use super::*;
use crate::model::{
    AbsolutePath, Digest, Material, RefreshStep, Replaced, ServiceKind, TrustFile, TrustFileFacts,
    UnitRefresh, days,
};
use crate::plan::{note_out_of_sight, note_reloaded};

const AT: u64 = 5_000;

fn memory() -> ServiceMemory {
    ServiceMemory {
        appeared: [(content("one"), appeared_at("new", AT, Some(now().plus(days(10)))))].into(),
        ..ServiceMemory::default()
    }
}

fn look(facts: &ServiceFacts, memory: &ServiceMemory) -> Freshness {
    let judged = judge_service(facts, on_disk(&[judged("one", "new")]), memory, now());
    assert_eq!(judged.facts, *facts);
    assert_eq!(judged.freshness.len(), 1);
    judged.freshness[0].1.clone()
}

/// A service that started at that time and takes the credential so.
fn with(takes: Takes, started: u64, change: impl FnOnce(&mut Holding)) -> ServiceFacts {
    let mut facts = service("api", "one", takes, started);
    change(&mut facts.holds[0]);
    facts
}

fn unknown(reason: &str) -> Freshness {
    Freshness::Unknown(reason.into())
}

#[test]
fn served_certificate_outweighs_other_evidence() {
    for takes in [Takes::Reloads, Takes::Restart, Takes::NewConnections] {
        for started in [AT - 1, AT + 1] {
            let served = |content| {
                with(takes, started, |holding| {
                    holding.serves = served(content);
                    holding.sees = vec![seen(Sees::Another)];
                })
            };
            assert_eq!(
                look(&served("new"), &memory()),
                Freshness::Fresh(Evidence::Serves),
                "{takes:?}"
            );
            assert_eq!(
                look(&served("old"), &memory()),
                Freshness::Stale(Evidence::Serves),
                "{takes:?}"
            );
        }
    }
}

#[test]
fn reloading_service_is_never_judged_by_start_time() {
    for started in [AT - 1, AT + 1] {
        assert_eq!(look(&with(Takes::Reloads, started, |_| {}), &memory()), Freshness::ByItself);
        for (serves, reason) in [
            (Serves::NotItsOwn("haproxy".into()), "haproxy"),
            (Serves::Nothing("refused".into()), "refused"),
        ] {
            let facts = with(Takes::Reloads, started, |holding| holding.serves = Some(serves));
            assert_eq!(look(&facts, &memory()), unknown(reason));
        }
    }
}

#[test]
fn inconclusive_probe_falls_back_to_other_evidence() {
    let facts = with(Takes::Restart, AT - 1, |holding| {
        holding.serves = Some(Serves::NotItsOwn("haproxy".into()))
    });
    assert_eq!(look(&facts, &memory()), Freshness::Stale(Evidence::Started));
}

#[test]
fn differing_file_is_stale_whenever_service_started() {
    for takes in [Takes::Reloads, Takes::Restart, Takes::NewConnections] {
        let facts = with(takes, AT + 1, |holding| {
            holding.sees = vec![seen(Sees::Same), seen(Sees::Another)]
        });
        assert_eq!(look(&facts, &memory()), Freshness::Stale(Evidence::Sees), "{takes:?}");
    }
}

#[test]
fn start_time_decides_without_better_evidence() {
    for sees in [
        vec![],
        vec![seen(Sees::Same)],
        vec![seen(Sees::Nothing)],
        vec![seen(Sees::Unknown("gone".into()))],
    ] {
        let started =
            |at| look(&with(Takes::Restart, at, |holding| holding.sees = sees.clone()), &memory());
        assert_eq!(started(AT - 1), Freshness::Stale(Evidence::Started), "{sees:?}");
        assert_eq!(started(AT), Freshness::Fresh(Evidence::Started), "{sees:?}");
    }
}

#[test]
fn content_from_before_boot_is_older_than_every_process() {
    let mut memory = memory();
    memory.appeared.get_mut(&content("one")).unwrap().at.boot =
        crate::model::BootId("earlier".into());
    assert_eq!(
        look(&with(Takes::Restart, AT - 1, |_| {}), &memory),
        Freshness::Fresh(Evidence::Started)
    );
}

#[test]
fn start_time_is_no_evidence_without_memory_of_content() {
    let mut other = memory();
    other.appeared.get_mut(&content("one")).unwrap().fingerprint = Digest::of(b"other").to_string();
    for memory in [ServiceMemory::default(), other] {
        for takes in [Takes::Restart, Takes::NewConnections] {
            assert_eq!(
                look(&with(takes, AT, |_| {}), &memory),
                unknown("when one got the present content is not known")
            );
        }
    }
}

#[test]
fn noted_open_connections_linger_until_before_expiry() {
    let end = now().plus(days(10));
    let mut memory = memory();
    memory.connections.push(noted("api", "one", "new", &[7, 8, 9], Some(end)));
    let open = |cookies: &[u64]| {
        look(
            &with(Takes::NewConnections, AT - 1, |holding| {
                holding.connections = Some(cookies.to_vec())
            }),
            &memory,
        )
    };
    assert_eq!(
        open(&[8, 9, 10]),
        Freshness::Lingering { connections: 2, until: end.minus(CLOSE_BEFORE) }
    );
    assert_eq!(open(&[10, 11]), Freshness::Fresh(Evidence::Connections));
    assert_eq!(open(&[]), Freshness::Fresh(Evidence::Connections));
}

#[test]
fn connection_older_than_two_renewals_ends_with_the_first() {
    let mut memory = memory();
    memory.connections.push(noted("api", "one", "older", &[7], Some(now().plus(days(3)))));
    memory.connections.push(noted("api", "one", "new", &[7, 8], Some(now().plus(days(9)))));
    let open = |cookies: &[u64]| {
        look(
            &with(Takes::NewConnections, AT - 1, |holding| {
                holding.connections = Some(cookies.to_vec())
            }),
            &memory,
        )
    };
    let until = |end| now().plus(days(end)).minus(CLOSE_BEFORE);
    assert_eq!(open(&[7, 8]), Freshness::Lingering { connections: 2, until: until(3) });
    assert_eq!(open(&[8]), Freshness::Lingering { connections: 1, until: until(9) });
}

#[test]
fn notes_of_other_services_or_boots_are_ignored() {
    let mut memory = memory();
    memory.connections.push(noted("other", "one", "new", &[7], None));
    memory.connections.push(noted("api", "other", "new", &[7], None));
    let mut elsewhere = noted("api", "one", "new", &[7], None);
    elsewhere.boot = crate::model::BootId("earlier".into());
    memory.connections.push(elsewhere);
    let facts = with(Takes::NewConnections, AT, |holding| holding.connections = Some(vec![7]));
    assert_eq!(look(&facts, &memory), Freshness::Fresh(Evidence::Connections));
}

#[test]
fn without_note_all_connections_of_older_process_count() {
    let open = |started, memory: &ServiceMemory| {
        look(
            &with(Takes::NewConnections, started, |holding| holding.connections = Some(vec![7, 8])),
            memory,
        )
    };
    let until = now().plus(days(10)).minus(CLOSE_BEFORE);
    assert_eq!(open(AT - 1, &memory()), Freshness::Lingering { connections: 2, until });
    assert_eq!(open(AT, &memory()), Freshness::Fresh(Evidence::Connections));
    let mut forgotten = memory();
    forgotten.appeared.get_mut(&content("one")).unwrap().earlier.clear();
    assert_eq!(
        open(AT - 1, &forgotten),
        Freshness::Lingering { connections: 2, until: now() },
        "no end is known"
    );
}

#[test]
fn unreadable_connections_are_not_taken_for_none() {
    let facts = with(Takes::NewConnections, AT + 1, |holding| holding.connections = None);
    assert_eq!(look(&facts, &memory()), unknown("its open connections can't be observed"));
}

#[test]
fn service_down_or_unknown_is_neither_fresh_nor_stale() {
    let presence =
        |presence| look(&ServiceFacts { presence, ..with(Takes::Restart, AT, |_| {}) }, &memory());
    assert_eq!(presence(Presence::Absent), Freshness::NotRunning);
    assert_eq!(presence(Presence::Down("exited".into())), Freshness::NotRunning);
    assert_eq!(presence(Presence::Unknown("no answer".into())), unknown("no answer"));
}

#[test]
fn broken_credential_gives_unknown_freshness() {
    let facts = with(Takes::Reloads, AT, |holding| holding.serves = served("new"));
    let mut broken = judged("one", "new");
    broken.facts.material = Material::Damaged("no certificate".into());
    broken.judgement.reason = "the reason of its judgement".into();
    let found = judge_service(&facts, on_disk(&[broken]), &memory(), now());
    assert_eq!(found.freshness, [(content("one"), unknown("the reason of its judgement"))]);
    let found = judge_service(&facts, on_disk(&[]), &memory(), now());
    assert_eq!(
        found.freshness,
        [(content("one"), unknown("one is not among the credentials of this node"))]
    );
}

#[test]
fn use_without_facts_gives_unknown_freshness() {
    let mut facts = with(Takes::Restart, AT, |_| {});
    facts.holds.clear();
    assert_eq!(look(&facts, &memory()), unknown("it was not observed"));
}

/// A service that goes on running when it is reloaded.
fn told_in_place(started: u64) -> ServiceFacts {
    let mut facts = with(Takes::Restart, started, |_| {});
    facts.service.kind =
        ServiceKind::Unit { unit: "haproxy.service".into(), refresh: UnitRefresh::Reload };
    facts
}

fn step_for(facts: &ServiceFacts, content: &str) -> RefreshStep {
    restart_of(facts.service.name.as_str(), "", "one", &fingerprint(content).to_string())
}

#[test]
fn running_service_uses_what_it_was_reloaded_for() {
    let facts = told_in_place(AT - 1);
    let mut memory = memory();
    assert_eq!(look(&facts, &memory), Freshness::Stale(Evidence::Started));
    note_reloaded(&mut memory, &step_for(&facts, "new"));
    assert_eq!(look(&facts, &memory), Freshness::Fresh(Evidence::ReloadRequest));
    note_reloaded(&mut memory, &step_for(&facts, "older"));
    assert_eq!(
        look(&facts, &memory),
        Freshness::Stale(Evidence::Started),
        "it was reloaded for another one"
    );
    assert_eq!(
        look(&told_in_place(AT + 1), &memory),
        Freshness::Fresh(Evidence::Started),
        "it began anew since"
    );
    let restarted = with(Takes::Restart, AT - 1, |_| {});
    note_reloaded(&mut memory, &step_for(&restarted, "new"));
    assert_eq!(
        look(&restarted, &memory),
        Freshness::Stale(Evidence::Started),
        "a container that is the same was not restarted"
    );
}

/// It may have been configured an hour ago, and the first pass that hears of it renews.
#[test]
fn new_command_service_is_refreshed_for_same_pass_renewal() {
    let mut facts = with(Takes::Restart, AT, |_| {});
    facts.service.kind =
        ServiceKind::Command { command: vec!["/bin/true".into()], limit: Duration::ZERO };
    facts.presence = Presence::OutOfSight;
    let mut memory = memory();
    let leaf = judged("one", "new").facts.material.leaf().unwrap().clone();
    let replaced = [Replaced {
        content: content("one"),
        fingerprint: leaf.fingerprint,
        not_after: leaf.not_after,
    }];
    note_out_of_sight(&mut memory, std::slice::from_ref(&facts), &replaced);
    assert_eq!(look(&facts, &memory), Freshness::Stale(Evidence::ReloadRequest));
    note_reloaded(&mut memory, &step_for(&facts, "new"));
    assert_eq!(look(&facts, &memory), Freshness::Fresh(Evidence::ReloadRequest));
}

#[test]
fn command_service_is_refreshed_once_per_change() {
    let mut facts = with(Takes::Restart, AT, |_| {});
    facts.service.kind =
        ServiceKind::Command { command: vec!["/bin/true".into()], limit: Duration::ZERO };
    facts.presence = Presence::OutOfSight;
    let mut memory = memory();
    assert_eq!(look(&facts, &memory), unknown("its last reload request is not known"));
    note_out_of_sight(&mut memory, std::slice::from_ref(&facts), &[]);
    assert_eq!(
        look(&facts, &memory),
        Freshness::Fresh(Evidence::ReloadRequest),
        "nothing is known against it"
    );
    let newer = |memory: &ServiceMemory| {
        judge_service(&facts, on_disk(&[judged("one", "newer")]), memory, now()).freshness[0]
            .1
            .clone()
    };
    assert_eq!(newer(&memory), Freshness::Stale(Evidence::ReloadRequest));
    memory.appeared.insert(content("one"), appeared_at("newer", AT + 1, None));
    note_out_of_sight(&mut memory, std::slice::from_ref(&facts), &[]);
    assert_eq!(
        newer(&memory),
        Freshness::Stale(Evidence::ReloadRequest),
        "it was reloaded for an earlier one, at any time"
    );
    note_reloaded(&mut memory, &step_for(&facts, "newer"));
    assert_eq!(newer(&memory), Freshness::Fresh(Evidence::ReloadRequest));
}

/// A service that started at that time and trusts a kubeconfig, whose CA certificates have been the
/// same since [`AT`].
fn trusting(started: u64) -> (ServiceFacts, ServiceMemory) {
    let file = TrustFile::Kubeconfig(AbsolutePath::constant("/k.conf"));
    let mut facts = service("api", "one", Takes::Reloads, started);
    facts.service.trusts = vec![file.clone()];
    let mut memory = memory();
    let content = ContentName::CaCertificates(file.path().clone());
    memory.appeared.insert(content, appeared_at("new", AT, None));
    (facts, memory)
}

#[test]
fn ca_certificates_are_fresh_by_start_of_service() {
    let credentials = [judged("one", "new")];
    let look = |started: u64, found: &[TrustFileFacts]| {
        let (facts, memory) = trusting(started);
        let on_disk = OnDisk { credentials: &credentials, trust_files: found };
        judge_service(&facts, on_disk, &memory, now()).freshness[1].1.clone()
    };
    let found = |content: &str| [ca_certificates("/k.conf", content, 2)];
    assert_eq!(look(AT + 1, &found("new")), Freshness::Fresh(Evidence::Started));
    assert_eq!(look(AT - 1, &found("new")), Freshness::Stale(Evidence::Started));
    let reason = "when CA certificates of /k.conf got the present content is not known";
    assert_eq!(look(AT - 1, &found("newer")), unknown(reason));
    assert_eq!(look(AT - 1, &[]), unknown("/k.conf was not read"));
    let mut broken = found("new");
    broken[0].certificates = Err("/k.conf: no CA certificate".to_owned());
    assert_eq!(look(AT - 1, &broken), unknown("/k.conf: no CA certificate"));
}

#[test]
fn signalled_service_has_ca_certificates_of_its_last_reload() {
    let (mut facts, mut memory) = trusting(AT - 1);
    facts.service.kind =
        ServiceKind::Unit { unit: "a.service".into(), refresh: UnitRefresh::Reload };
    let found = [ca_certificates("/k.conf", "new", 1)];
    let credentials = [judged("one", "new")];
    let look = |memory: &ServiceMemory| {
        let on_disk = OnDisk { credentials: &credentials, trust_files: &found };
        judge_service(&facts, on_disk, memory, now()).freshness[1].1.clone()
    };
    assert_eq!(look(&memory), Freshness::Stale(Evidence::Started));
    let content = ContentName::CaCertificates(AbsolutePath::constant("/k.conf"));
    let step = RefreshStep {
        contents: vec![(content, fingerprint("new").to_string())],
        ..restart_of("api", "api", "one", "")
    };
    note_reloaded(&mut memory, &step);
    assert_eq!(look(&memory), Freshness::Fresh(Evidence::ReloadRequest));
}
