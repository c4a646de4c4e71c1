//! What becomes of a certificate that was put in place here and that its server refuses: the one
//! before it is put back, the pass says so, and for a day nothing new is tried.

use super::{PassError, Survey};
use crate::act::{self, RenewError, Renewed, RolledBack, Suspect};
use crate::model::{AbsolutePath, Brakes, CredentialName, Material, Refused, Replaced, Timestamp};
use crate::observe::Node;
use crate::plan::Judged;
use crate::store::{Store, read_services};

/// Asks the servers of what was renewed here, now that the services had their turn. On the disk of
/// another machine nobody is asked.
pub(super) fn roll_back(
    node: &Node,
    store: &mut Store<'_>,
    survey: &Survey,
    now: Timestamp,
) -> Vec<RolledBack> {
    if !node.root.is_host() {
        return Vec::new();
    }
    act::roll_back(
        &node.root,
        store,
        &suspects(node, survey),
        now,
        usize::from(node.settings.backups.keep.get()),
    )
}

/// What was put in place here, is still there, and can be shown to a server.
fn suspects(node: &Node, survey: &Survey) -> Vec<Suspect> {
    let (memory, _) = read_services(&node.root, &node.settings.paths.state);
    let suspect = |judged: &Judged| {
        let credential = judged.facts.credential.clone();
        let Material::Whole(leaf) = &judged.facts.material else { return None };
        let trial = node.catalog.trials.get(&credential.name)?.clone();
        let known = memory.appeared.get(&credential.name)?;
        let ours = known.ours && known.fingerprint == leaf.fingerprint.to_string();
        ours.then_some(Suspect { credential, fingerprint: leaf.fingerprint, trial })
    };
    survey.credentials.iter().filter_map(suspect).collect()
}

/// The files of these credentials.
pub(super) fn files(survey: &Survey, replaced: &[Replaced]) -> Vec<AbsolutePath> {
    let is_meant = |judged: &&Judged| {
        replaced.iter().any(|one| one.credential == judged.facts.credential.name)
    };
    survey
        .credentials
        .iter()
        .filter(is_meant)
        .flat_map(|judged| judged.facts.files.iter().cloned())
        .collect()
}

/// What is remembered of refusals: those that still count, and the new ones.
pub(super) fn refusals(
    survey: &Survey,
    brakes: &Brakes,
    results: &[(CredentialName, Result<Renewed, PassError>)],
    rolled_back: &[RolledBack],
    now: Timestamp,
) -> Vec<Refused> {
    let refused = |(name, result): &(CredentialName, Result<Renewed, PassError>)| {
        let Err(PassError::Renew(RenewError::RefusedBy { server, answer })) = result else {
            return None;
        };
        let judged = Judged::find(&survey.credentials, name)?;
        let fingerprint = judged.facts.material.leaf()?.fingerprint.to_string();
        Some(Refused {
            credential: name.clone(),
            fingerprint,
            server: server.clone(),
            answer: answer.clone(),
            at: now,
        })
    };
    let back = rolled_back.iter().filter(|one| one.result.is_ok()).map(|one| one.refused.clone());
    let new: Vec<Refused> = results.iter().filter_map(refused).chain(back).collect();
    let is_new = |old: &&Refused| new.iter().any(|new| new.credential == old.credential);
    let old = brakes.refused.iter().filter(|old| !is_new(old)).cloned();
    old.chain(new.iter().cloned()).collect()
}

/// What was renewed and taken back again was not renewed.
pub(super) fn take_back(
    results: &mut Vec<(CredentialName, Result<Renewed, PassError>)>,
    rolled_back: Vec<RolledBack>,
) {
    for RolledBack { refused: Refused { credential, server, answer, .. }, result } in rolled_back {
        let error = match result {
            Ok(_) => PassError::RolledBack { server, answer },
            Err(source) => PassError::NotBack { server, answer, source: Box::new(source) },
        };
        results.retain(|(name, _)| *name != credential);
        results.push((credential, Err(error)));
    }
}
