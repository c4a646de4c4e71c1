//! One pass, from top to bottom: take the store, look, decide, wait or renew, look again, see to
//! the services, remember.
//!
//! The story is told here and nowhere else; every step of it is a call into the layer that knows
//! how.

mod back;
mod copies;
mod names;
pub mod requests;
pub mod restore;
pub mod services;
mod settle;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use self::names::names_lacking;
pub use self::services::{Services, ServicesReport};
use self::settle::Settling;
use crate::act::{BackError, Copied, Job, Outcome, Progress, RenewError, Renewal, Renewed, renew};
use crate::credentials::located;
use crate::model::{
    AbsolutePath, Action, AuthorityFacts, AuthorityJudgement, Belief, Brakes, ClockFacts,
    CredentialName, Deferred, Hold, Material, Policy, Refused, Replaced, Timestamp, Urgency,
};
use crate::observe::{Conditions, Node, Observation, Platform, conditions, observe};
use crate::plan::{
    Judged, Occasion, Plan, Request, Step, believe, defer, holds, judge, judge_authority,
    last_seen, long_gone, not_yet_again, plan, policy_by, with_copies,
};
use crate::state::{PassMemory, read_service_memory, untrusted_files};
use crate::store::{Recovered, Store, StoreError};
use crate::sys::Clock;

/// How long another process that is at work on the same node is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that is known and thought of a node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The moment.
    pub now: Timestamp,
    /// The authorities, in the order of the catalog.
    pub authorities: Vec<(AuthorityFacts, AuthorityJudgement)>,
    /// The credentials, in the order of the catalog.
    pub credentials: Vec<Judged>,
    /// The names and addresses for which certificates are wanted and not valid.
    pub lacking: BTreeMap<CredentialName, Vec<String>>,
}

/// What a pass is asked to do, and by which lights.
#[derive(Clone, Copy)]
pub struct Orders<'o> {
    /// What is to be renewed.
    pub request: &'o Request,
    /// What makes it take place, and with it what it may do to services.
    pub occasion: Occasion,
    /// What time it is.
    pub clock: &'o dyn Clock,
    /// Whether the clock is synchronised; unknown counts as not.
    pub synchronised: Option<bool>,
    /// An operator vouches for the clock.
    pub trust_clock: bool,
    /// Reasons to wait besides those that are found on the node.
    pub holds: &'o [Hold],
    /// What to remember of the schedule, where the pass is the daemon's.
    pub remember: Option<Remember>,
    /// Set from outside when the pass is to end early: keys that are not made yet are not made any
    /// more.
    pub stop: &'o AtomicBool,
    /// Told how far the making of keys is.
    pub progress: Progress<'o>,
}

/// What the daemon wants to find again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remember {
    /// Up to which moment scheduled passes were made.
    pub scheduled_until: Timestamp,
    /// Until when it only looks.
    pub observing_until: Option<Timestamp>,
}

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

/// Why a pass, or one step of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The node belongs to a platform that needs a profile of its own.
    #[error(
        "this is a StarlingX host (/etc/platform/platform.conf), where credentials have copies and \
         services that the kubeadm profile does not know: `kubecertd check` works here, renewing \
         waits for a profile of its own"
    )]
    Platform,
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A credential was not renewed.
    #[error(transparent)]
    Renew(#[from] RenewError),
    /// A certificate that was put in place here is refused by its server, and the one before it is
    /// in place again.
    #[error(
        "{server} refuses the new certificate ({answer}) and accepts the one before it, which is \
         back in place"
    )]
    WentBack {
        /// The server.
        server: String,
        /// What it said.
        answer: String,
    },
    /// The same, and the one before it could not be put back.
    #[error(
        "{server} refuses the new certificate ({answer}); the one before it, which it accepts, \
         could not be put back: {source}"
    )]
    NotBack {
        /// The server.
        server: String,
        /// What it said.
        answer: String,
        /// Why not.
        source: Box<BackError>,
    },
    /// A credential was renewed, and what is on disk now is something else.
    #[error("it was renewed, but what is on disk now is not the new certificate: {found}")]
    NotThere {
        /// What is there.
        found: String,
    },
}

