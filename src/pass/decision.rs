//! What is decided about what was found: the plan, what is deferred, and why.

use super::membership;
use super::orders::Orders;
use super::survey::{Survey, policy, survey};
use crate::drivers::timedate;
use crate::model::{
    ClockFacts, ClockTrust, Constraints, Deferral, MembershipFinding, MembershipVerdict, Policy,
    ServiceMemory, Timestamp,
};
use crate::observe::{Conditions, Node, conditions};
use crate::plan::{
    Plan, defer, deferral_reasons, etcd_members, judge_clock, long_expired, plan, policy_for_clock,
    standing_refusals, with_copies,
};
use crate::state::{PassMemory, read_service_memory};

/// What would be done at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What was found.
    pub survey: Survey,
    /// What would be done now.
    pub plan: Plan,
    /// What is due and would wait.
    pub deferred: Vec<Deferral>,
    /// What is thought of the clock, and the reasons to wait.
    pub constraints: Constraints,
    /// What etcd's other members say of this node's membership, where that was in question.
    pub membership: Option<MembershipFinding>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// What a pass would do. Changes nothing.
#[must_use]
pub fn preview(node: &Node, orders: &Orders<'_>) -> Preview {
    let (state, note) = PassMemory::read(&node.root, &node.settings.paths.state);
    let (memory, _) = read_service_memory(&node.root, &node.settings.paths.state);
    let survey = survey(node, orders.clock.now());
    let mut preview = decide(node, orders, survey, &state, &memory);
    preview.notes.extend(note);
    preview
}

/// What is thought of the clock where a command, and no pass, is to sign something.
pub(super) fn clock_trust(node: &Node, trust: bool, now: Timestamp) -> ClockTrust {
    let (memory, _) = PassMemory::read(&node.root, &node.settings.paths.state);
    let synchronised = timedate::synchronised_now(timedate::LIMIT);
    judge_clock(&ClockFacts { now, last_seen: memory.last_seen, synchronised }, trust)
}

/// Decides about a survey, by what is remembered of earlier passes and of the services.
pub(super) fn decide(
    node: &Node,
    orders: &Orders<'_>,
    survey: Survey,
    state: &PassMemory,
    memory: &ServiceMemory,
) -> Preview {
    let now = survey.now;
    let ask = || membership::find_out(node, memory.membership.as_ref(), now);
    decide_by(node, orders, survey, state, memory, ask)
}

/// Decides; `ask` asks etcd's other members whether this node belongs to their cluster, where it
/// can.
fn decide_by(
    node: &Node,
    orders: &Orders<'_>,
    survey: Survey,
    state: &PassMemory,
    memory: &ServiceMemory,
    ask: impl FnOnce() -> Option<MembershipFinding>,
) -> Preview {
    let now = survey.now;
    let clock = ClockFacts { now, last_seen: state.last_seen, synchronised: orders.synchronised };
    let clock_trust = judge_clock(&clock, orders.trust_clock);
    let Conditions { deferral: found, notes } = conditions(&node.root, &node.settings);
    let reasons =
        deferral_reasons(&found, now).into_iter().chain(orders.reasons.iter().cloned()).collect();
    let members = etcd_members(node.catalog.etcd_members, memory.etcd_members);
    let long_expired = long_expired(&survey.credentials, members, now);
    let mut constraints = Constraints {
        clock_trust,
        reasons,
        refused: standing_refusals(&state.refused, now),
        long_expired,
    };
    let policy = policy_for_clock(policy(node), &constraints.clock_trust);
    let (mut plan, mut deferred) = steps(&survey, orders, &policy, &constraints);
    let membership = if membership::is_in_question(&deferred) { ask() } else { None };
    if membership.as_ref().is_some_and(|found| found.verdict == MembershipVerdict::Belongs) {
        constraints.long_expired.clear();
        (plan, deferred) = steps(&survey, orders, &policy, &constraints);
    }
    Preview { survey, plan, deferred, constraints, membership, notes }
}

