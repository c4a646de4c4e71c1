//! What is decided about what was found: the plan, what is deferred, and why.

use super::orders::Orders;
use super::survey::{Survey, policy, survey};
use crate::model::{ClockFacts, Constraints, Deferral, ServiceMemory};
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

/// Decides about a survey, by what is remembered of earlier passes and of the services.
pub(super) fn decide(
    node: &Node,
    orders: &Orders<'_>,
    survey: Survey,
    state: &PassMemory,
    memory: &ServiceMemory,
) -> Preview {
    let now = survey.now;
    let clock = ClockFacts { now, last_seen: state.last_seen, synchronised: orders.synchronised };
    let clock_trust = judge_clock(&clock, orders.trust_clock);
    let Conditions { deferral: found, notes } = conditions(&node.root, &node.settings);
    let reasons =
        deferral_reasons(&found, now).into_iter().chain(orders.reasons.iter().cloned()).collect();
    let members = etcd_members(node.catalog.etcd_members, memory.etcd_members);
    let long_expired = long_expired(&survey.credentials, members, now);
    let constraints = Constraints {
        clock_trust,
        reasons,
        refused: standing_refusals(&state.refused, now),
        long_expired,
    };
    let policy = policy_for_clock(policy(node), &constraints.clock_trust);
    let plan = plan(&survey.credentials, orders.request, &policy, now);
    let decided = defer(plan, &survey.credentials, orders.request, &policy, &constraints, now);
    let (plan, deferred) =
        with_copies(decided, &survey.credentials, orders.request, &policy, &constraints, now);
    Preview { survey, plan, deferred, constraints, notes }
}
