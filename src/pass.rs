//! One pass, from top to bottom: take the store, look, decide, wait or renew, look again, see to
//! the services, remember.
//!
//! The story is told here and nowhere else; every step of it is a call into the layer that knows
//! how.

mod back;
mod copies;
mod error;
mod names;
mod orders;
pub mod requests;
pub mod restore;
pub mod services;
mod settle;
mod survey;

use std::time::Duration;

pub use self::error::PassError;
pub use self::orders::{Orders, Remember};
pub use self::services::{Services, ServicesReport};
use self::settle::Settling;
pub use self::survey::{Survey, policy, survey};
use crate::act::{Copied, Job, Outcome, Renewal, Renewed, renew};
use crate::credentials::located;
use crate::model::{
    AbsolutePath, Action, Belief, Brakes, ClockFacts, CredentialName, Deferred, Material, Refused,
    Replaced, Timestamp, Urgency,
};
use crate::observe::{Conditions, Node, Platform, conditions};
use crate::plan::{
    Judged, Plan, Request, Step, believe, defer, holds, last_seen, long_gone, not_yet_again, plan,
    policy_by, with_copies,
};
use crate::store::{Recovered, State, Store, not_trusted, read_services};

/// How long another process that is at work on the same node is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pass did.
#[derive(Debug)]
pub struct Report {
    /// What an earlier process had left unfinished.
    pub recovered: Recovered,
    /// What was found before.
    pub before: Survey,
    /// What was found at the end, where anything was renewed.
    pub after: Option<Survey>,
    /// What was decided.
    pub plan: Plan,
    /// What was due and waits.
    pub deferred: Vec<Deferred>,
    /// What was thought of the clock, and the reasons to wait.
    pub brakes: Brakes,
    /// What became of the services that use the credentials.
    pub services: ServicesReport,
    /// What became of each step that issues something, in the order of the plan; then of what was
    /// issued by an earlier pass and turned out to be refused.
    pub results: Vec<(CredentialName, Result<Renewed, PassError>)>,
    /// What became of each copy that was to follow its original.
    pub copies: Vec<Copied>,
    /// The files of credentials that were replaced.
    pub written: Vec<AbsolutePath>,
    /// What others than root can have changed in the state folder, as it was before the pass.
    pub not_trusted: Vec<String>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Whether something is to be renewed that serves nobody any more, and so can't wait for the next
/// scheduled pass: on a machine that was off, say.
#[must_use]
pub fn cannot_wait(node: &Node, now: Timestamp) -> bool {
    let renews =
        |judged: &Judged| matches!(judged.judgement.action, Action::Renew | Action::Repair);
    survey(node, now)
        .credentials
        .iter()
        .any(|judged| renews(judged) && judged.judgement.condition.urgency() == Urgency::Expired)
}

/// What would be done at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// What was found.
    pub survey: Survey,
    /// What would be done now.
    pub plan: Plan,
    /// What is due and would wait.
    pub deferred: Vec<Deferred>,
    /// What is thought of the clock, and the reasons to wait.
    pub brakes: Brakes,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// What a pass would do. Changes nothing.
#[must_use]
pub fn preview(node: &Node, orders: &Orders<'_>) -> Outlook {
    let (state, note) = State::read(&node.root, &node.settings.paths.state);
    outlook(node, orders, survey(node, orders.clock.now()), &state, note)
}

fn outlook(
    node: &Node,
    orders: &Orders<'_>,
    survey: Survey,
    state: &State,
    note: Option<String>,
) -> Outlook {
    let now = survey.now;
    let facts = ClockFacts { now, last_seen: state.last_seen, synchronised: orders.synchronised };
    let belief = believe(&facts, orders.trust_clock);
    let Conditions { holds: found, mut notes } = conditions(&node.root, &node.settings);
    notes.extend(note);
    let holds = holds(&found, now).into_iter().chain(orders.holds.iter().cloned()).collect();
    let (memory, _) = read_services(&node.root, &node.settings.paths.state);
    let members = node.catalog.etcd_members.max(memory.etcd_members.unwrap_or(0));
    let long_gone = long_gone(&survey.credentials, members, now);
    let brakes = Brakes { belief, holds, refused: not_yet_again(&state.refused, now), long_gone };
    let policy = policy_by(policy(node), &brakes.belief);
    let plan = plan(&survey.credentials, orders.request, &policy, now);
    let decided = defer(plan, &survey.credentials, orders.request, &policy, &brakes);
    let (plan, deferred) =
        with_copies(decided, &survey.credentials, orders.request, &policy, &brakes, now);
    Outlook { survey, plan, deferred, brakes, notes }
}

/// Makes a pass.
///
/// # Errors
/// When it could not begin; what goes wrong with single credentials is in the report.
pub fn run(node: &Node, orders: &Orders<'_>) -> Result<Report, PassError> {
    if node.platform == Platform::StarlingX {
        return Err(PassError::Platform);
    }
    // Before what is not used is replaced by what is.
    let not_trusted = not_trusted(&node.root, &node.settings.paths.state);
    let (mut store, recovered) =
        Store::open(&node.root, &node.settings.paths.state, PATIENCE, &files(node))?;
    let (state, note) = State::read(&node.root, &node.settings.paths.state);
    let settled = Settling::USUAL.survey(node, orders.clock, orders.request, orders.stop);
    let Outlook { survey, plan, deferred, brakes, mut notes } =
        outlook(node, orders, settled, &state, note);
    notes.extend(copies::remember(node, &survey));
    let jobs = jobs(node, &survey, &plan, orders.request);
    if !jobs.is_empty() {
        notes.extend(announce(node, &state, survey.now));
    }
    let backups = usize::from(node.settings.backups.keep.get());
    let renewal = Renewal {
        key: *node.settings.renewal.key_algorithm,
        now: survey.now,
        backups,
        stop: orders.stop,
    };
    let (renewed, more) = renew(&node.root, &mut store, &jobs, renewal, orders.progress);
    notes.extend(more);
    let mut after =
        if renewed.is_empty() { None } else { Some(self::survey(node, orders.clock.now())) };
    let at_end = after.as_ref().unwrap_or(&survey);
    let mut results = verify(at_end, renewed);
    let mut followed = copies::follow(node, &mut store, orders, at_end, &brakes, &plan);
    notes.append(&mut followed.notes);
    after = followed.after.take().or(after);
    let at_end = after.as_ref().unwrap_or(&survey);
    let copied = followed.results.iter().filter_map(|(_, result)| result.as_ref().ok());
    let done: Vec<_> =
        results.iter().filter_map(|(_, result)| result.as_ref().ok()).chain(copied).collect();
    let mut written: Vec<AbsolutePath> =
        done.iter().flat_map(|renewed| renewed.files.iter().cloned()).collect();
    let new: Vec<_> = done.iter().map(|renewed| replaced(renewed)).collect();
    let mut services = services::make(node, orders, &survey, at_end, &brakes, &new);
    let rolled_back = back::roll_back(node, &mut store, at_end, orders.clock.now());
    if !rolled_back.is_empty() {
        let mut in_place: Vec<_> =
            rolled_back.iter().filter_map(|one| one.result.as_ref().ok().cloned()).collect();
        let mut now = self::survey(node, orders.clock.now());
        let mut again = copies::follow(node, &mut store, orders, &now, &brakes, &plan);
        notes.append(&mut again.notes);
        now = again.after.take().unwrap_or(now);
        in_place.extend(
            again.results.iter().filter_map(|(_, result)| result.as_ref().ok()).map(replaced),
        );
        followed.results.retain(|(name, _)| !again.results.iter().any(|(other, _)| other == name));
        followed.results.append(&mut again.results);
        written.extend(back::files(&now, &in_place));
        services = services.then(services::make(node, orders, at_end, &now, &brakes, &in_place));
        after = Some(now);
    }
    let refused = back::refusals(&survey, &brakes, &results, &rolled_back, orders.clock.now());
    back::take_back(&mut results, rolled_back);
    let failed = failed(&results, &services);
    // A command that had nothing to do leaves nothing behind, unless the pass before it was cut
    // short.
    if orders.remember.is_some() || !results.is_empty() || state.unfinished {
        notes.extend(remember(node, orders, &state, &survey, &brakes.belief, refused, failed));
    }
    Ok(Report {
        recovered,
        before: survey,
        after,
        plan,
        deferred,
        brakes,
        services,
        results,
        copies: followed.results,
        written,
        not_trusted,
        notes,
    })
}

fn replaced(renewed: &Renewed) -> Replaced {
    let Renewed { credential, fingerprint, not_after, .. } = renewed;
    Replaced { credential: credential.clone(), fingerprint: *fingerprint, not_after: *not_after }
}

impl Report {
    /// What was found at the end.
    #[must_use]
    pub fn at_end(&self) -> &Survey {
        self.after.as_ref().unwrap_or(&self.before)
    }

