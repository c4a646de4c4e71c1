//! The clock. That of the real program can't be set, so a pass is made here in this process, at any
//! time.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kubecertd::formats::x509::certificates;
use kubecertd::model::{Timestamp, days};
use kubecertd::pass::{Orders, Outlook, Report, preview, run};
use kubecertd::plan::{RELEASED, Request};
use kubecertd::store::State;
use kubecertd::sys::FixedClock;

use super::common::kubelet::CONF;
use super::common::{ECDSA, Node, PKI, now};
use super::harness::*;

/// What is known of the clock.
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

    /// What would be done on a node by this clock, and what is done.
    fn pass(self, node: &Node) -> (Outlook, Report) {
        remember(node, &State { last_seen: self.last_seen, ..State::default() });
        let clock = FixedClock(self.now);
        let (request, stop) = (Request::default(), AtomicBool::new(false));
        let orders = Orders {
            occasion: kubecertd::plan::Occasion::Asked,
            request: &request,
            clock: &clock,
            synchronised: self.synchronised,
            trust_clock: self.trust,
            holds: &[],
            remember: None,
            stop: &stop,
            progress: &|_, _| {},
        };
        (preview(&node.observe(), &orders), run(&node.observe(), &orders).unwrap())
    }

    /// Nothing is signed, and this is said of everything that is due.
    #[track_caller]
    fn signs_nothing(self, node: &Node, says: &str) {
        without_kubelets(node);
        let before = node.snapshot();
        let (outlook, report) = self.pass(node);
        assert_eq!(
            (outlook.plan.issuing().count(), report.plan.issuing().count(), report.results.len()),
            (0, 0, 0)
        );
        for deferred in [&outlook.deferred, &report.deferred] {
            assert_eq!(
                names(deferred.iter().map(|one| &one.credential)),
                all(node),
                "all of it would be due"
            );
            for one in deferred {
                assert!(
                    one.reason.contains(says)
                        && one.reason.contains("nothing is signed until it is right"),
                    "{one}"
                );
                assert_eq!(one.urgent_from, None, "no waiting helps");
            }
        }
        let after = node.snapshot();
        for (path, entry) in
            before.0.iter().filter(|(path, entry)| path.starts_with("etc") && entry.is_file())
        {
            assert_eq!(after.0.get(path), Some(entry), "{}", path.display());
        }
        assert_eq!(
            remembered(node).last_seen,
            self.last_seen,
            "a clock that is not believed is not remembered"
        );
    }

    /// Everything is signed, and begins when it should.
    #[track_caller]
    fn signs_from(self, node: &Node, beginning: impl Fn(&str) -> Timestamp) {
        without_kubelets(node);
        let (outlook, report) = self.pass(node);
        assert_eq!(names(outlook.plan.issuing().map(|step| &step.credential)), all(node));
        assert!(
            report.deferred.is_empty() && report.results.len() == all(node).len(),
            "{report:?}"
        );
        for (name, result) in &report.results {
            result.as_ref().unwrap();
            let certificate = node.certificate(name.as_str());
            assert_eq!(certificate.not_before, beginning(name.as_str()), "{name}");
            assert_eq!(certificate.not_after, self.now.plus(days(365)), "{name}");
        }
        assert_eq!(remembered(node).last_seen, Some(self.now));
    }
}

/// kubelet's own certificate, which kubelet.conf embeds here, has tests of its own.
fn without_kubelets(node: &Node) {
    if node.path(CONF).exists() {
        node.remove(CONF);
    }
}