/// When something is due, by the node's configuration.
#[must_use]
pub fn policy(node: &Node) -> Policy {
    let renewal = &node.settings.renewal;
    Policy {
        renew_before: renewal.renew_before.as_duration(),
        urgent_before: renewal.urgent_before.as_duration(),
        validity: renewal.validity.as_duration(),
        backdate: renewal.backdate.as_duration(),
    }
}

/// Looks at everything and judges it. Changes nothing.
#[must_use]
pub fn survey(node: &Node, now: Timestamp) -> Survey {
    let Observation { authorities, credentials } =
        observe(&node.root, &node.catalog, &node.settings.paths.state);
    let policy = policy(node);
    let credentials = credentials.into_iter().map(|facts| {
        let named = facts.credential.authority.as_ref();
        let authority =
            authorities.iter().find(|found| named == Some(&found.authority.name)).cloned();
        let judgement = judge(&facts, authority.as_ref(), &policy, now);
        Judged { facts, authority, judgement }
    });
    let credentials: Vec<Judged> = credentials.collect();
    let alarms = &node.settings.alarms;
    let authorities = authorities.into_iter().map(|facts| {
        let within = if facts.authority.root {
            &alarms.root_authority_expires_within
        } else {
            &alarms.authority_expires_within
        };
        let judgement = judge_authority(&facts, within.as_duration(), now);
        (facts, judgement)
    });
    Survey {
        now,
        authorities: authorities.collect(),
        lacking: names_lacking(node, &credentials),
        credentials,
    }
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
    let (state, note) = PassMemory::read(&node.root, &node.settings.paths.state);
    outlook(node, orders, survey(node, orders.clock.now()), &state, note)
}

fn outlook(
    node: &Node,
    orders: &Orders<'_>,
    survey: Survey,
    state: &PassMemory,
    note: Option<String>,
) -> Outlook {
    let now = survey.now;
    let facts = ClockFacts { now, last_seen: state.last_seen, synchronised: orders.synchronised };
    let belief = believe(&facts, orders.trust_clock);
    let Conditions { holds: found, mut notes } = conditions(&node.root, &node.settings);
    notes.extend(note);
    let holds = holds(&found, now).into_iter().chain(orders.holds.iter().cloned()).collect();
    let (memory, _) = read_service_memory(&node.root, &node.settings.paths.state);
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
    let not_trusted = untrusted_files(&node.root, &node.settings.paths.state);
    let (mut store, recovered) =
        Store::open(&node.root, &node.settings.paths.state, PATIENCE, &files(node))?;
    let (state, note) = PassMemory::read(&node.root, &node.settings.paths.state);
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
    let went_back = back::go_back(node, &mut store, at_end, orders.clock.now());
    if !went_back.is_empty() {
        let mut in_place: Vec<_> =
            went_back.iter().filter_map(|one| one.result.as_ref().ok().cloned()).collect();
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
    let refused = back::refusals(&survey, &brakes, &results, &went_back, orders.clock.now());
    back::take_back(&mut results, went_back);
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
fn announce(node: &Node, state: &PassMemory, now: Timestamp) -> Option<String> {
    let begun = PassMemory { last_pass_began: Some(now), unfinished: true, ..state.clone() };
    let written = begun.write(&node.root, &node.settings.paths.state);
    written
        .err()
        .map(|e| format!("{e}; a pass that is cut short now is finished by the next one only"))
}

/// Writes down what the next pass should know. A disk that is full costs the memory, not the pass.
fn remember(
    node: &Node,
    orders: &Orders<'_>,
    state: &PassMemory,
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
    let next = PassMemory {
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
