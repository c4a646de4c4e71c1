use super::super::service_fixtures::*;
use super::*;
use crate::model::{AbsolutePath, BootId, Material, days};
use crate::plan::Judged;

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// Takes note of the credential "one" as it is.
fn look(
    memory: &mut ServiceMemory,
    judged: &Judged,
    changed_ago: Option<Duration>,
    now: &Moment,
) -> Appeared {
    note_contents(memory, &[Content::of_credential(&judged.facts, changed_ago, None)], now);
    memory.appeared[&content("one")].clone()
}

/// A memory that saw "old" an hour ago, where it had been for long.
fn known() -> ServiceMemory {
    let mut memory = ServiceMemory::default();
    look(&mut memory, &judged("one", "old"), seconds(1_000_000), &moved(-3_600));
    memory
}

fn changed(changed_ago: Option<Duration>, now: &Moment) -> Appeared {
    look(&mut known(), &judged("one", "new"), changed_ago, now)
}

#[test]
fn first_seen_content_appeared_at_file_time() {
    let first = |ago| look(&mut ServiceMemory::default(), &judged("one", "new"), ago, &moment());
    assert_eq!(first(seconds(60)).at, up(UP - 60));
    assert_eq!(first(seconds(0)).at, up(UP));
    assert_eq!(first(seconds(UP + 1)).at, up(0), "before the machine started");
    assert_eq!(first(None).at, up(0), "a time in the future makes nothing stale");
    assert!(!first(seconds(60)).ours && first(seconds(60)).earlier.is_empty());
}

#[test]
fn touched_file_keeps_its_appearance() {
    let mut memory = known();
    let before = memory.appeared[&content("one")].clone();
    let after = look(&mut memory, &judged("one", "old"), seconds(5), &moment());
    assert_eq!(after, Appeared { seen: up(UP), seen_at: now(), ..before });
}

#[test]
fn changed_content_appears_at_file_time() {
    let new = changed(seconds(60), &moment());
    assert_eq!((new.at, new.fingerprint), (up(UP - 60), fingerprint("new").to_string()));
    let old = Earlier {
        fingerprint: fingerprint("old").to_string(),
        not_after: now().plus(days(365)),
        until: up(UP - 60),
    };
    assert_eq!(new.earlier, [old]);
}

#[test]
fn return_to_earlier_content_is_a_change() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    let back = look(&mut memory, &judged("one", "old"), seconds(60), &moved(600));
    assert_eq!(back.at, up(UP + 540));
    assert_eq!(back.earlier.len(), 2);
}

#[test]
fn implausible_file_time_gives_latest_change_time() {
    let at_latest = up(UP);
    assert_eq!(changed(None, &moment()).at, at_latest, "in the future");
    assert_eq!(
        changed(seconds(3_700), &moment()).at,
        at_latest,
        "from before the old content was seen there"
    );
    let ahead = Moment { at: now().plus(Duration::from_secs(500)), ..moment() };
    assert_eq!(changed(seconds(600), &ahead).at, at_latest, "the clock was set forward in between");
    let behind = Moment { at: now().minus(Duration::from_secs(500)), ..moment() };
    assert_eq!(changed(seconds(60), &behind).at, at_latest, "the clock was set back in between");
}

#[test]
fn slewed_clock_keeps_file_times_plausible() {
    let steered = Moment { at: now().plus(Duration::from_secs(2)), ..moment() };
    assert_eq!(changed(seconds(60), &steered).at, up(UP - 60));
    assert_eq!(
        changed(seconds(3_601), &moment()).at,
        up(UP - 3_600),
        "never before it was seen otherwise"
    );
}

fn after_a_reboot(uptime: u64, at: Timestamp) -> Moment {
    Moment {
        uptime: Uptime { boot: BootId("next".into()), since_boot: Duration::from_secs(uptime) },
        at,
    }
}

#[test]
fn content_seen_before_reboot_precedes_every_process() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    let now = after_a_reboot(100, now().plus(DAY));
    let same = look(&mut memory, &judged("one", "new"), seconds(86_460), &now);
    assert_eq!(same.at, after_a_reboot(0, now.at).uptime);
    assert_eq!(same.earlier, []);
}

#[test]
fn change_around_a_reboot_gets_its_time() {
    let at = |ago, now: &Moment| changed(ago, now).at.since_boot.as_secs();
    let later = after_a_reboot(100, now().plus(DAY));
    assert_eq!(at(seconds(200), &later), 0, "while the machine was off");
    assert_eq!(at(seconds(40), &later), 60, "since it is on");
    assert_eq!(at(None, &later), 100);
    let wrong = after_a_reboot(100, now().minus(DAY));
    assert_eq!(at(seconds(200), &wrong), 100, "by the clock it was before the last look");
}

#[test]
fn half_written_credential_is_no_change() {
    let mut memory = known();
    let before = memory.appeared[&content("one")].clone();
    let mut half = judged("one", "new");
    let Material::Whole(leaf) = half.facts.material else { panic!() };
    half.facts.material = Material::Mismatched(leaf, "the key does not fit".into());
    assert_eq!(look(&mut memory, &half, seconds(1), &moment()), before);
    half.facts.material = Material::Absent;
    assert_eq!(look(&mut memory, &half, None, &moment()), before);
    note_contents(&mut memory, &[], &moment());
    assert!(memory.appeared.is_empty(), "what the catalog does not name is forgotten");
}