/// The plan, and what is deferred.
fn steps(
    survey: &Survey,
    orders: &Orders<'_>,
    policy: &Policy,
    constraints: &Constraints,
) -> (Plan, Vec<Deferral>) {
    let (credentials, now) = (&survey.credentials, survey.now);
    let plan = plan(credentials, orders.request, policy, now);
    let decided = defer(plan, credentials, orders.request, policy, constraints, now);
    with_copies(decided, credentials, orders.request, policy, constraints, now)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::common::trees::copy;
    use crate::model::{Awaited, Timestamp, days};
    use crate::observe::Config;
    use crate::plan::{Request, Trigger};
    use crate::sys::{FixedClock, Root};

    /// 2029-01-01: every certificate of the tree has expired for more than a year, and no CA has.
    const LATER: Timestamp = Timestamp::from_seconds(1_861_920_000);

    /// The credentials of the tree, kubelet's included.
    const ALL: usize = 12;

    /// What is decided at this time on one control-plane node of several, where etcd's other
    /// members say this; and how often they are asked.
    fn decided(
        now: Timestamp,
        request: &Request,
        said: Option<MembershipVerdict>,
    ) -> (Preview, usize) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc");
        copy(&tree, &dir.path().join("etc"));
        let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
        let (clock, stop) = (FixedClock(now), AtomicBool::new(false));
        let orders = Orders { trigger: Trigger::Other, ..Orders::asked(request, &clock, &stop) };
        let memory = ServiceMemory { etcd_members: Some(3), ..ServiceMemory::default() };
        let mut asked = 0;
        let found = survey(&node, now);
        let preview = decide_by(&node, &orders, found, &PassMemory::default(), &memory, || {
            asked += 1;
            said.map(|verdict| MembershipFinding {
                verdict,
                text: "so they say".to_owned(),
                may_change: true,
            })
        });
        (preview, asked)
    }

    #[test]
    fn node_that_the_others_list_is_renewed_without_a_word() {
        let request = Request::default();
        let (preview, asked) = decided(LATER, &request, Some(MembershipVerdict::Belongs));
        assert_eq!((preview.deferred, asked), (Vec::new(), 1));
        assert_eq!(preview.plan.issuing().count(), ALL, "{:?}", preview.plan);
        let mut steps = preview.plan.issuing();
        assert!(steps.any(|step| step.credential.as_str() == "kubelet-client"));
        assert_eq!(preview.constraints.long_expired.len(), 0);
        assert_eq!(preview.membership.unwrap().text, "so they say");
    }

    #[test]
    fn node_waits_for_a_word_without_enough_answers() {
        let verdicts = [MembershipVerdict::Doubted, MembershipVerdict::Unknown].map(Some);
        for said in verdicts.into_iter().chain([None]) {
            for force in [false, true] {
                let request = Request { force, ..Request::default() };
                let (preview, asked) = decided(LATER, &request, said);
                assert_eq!((preview.plan.issuing().count(), asked), (0, 1), "{said:?}");
                assert_eq!(preview.deferred.len(), ALL);
                assert!(preview.deferred.iter().all(|one| one.awaits == Awaited::Word));
                assert_eq!(preview.membership.map(|found| found.verdict), said);
            }
        }
    }

    #[test]
    fn others_are_asked_only_where_it_matters() {
        let word = Request { include_long_expired: true, ..Request::default() };
        let (preview, asked) = decided(LATER, &word, None);
        assert_eq!((preview.plan.issuing().count(), asked), (ALL, 0), "the operator has said it");
        // 20 days after the expiry.
        let soon = Timestamp::from_seconds(1_828_540_000);
        let (preview, asked) = decided(soon, &Request::default(), None);
        assert_eq!((preview.plan.issuing().count(), asked), (ALL, 0));
        let (_, asked) = decided(soon.minus(days(60)), &Request::default(), None);
        assert_eq!(asked, 0, "nothing is due");
    }
}