    /// The copies that could not be brought up to date, and why.
    pub fn not_copied(&self) -> impl Iterator<Item = (CredentialName, String)> {
        self.copies
            .iter()
            .filter_map(|(name, result)| Some((name.clone(), result.as_ref().err()?.to_string())))
    }

    /// Whether something that was to be done went wrong.
    #[must_use]
    pub fn failed(&self) -> bool {
        failed(&self.results, &self.services)
    }
}

fn failed(
    results: &[(CredentialName, Result<Renewed, PassError>)],
    services: &ServicesReport,
) -> bool {
    results.iter().any(|(_, result)| result.is_err())
        || services.outcomes.iter().any(|outcome| outcome.failure().is_some())
}

/// Writes down that a pass has begun, before it replaces anything: where it is cut short, the
/// daemon's next start finds one that began and did not end well, and makes it again.
fn announce(node: &Node, state: &State, now: Timestamp) -> Option<String> {
    let begun = State { last_pass_began: Some(now), unfinished: true, ..state.clone() };
    let written = begun.write(&node.root, &node.settings.paths.state);
    written
        .err()
        .map(|e| format!("{e}; a pass that is cut short now is finished by the next one only"))
}

/// Writes down what the next pass should know. A disk that is full costs the memory, not the pass.
fn remember(
    node: &Node,
    orders: &Orders<'_>,
    state: &State,
    survey: &Survey,
    belief: &Belief,
    refused: Vec<Refused>,
    failed: bool,
) -> Option<String> {
    let facts = ClockFacts {
        now: orders.clock.now(),
        last_seen: state.last_seen,
        synchronised: orders.synchronised,
    };
    let next = State {
        last_seen: last_seen(&facts, belief),
        last_pass_began: Some(survey.now),
        last_pass_succeeded: if failed { state.last_pass_succeeded } else { Some(survey.now) },
        unfinished: failed,
        scheduled_until: orders
            .remember
            .map_or(state.scheduled_until, |remember| Some(remember.scheduled_until)),
        observing_until: orders
            .remember
            .map_or(state.observing_until, |remember| remember.observing_until),
        refused,
    };
    let written = next.write(&node.root, &node.settings.paths.state);
    written.err().map(|e| {
        format!("{e}; what this pass should have remembered is forgotten, which does no harm")
    })
}

/// Every file that a pass may replace: those that a kubeconfig refers to, where it does.
#[must_use]
pub fn files(node: &Node) -> Vec<AbsolutePath> {
    let located =
        node.catalog.credentials.iter().map(|credential| located(&node.root, credential).location);
    let kubeconfigs = node.catalog.kubeconfigs.values().cloned();
    located
        .flat_map(|location| location.files().cloned().collect::<Vec<_>>())
        .chain(kubeconfigs)
        .collect()
}

fn jobs(node: &Node, survey: &Survey, plan: &Plan, request: &Request) -> Vec<Job> {
    plan.issuing().filter_map(|step| job(node, survey, step, request)).collect()
}

fn job(node: &Node, survey: &Survey, step: &Step, request: &Request) -> Option<Job> {
    let judged = Judged::find(&survey.credentials, &step.credential)?;
    let mut facts = judged.facts.clone();
    if step.action != Action::Repair {
        facts.backup = None;
    }
    let authority = judged.authority.as_ref()?.authority.clone();
    // The servers of this machine have nothing to do with the disk of another one.
    let trial = node.catalog.trials.get(&step.credential).filter(|_| node.root.is_host()).cloned();
    let names = request.names.clone();
    Some(Job {
        facts,
        authority,
        terms: step.terms?,
        names,
        urgency: judged.judgement.condition.urgency(),
        trial,
    })
}

/// "Renewed" is said only after the new certificate was seen where the old one was.
fn verify(
    after: &Survey,
    renewed: Vec<Outcome>,
) -> Vec<(CredentialName, Result<Renewed, PassError>)> {
    let check = |renewed: Renewed| match Judged::find(&after.credentials, &renewed.credential)
        .map(|judged| (&judged.facts.material, &judged.judgement))
    {
        Some((Material::Whole(leaf), _)) if leaf.fingerprint == renewed.fingerprint => Ok(renewed),
        Some((_, judgement)) => Err(PassError::NotThere { found: judgement.reason.clone() }),
        None => Err(PassError::NotThere { found: "nothing".to_owned() }),
    };
    renewed
        .into_iter()
        .map(|(name, result)| (name, result.map_err(PassError::from).and_then(check)))
        .collect()
}