#[test]
fn own_renewal_is_noted_exactly_and_stays_ours() {
    let mut memory = known();
    let replaced = Replaced {
        content: content("one"),
        fingerprint: fingerprint("new"),
        not_after: now().plus(days(365)),
    };
    note_replaced(&mut memory, &replaced, &moment());
    let noted = memory.appeared[&content("one")].clone();
    assert!(noted.ours);
    assert_eq!((noted.at, noted.earlier.len()), (up(UP), 1));
    let seen = look(&mut memory, &judged("one", "new"), seconds(1_000), &moved(100));
    assert!(seen.ours);
    assert_eq!(seen.at, up(UP));
    assert!(!look(&mut memory, &judged("one", "another"), seconds(10), &moved(200)).ours);
}

#[test]
fn memory_of_earlier_contents_is_bounded() {
    let mut memory = known();
    for number in 0..20 {
        look(&mut memory, &judged("one", &number.to_string()), seconds(1), &moved(number * 100));
    }
    let earlier = &memory.appeared[&content("one")].earlier;
    assert_eq!(earlier.len(), MAX_EARLIER);
    assert_eq!(earlier.last().unwrap().fingerprint, fingerprint("18").to_string());
}

#[test]
fn process_may_hold_only_contents_since_its_start() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    let known = &memory.appeared[&content("one")];
    assert_eq!(known.held_until(&up(UP - 61)), Some(now().plus(days(365))));
    assert_eq!(known.held_until(&up(UP - 60)), None);
}

fn restart(content: &str) -> RefreshStep {
    restart_of("api", "abc", "one", &fingerprint(content).to_string())
}

#[test]
fn restart_is_remembered_while_certificate_is_in_place() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    note_restarted(&mut memory, &restart("old"), now().minus(DAY));
    note_restarted(&mut memory, &restart("new"), now());
    let kept = [Restarted {
        service: restart("new").service,
        content: content("one"),
        fingerprint: fingerprint("new").to_string(),
        at: now(),
    }];
    assert_eq!(memory.restarted, kept, "one for each service and credential");
    assert_eq!(memory.stopped[&restart("new").service], "abc");
    look(&mut memory, &judged("one", "new"), seconds(60), &moved(60));
    assert_eq!(memory.restarted, kept);
    look(&mut memory, &judged("one", "newer"), seconds(60), &moved(600));
    assert_eq!(memory.restarted, []);
}

fn api(started: u64, connections: Option<Vec<u64>>) -> ServiceFacts {
    let mut facts = service("api", "one", Takes::NewConnections, started);
    facts.holds[0].connections = connections;
    facts
}

#[test]
fn connections_of_earlier_content_are_noted_once() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    note_connections(&mut memory, &[api(100, Some(vec![7, 8]))]);
    let note = noted("api", "one", "new", &[7, 8], Some(now().plus(days(365))));
    assert_eq!(memory.connections, std::slice::from_ref(&note));
    note_connections(&mut memory, &[api(100, Some(vec![8, 9]))]);
    assert_eq!(memory.connections, [note], "those that were opened since are not its");
}

#[test]
fn younger_or_unreadable_connections_are_not_noted() {
    let mut memory = known();
    look(&mut memory, &judged("one", "new"), seconds(60), &moment());
    let mut down = api(100, Some(vec![7]));
    down.presence = Presence::Down(String::new());
    let many = (0..=MAX_COOKIES as u64).collect();
    let reloads = service("api", "one", Takes::Reloads, 100);
    note_connections(
        &mut memory,
        &[api(UP - 60, Some(vec![7])), api(100, None), api(100, Some(many)), down, reloads],
    );
    assert_eq!(memory.connections, []);
    note_connections(&mut memory, &[api(100, Some(vec![]))]);
    assert_eq!(
        memory.connections,
        [noted("api", "one", "new", &[], Some(now().plus(days(365))))],
        "none open is something to know"
    );
}

#[test]
fn notes_are_bounded_and_dropped_at_reboot() {
    let mut memory = known();
    for number in 0..40 {
        look(&mut memory, &judged("one", &number.to_string()), seconds(1), &moved(number * 100));
        note_connections(&mut memory, &[api(100, Some(vec![7]))]);
    }
    assert_eq!(memory.connections.len(), MAX_NOTES);
    assert_eq!(memory.connections.last().unwrap().fingerprint, fingerprint("39").to_string());
    look(&mut memory, &judged("one", "39"), None, &after_a_reboot(10, now()));
    assert_eq!(memory.connections, []);
}

#[test]
fn restart_not_made_does_not_count() {
    let mut memory = known();
    let step = |fingerprint: &str| restart_of("kube-scheduler", "i", "scheduler.conf", fingerprint);
    let before = memory.clone();
    note_restarted(&mut memory, &step("one"), Timestamp::default());
    let noted = memory.clone();
    assert_ne!(noted, before);
    forget_restarted(&mut memory, &step("another"));
    assert_eq!(memory.restarted, noted.restarted, "that one was made");
    forget_restarted(&mut memory, &step("one"));
    assert_eq!(memory, before);
}

/// A kubeconfig is written for many reasons: CA certificates that are seen for the first time are
/// as old as the newest of them.
#[test]
fn ca_certificates_seen_first_are_as_old_as_the_newest() {
    let name = ContentName::CaCertificates(AbsolutePath::constant("/k.conf"));
    let look = |made: u64| {
        let found = Some((fingerprint("new"), now()));
        let (changed_ago, written_ago) = (seconds(10), seconds(made));
        let content = Content { name: name.clone(), found, changed_ago, written_ago };
        let mut memory = ServiceMemory::default();
        note_contents(&mut memory, &[content], &moment());
        memory.appeared[&name].at.clone()
    };
    assert_eq!(look(1_000), up(UP - 1_000));
    assert_eq!(look(5), up(UP - 10));
}