/// The beginning of the authority of a credential.
fn beginning_of_authority(node: &Node, name: &str) -> Timestamp {
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
fn before_the_release_nothing_is_signed_however_sure_the_clock_is() {
    // Authorities and credentials that are valid at that time, so that only the clock is against
    // it.
    let node = Node::fresh(ECDSA);
    for stem in ["ca", "front-proxy-ca", "etcd/ca"] {
        node.shorten_authority(&format!("{PKI}/{stem}"), 300);
    }
    node.age_all(-40);
    let clock = Clock::at(RELEASED.minus(Duration::from_secs(1)));
    assert!(clock.now > beginning_of_authority(&node, "apiserver"));
    node.age_all(clock.now.seconds_since(now()).div_euclid(86_400) + 2);
    clock.signs_nothing(&node, "before kubecertd was released");
    Clock { synchronised: Some(false), ..clock }
        .signs_nothing(&node, "before kubecertd was released");
    Clock { synchronised: None, ..clock }
        .signs_nothing(&node, "the clock says 2026-10-31T23:59:59Z");

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
fn more_than_three_years_on_and_unsynchronised_nothing_is_signed() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(1_097)));
    clock.unsynchronised_since(now()).signs_nothing(&node, "after it was last believed");
    Clock { synchronised: None, ..clock.unsynchronised_since(now()) }
        .signs_nothing(&node, "and is not synchronised");
    Clock { synchronised: Some(false), ..clock }
        .signs_nothing(&node, "after kubecertd was released");
    let clock = Clock::at(now().plus(days(1_095)));
    clock.unsynchronised_since(now()).signs_from(&node, |name| beginning_of_authority(&node, name));
}

#[test]
fn a_year_on_and_unsynchronised_what_is_signed_begins_with_its_authority() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(365)));
    clock.unsynchronised_since(now()).signs_from(&node, |name| beginning_of_authority(&node, name));
    // Nobody knows whether it is synchronised: the same.
    let node = Node::due();
    Clock { synchronised: None, ..clock.unsynchronised_since(now()) }
        .signs_from(&node, |name| beginning_of_authority(&node, name));
}

#[test]
fn with_a_synchronised_clock_what_is_signed_begins_five_minutes_ago_however_long_it_was_off() {
    for absence in [0, 365, 2_000] {
        let node = Node::due();
        let clock = Clock { last_seen: Some(now()), ..Clock::at(now().plus(days(absence))) };
        let beginning = |name: &str| {
            clock.now.minus(Duration::from_secs(300)).max(beginning_of_authority(&node, name))
        };
        clock.signs_from(&node, beginning);
    }
}

#[test]
fn an_operator_may_vouch_for_the_clock() {
    let node = Node::due();
    let clock = Clock::at(now().plus(days(2_000))).unsynchronised_since(now());
    clock.signs_nothing(&node, "is not synchronised");
    clock.trusted().signs_from(&node, |name| beginning_of_authority(&node, name));
}

#[test]
fn what_is_not_yet_valid_is_renewed() {
    let node = Node::fresh(ECDSA);
    node.age("apiserver", 500);
    assert!(node.certificate("apiserver").not_before > now(), "it begins in the future");
    let clock = Clock::at(now());
    let (_, report) = clock.pass(&node);
    assert_eq!(names(report.results.iter().map(|(name, _)| name)), ["apiserver"]);
    assert!(node.certificate("apiserver").is_valid_at(now()));
    assert!(clock.pass(&node).1.results.is_empty());
}

/// A clock that was far ahead for a while leaves nothing that holds the right one back.
#[test]
fn a_clock_that_comes_back_is_believed_and_remembered_when_it_is_synchronised() {
    let node = Node::due();
    let ahead = now().plus(days(700));
    let clock = Clock { last_seen: Some(ahead), ..Clock::at(now()) };
    clock.signs_from(&node, |name| {
        clock.now.minus(Duration::from_secs(300)).max(beginning_of_authority(&node, name))
    });
    // Unsynchronised, it may be the one that is behind.
    let node = Node::due();
    Clock::at(now()).unsynchronised_since(ahead).pass(&node);
    assert_eq!(remembered(&node).last_seen, Some(ahead));
}

/// A node whose battery was empty: kubelet's own certificate, without which nothing starts, waits
/// for the clock, and then goes on.
#[test]
fn kubelets_own_waits_for_a_clock_that_can_be_believed_and_then_goes_on() {
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
