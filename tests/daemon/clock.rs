//! The clock. The clock of the real program can't be set, so these tests make passes in this
//! process with a fixed clock.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kubecertd::formats::x509::certificates;
use kubecertd::model::{DeferralReason, Timestamp, days};
use kubecertd::pass::{Orders, Preview, Report, ScheduleMemory, preview, run};
use kubecertd::plan::{RELEASED, Request, Trigger};
use kubecertd::state::PassMemory;
use kubecertd::sys::FixedClock;

use super::common::kubelet::CONF;
use super::common::{ECDSA, Node, PKI, now};
use super::harness::*;

/// The time of a pass and the facts about the clock.
#[derive(Clone, Copy)]
struct Clock {
    now: Timestamp,
    last_seen: Option<Timestamp>,
    synchronised: Option<bool>,
    trust: bool,
}

impl Clock {
    fn at(now: Timestamp) -> Self {
        Self { now, last_seen: None, synchronised: Some(true), trust: false }
    }

    fn unsynchronised_since(self, last_seen: Timestamp) -> Self {
        Self { last_seen: Some(last_seen), synchronised: Some(false), ..self }
    }

    fn trusted(self) -> Self {
        Self { trust: true, ..self }
    }

    /// Returns the plan of a pass with this clock and the report of the pass.
    fn pass(self, node: &Node) -> (Preview, Report) {
        write_state(node, &PassMemory { last_seen: self.last_seen, ..PassMemory::default() });
        let clock = FixedClock(self.now);
        let (request, stop) = (Request::default(), AtomicBool::new(false));
        let orders = Orders {
            trigger: Trigger::Asked,
            request: &request,
            clock: &clock,
            synchronised: self.synchronised,
            trust_clock: self.trust,
            reasons: &[],
            remember: None,
            stop: &stop,
            progress: &|_, _| {},
            emit: &|_| {},
        };
        (preview(&node.observe(), &orders), run(&node.observe(), &orders).unwrap())
    }

    /// Asserts that nothing is signed and that every due credential has this reason.
    #[track_caller]
    fn assert_signs_nothing(self, node: &Node, reason: &str) {
        remove_kubelet_conf(node);
        let before = node.snapshot();
        let (outlook, report) = self.pass(node);
        assert_eq!(
            (outlook.plan.issuing().count(), report.plan.issuing().count(), report.results.len()),
            (0, 0, 0)
        );
        for deferred in [&outlook.deferred, &report.deferred] {
            assert_eq!(
                names(deferred.iter().map(|one| &one.credential)),
                all_credentials(node),
                "every credential is due"
            );
            for one in deferred {
                assert!(
                    one.reason.contains(reason)
                        && one.reason.contains("nothing is signed until it is trusted"),
                    "{one}"
                );
                assert_eq!(one.urgent_from, None, "it does not become urgent");
            }
        }
        let after = node.snapshot();
        for (path, entry) in
            before.0.iter().filter(|(path, entry)| path.starts_with("etc") && entry.is_file())
        {
            assert_eq!(after.0.get(path), Some(entry), "{}", path.display());
        }
        assert_eq!(read_state(node).last_seen, self.last_seen, "an untrusted time is not recorded");
    }

    /// Asserts that every credential is signed with this `notBefore`.
    #[track_caller]
    fn assert_signs_from(self, node: &Node, not_before: impl Fn(&str) -> Timestamp) {
        remove_kubelet_conf(node);
        let (outlook, report) = self.pass(node);
        assert_eq!(
            names(outlook.plan.issuing().map(|step| &step.credential)),
            all_credentials(node)
        );
        assert!(
            report.deferred.is_empty() && report.results.len() == all_credentials(node).len(),
            "{report:?}"
        );
        for (name, result) in &report.results {
            result.as_ref().unwrap();
            let certificate = node.certificate(name.as_str());
            assert_eq!(certificate.not_before, not_before(name.as_str()), "{name}");
            assert_eq!(certificate.not_after, self.now.plus(days(365)), "{name}");
        }
        assert_eq!(read_state(node).last_seen, Some(self.now));
    }
}

/// Removes kubelet.conf. It embeds kubelet's own certificate, which has separate tests.
fn remove_kubelet_conf(node: &Node) {
    if node.path(CONF).exists() {
        node.remove(CONF);
    }
}

/// Returns `notBefore` of the CA of a credential.
fn ca_not_before(node: &Node, name: &str) -> Timestamp {
    let authority = node
        .managed_credentials()
        .into_iter()
        .find(|one| one.name.as_str() == name)
        .unwrap()
        .authority
        .unwrap();
    let catalog = node.observe().catalog;
    let file = &catalog.authorities.iter().find(|one| one.name == authority).unwrap().certificate;
    let file = file.as_path().strip_prefix("/").unwrap().to_str().unwrap();
    certificates(&node.read(file)).unwrap()[0].not_before
}

#[test]
fn clock_before_release_signs_nothing() {
    // The CAs and credentials are valid at that time, so the clock is the only reason.
    let node = Node::fresh(ECDSA);
    for stem in ["ca", "front-proxy-ca", "etcd/ca"] {
        node.shorten_authority(&format!("{PKI}/{stem}"), 300);
    }
    node.age_all(-40);
    let clock = Clock::at(RELEASED.minus(Duration::from_secs(1)));
    assert!(clock.now > ca_not_before(&node, "apiserver"));
    node.age_all(clock.now.seconds_since(now()).div_euclid(86_400) + 2);
    clock.assert_signs_nothing(&node, "before kubecertd was released");
    Clock { synchronised: Some(false), ..clock }
        .assert_signs_nothing(&node, "before kubecertd was released");
    Clock { synchronised: None, ..clock }
        .assert_signs_nothing(&node, "the clock says 2026-10-31T23:59:59Z");

    clock
        .trusted()
        .pass(&node)
        .1
        .results
        .iter()
        .for_each(|(name, result)| assert!(result.is_ok(), "{name}: {result:?}"));
    assert!(node.certificate("apiserver").is_valid_at(clock.now));
}

