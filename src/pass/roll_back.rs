//! Rolling back: where a server refuses a certificate that was put in place here, the earlier one
//! is put back, and for a day no new one is tried.

use super::error::PassError;
use super::report::Report;
use super::survey::Survey;
use crate::act::{self, RenewError, Renewed, RolledBack, Suspect};
use crate::model::{
    AbsolutePath, CredentialName, Material, Refused, Replaced, ServiceMemory, Timestamp,
};
use crate::observe::Node;
use crate::plan::Judged;
use crate::store::Store;

/// Shows the servers what was renewed here, now that the services had their turn, and puts the
/// earlier certificate back where one refuses it. On the disk of another machine no server is
/// asked.
pub(super) fn roll_back(
    node: &Node,
    store: &mut Store<'_>,
    survey: &Survey,
    memory: &ServiceMemory,
    now: Timestamp,
) -> Vec<RolledBack> {
    if !node.root.is_host() {
        return Vec::new();
    }
    let suspects = suspects(node, survey, memory);
    act::roll_back(&node.root, store, &suspects, now, usize::from(node.settings.backups.keep.get()))
}

/// What was put in place here, is still there, and can be shown to a server.
fn suspects(node: &Node, survey: &Survey, memory: &ServiceMemory) -> Vec<Suspect> {
    let suspect = |judged: &Judged| {
        let credential = judged.facts.credential.clone();
        let Material::Whole(leaf) = &judged.facts.material else { return None };
        let trial = node.catalog.trials.get(&credential.name)?.clone();
        let known = memory.appeared(&credential.name)?;
        let ours = known.ours && known.fingerprint == leaf.fingerprint.to_string();
        ours.then_some(Suspect { credential, fingerprint: leaf.fingerprint, trial })
    };
    survey.credentials.iter().filter_map(suspect).collect()
}

/// The files of these credentials.
pub(super) fn files(survey: &Survey, replaced: &[Replaced]) -> Vec<AbsolutePath> {
    let is_meant =
        |judged: &&Judged| replaced.iter().any(|one| one.content == judged.facts.credential.name);
    survey
        .credentials
        .iter()
        .filter(is_meant)
        .flat_map(|judged| judged.facts.files.iter().cloned())
        .collect()
}

/// What is remembered of refusals: those that still count, and the new ones.
pub(super) fn refusals(
    report: &Report,
    rolled_back: &[RolledBack],
    now: Timestamp,
) -> Vec<Refused> {
    let refused = |(name, result): &(CredentialName, Result<Renewed, PassError>)| {
        let Err(PassError::Renew(RenewError::RefusedBy { server, answer })) = result else {
            return None;
        };
        let judged = Judged::find(&report.before.credentials, name)?;
        let fingerprint = judged.facts.material.leaf()?.fingerprint.to_string();
        let (server, answer) = (server.clone(), answer.clone());
        Some(Refused { credential: name.clone(), fingerprint, server, answer, at: now })
    };
    let back = rolled_back.iter().filter(|one| one.result.is_ok()).map(|one| one.refused.clone());
    let new: Vec<Refused> = report.results.iter().filter_map(refused).chain(back).collect();
    let is_new = |old: &&Refused| new.iter().any(|new| new.credential == old.credential);
    let old = report.constraints.refused.iter().filter(|old| !is_new(old)).cloned();
    old.chain(new.iter().cloned()).collect()
}

/// The failure of each renewal that was rolled back, or should have been.
pub(super) fn failures(rolled_back: Vec<RolledBack>) -> Vec<(CredentialName, PassError)> {
    let failure = |RolledBack { refused, result }: RolledBack| {
        let Refused { credential, server, answer, .. } = refused;
        let error = match result {
            Ok(_) => PassError::RolledBack { server, answer },
            Err(source) => PassError::NotRolledBack { server, answer, source: Box::new(source) },
        };
        (credential, error)
    };
    rolled_back.into_iter().map(failure).collect()
}
