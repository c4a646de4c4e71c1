//! One pass, from top to bottom: take the store, look, decide, renew, look again.
//!
//! The story is told here and nowhere else; every step of it is a call into the layer that knows how.

use std::time::Duration;

use crate::act::{Job, Outcome, Progress, RenewError, Renewal, Renewed, renew};
use crate::credentials::located;
use crate::model::{AbsolutePath, Action, AuthorityFacts, AuthorityJudgement, CredentialName, Material, Policy, Timestamp};
use crate::observe::{Node, Observation, Platform, observe};
use crate::plan::{Judged, Plan, Request, Step, judge, judge_authority, plan};
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
}

/// What a pass did.
#[derive(Debug)]
pub struct Report {
    /// What an earlier process had left unfinished.
    pub recovered: Recovered,
    /// What was found before.
    pub before: Survey,
    /// What was decided.
    pub plan: Plan,
    /// What became of each step that issues something, in the order of the plan.
    pub results: Vec<(CredentialName, Result<Renewed, PassError>)>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Why a pass, or one step of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The node belongs to a platform that needs a profile of its own.
    #[error(
        "this is a StarlingX host (/etc/platform/platform.conf), where credentials have copies and services that the kubeadm profile does not know: `kubecertd check` works here, renewing waits for a profile of its own"
    )]
    Platform,
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A credential was not renewed.
    #[error(transparent)]
    Renew(#[from] RenewError),
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
    let Observation { authorities, credentials } = observe(&node.root, &node.catalog, &node.settings.paths.state);
    let policy = policy(node);
    let credentials = credentials.into_iter().map(|facts| {
        let named = facts.credential.authority.as_ref();
        let authority = authorities.iter().find(|found| named == Some(&found.authority.name)).cloned();
        let judgement = judge(&facts, authority.as_ref(), &policy, now);
        Judged { facts, authority, judgement }
    });
    let credentials = credentials.collect();
    let alarms = &node.settings.alarms;
    let authorities = authorities.into_iter().map(|facts| {
        let within = if facts.authority.root { &alarms.root_authority_expires_within } else { &alarms.authority_expires_within };
        let judgement = judge_authority(&facts, within.as_duration(), now);
        (facts, judgement)
    });
    Survey { now, authorities: authorities.collect(), credentials }
}

/// What a pass would do. Changes nothing.
#[must_use]
pub fn preview(node: &Node, request: &Request, now: Timestamp) -> (Survey, Plan) {
    let survey = survey(node, now);
    let plan = plan(&survey.credentials, request, &policy(node), now);
    (survey, plan)
}

/// Makes a pass.
///
/// # Errors
/// When it could not begin; what goes wrong with single credentials is in the report.
pub fn run(node: &Node, request: &Request, clock: &dyn Clock, progress: Progress<'_>) -> Result<Report, PassError> {
    if node.platform == Platform::StarlingX {
        return Err(PassError::Platform);
    }
    let (mut store, recovered) = Store::open(&node.root, &node.settings.paths.state, PATIENCE, &files(node))?;
    let now = clock.now();
    let (before, plan) = preview(node, request, now);
    let jobs = jobs(&before, &plan);
    let renewal = Renewal { key: *node.settings.renewal.key_algorithm, now, backups: usize::from(node.settings.backups.keep.get()) };
    let (renewed, notes) = renew(&node.root, &mut store, &jobs, renewal, progress);
    let results = verify(node, renewed, clock.now());
    Ok(Report { recovered, before, plan, results, notes })
}

/// Every file that a pass may replace.
fn files(node: &Node) -> Vec<AbsolutePath> {
    let located = node.catalog.credentials.iter().map(|credential| located(&node.root, credential).location);
    located.flat_map(|location| location.files().cloned().collect::<Vec<_>>()).collect()
}

fn jobs(survey: &Survey, plan: &Plan) -> Vec<Job> {
    plan.issuing().filter_map(|step| job(survey, step)).collect()
}

fn job(survey: &Survey, step: &Step) -> Option<Job> {
    let judged = survey.credentials.iter().find(|judged| judged.facts.credential.name == step.credential)?;
    let mut facts = judged.facts.clone();
    if step.action != Action::Repair {
        facts.backup = None;
    }
    let authority = judged.authority.as_ref()?.authority.clone();
    Some(Job { facts, authority, terms: step.terms?, urgency: judged.judgement.condition.urgency() })
}

/// "Renewed" is said only after the new certificate was seen where the old one was.
fn verify(node: &Node, renewed: Vec<Outcome>, now: Timestamp) -> Vec<(CredentialName, Result<Renewed, PassError>)> {
    if renewed.is_empty() {
        return Vec::new();
    }
    let after = survey(node, now);
    let check = |renewed: Renewed| {
        let judged = after.credentials.iter().find(|judged| judged.facts.credential.name == renewed.credential);
        match judged.map(|judged| (&judged.facts.material, &judged.judgement)) {
            Some((Material::Whole(leaf), _)) if leaf.fingerprint == renewed.fingerprint => Ok(renewed),
            Some((_, judgement)) => Err(PassError::NotThere { found: judgement.reason.clone() }),
            None => Err(PassError::NotThere { found: "nothing".to_owned() }),
        }
    };
    renewed.into_iter().map(|(name, result)| (name, result.map_err(PassError::from).and_then(check))).collect()
}
