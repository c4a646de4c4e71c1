//! The renewals of a pass: what is handed to the layer that makes them, and the proof afterwards.

use super::error::PassError;
use super::orders::Orders;
use super::report::Results;
use super::survey::Survey;
use crate::act::{Job, RenewOutcome, Renewal, Renewed};
use crate::model::{Action, Material, Timestamp};
use crate::observe::Node;
use crate::plan::{Judged, Plan, Request, Step};

/// What all renewals of the pass have in common.
pub(super) fn renewal<'o>(node: &Node, orders: &Orders<'o>, now: Timestamp) -> Renewal<'o> {
    let key = *node.settings.renewal.key_algorithm;
    let backups = usize::from(node.settings.backups.keep.get());
    Renewal { key, now, backups, stop: orders.stop, issuer: None }
}

/// The plan's renewals, with all that is needed to make them.
pub(super) fn jobs(node: &Node, survey: &Survey, plan: &Plan, request: &Request) -> Vec<Job> {
    plan.issuing().filter_map(|step| job(node, survey, step, request)).collect()
}

fn job(node: &Node, survey: &Survey, step: &Step, request: &Request) -> Option<Job> {
    let judged = Judged::find(&survey.credentials, &step.credential)?;
    let mut facts = judged.facts.clone();
    if step.action != Action::Repair {
        facts.backup = None;
    }
    if step.action != Action::Make {
        facts.template = None;
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
pub(super) fn verify(after: &Survey, renewed: Vec<RenewOutcome>) -> Results {
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