#[test]
fn unsynchronised_clock_three_years_ahead_signs_nothing() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(1_097)));
    clock.unsynchronised_since(now()).assert_signs_nothing(&node, "after it was last trusted");
    Clock { synchronised: None, ..clock.unsynchronised_since(now()) }
        .assert_signs_nothing(&node, "and is not synchronised");
    Clock { synchronised: Some(false), ..clock }
        .assert_signs_nothing(&node, "after kubecertd was released");
    let clock = Clock::at(now().plus(days(1_095)));
    clock.unsynchronised_since(now()).assert_signs_from(&node, |name| ca_not_before(&node, name));
}

#[test]
fn unsynchronised_clock_signs_from_ca_not_before() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(365)));
    clock.unsynchronised_since(now()).assert_signs_from(&node, |name| ca_not_before(&node, name));
    // Unknown synchronisation has the same result.
    let node = Node::due();
    Clock { synchronised: None, ..clock.unsynchronised_since(now()) }
        .assert_signs_from(&node, |name| ca_not_before(&node, name));
}

#[test]
fn synchronised_clock_signs_from_five_minutes_ago() {
    for absence in [0, 365, 2_000] {
        let node = Node::due();
        let clock = Clock { last_seen: Some(now()), ..Clock::at(now().plus(days(absence))) };
        let not_before =
            |name: &str| clock.now.minus(Duration::from_secs(300)).max(ca_not_before(&node, name));
        clock.assert_signs_from(&node, not_before);
    }
}

#[test]
fn operator_can_trust_clock() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(2_000))).unsynchronised_since(now());
    clock.assert_signs_nothing(&node, "is not synchronised");
    clock.trusted().assert_signs_from(&node, |name| ca_not_before(&node, name));
}

/// The first trusted clock decides until when a new daemon observes.
#[test]
fn untrusted_clock_remembers_nothing_of_the_schedule() {
    let node = Node::due();
    let pass = |time: Timestamp, until: Timestamp| {
        let (request, stop) = (Request::default(), AtomicBool::new(false));
        let remember = ScheduleMemory { scheduled_until: time, observing_until: Some(until) };
        let orders = Orders {
            trigger: Trigger::Other,
            request: &request,
            clock: &FixedClock(time),
            synchronised: Some(false),
            trust_clock: false,
            reasons: &[DeferralReason::New { until }],
            remember: Some(remember),
            stop: &stop,
            progress: &|_, _| {},
            emit: &|_| {},
        };
        run(&node.observe(), &orders).unwrap();
        let state = read_state(&node);
        (state.scheduled_until, state.observing_until)
    };
    let ahead = now().plus(days(1_200));
    assert_eq!(pass(ahead, ahead.plus(days(1))), (None, None));
    let right = (Some(now()), Some(now().plus(days(1))));
    assert_eq!(pass(right.0.unwrap(), right.1.unwrap()), right);
    assert_eq!(pass(ahead, ahead.plus(days(1))), right, "it keeps what it was");
}

#[test]
fn not_yet_valid_certificate_is_renewed() {
    let node = Node::fresh(ECDSA);
    node.age("apiserver", 500);
    assert!(node.certificate("apiserver").not_before > now(), "its notBefore is in the future");
    let clock = Clock::at(now());
    let (_, report) = clock.pass(&node);
    assert_eq!(names(report.results.iter().map(|(name, _)| name)), ["apiserver"]);
    assert!(node.certificate("apiserver").is_valid_at(now()));
    assert!(clock.pass(&node).1.results.is_empty());
}

/// A recorded time that is far ahead does not keep a synchronised clock from being trusted.
#[test]
fn corrected_clock_is_trusted_when_synchronised() {
    let node = Node::due();
    let ahead = now().plus(days(700));
    let clock = Clock { last_seen: Some(ahead), ..Clock::at(now()) };
    clock.assert_signs_from(&node, |name| {
        clock.now.minus(Duration::from_secs(300)).max(ca_not_before(&node, name))
    });
    // An unsynchronised clock may be the wrong one of the two.
    let node = Node::due();
    Clock::at(now()).unsynchronised_since(ahead).pass(&node);
    assert_eq!(read_state(&node).last_seen, Some(ahead));
}

/// A node with an empty battery: kubelet's own certificate is renewed only when the clock is
/// trusted.
#[test]
fn kubelet_certificate_waits_for_trusted_clock() {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(-30);
    node.link_kubelet_conf();
    let link = node.kubelet_link();
    let years_ahead = Clock::at(now().plus(days(1_097))).unsynchronised_since(now());
    let in_1970 = Clock { synchronised: Some(false), ..Clock::at(Timestamp::from_seconds(1_000)) };
    for wrong in [years_ahead, in_1970, Clock { synchronised: None, ..in_1970 }] {
        let (_, report) = wrong.pass(&node);
        assert!(report.results.is_empty(), "{:?}", report.results);
        assert_eq!(node.kubelet_link(), link);
    }
    let (_, report) = Clock::at(now()).unsynchronised_since(now().minus(days(400))).pass(&node);
    assert_eq!(names(report.results.iter().map(|(name, _)| name)), ["kubelet-client"]);
    assert_ne!(node.kubelet_link(), link);
    let authority = certificates(&node.read(&format!("{PKI}/ca.crt"))).unwrap()[0].not_before;
    assert_eq!(node.kubelet_certificate().not_before, authority, "the clock may be ahead");
}
