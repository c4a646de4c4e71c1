//! The copies in a pass: the certificates that originals hold are remembered, and outdated copies
//! are brought up to date.

use std::sync::atomic::Ordering;

use super::orders::Orders;
use super::survey::{Survey, policy, survey};
use crate::act::{self, Copied, CopyError, Following};
use crate::model::{Action, Constraints, CredentialName, Digest, Material, Signer};
use crate::observe::Node;
use crate::plan::{Judged, Plan, with_copies};
use crate::state::Lineages;
use crate::store::Store;

/// The results for copies.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The result for each copy.
    pub results: Vec<Copied>,
    /// The survey after that, where anything was replaced.
    pub after: Option<Survey>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Writes down which certificates the originals hold, before they are replaced: copies are known by
/// them.
pub(super) fn remember(node: &Node, survey: &Survey) -> Option<String> {
    let state = &node.settings.paths.state;
    let originals = node.catalog.originals();
    if originals.is_empty() {
        return None;
    }
    let known = Lineages::read(&node.root, state).0;
    let held =
        |name: &CredentialName| holds(&Judged::find(&survey.credentials, name)?.facts.material);
    let now = known.clone().with(originals.into_iter().map(|name| (name, held(name))));
    let written = if now == known { Ok(()) } else { now.write(&node.root, state) };
    written.err().map(|e| format!("{e}; copies that are made from now on may not be recognised"))
}

/// The certificate that may be copied.
fn holds(material: &Material) -> Option<Digest> {
    match material {
        Material::Whole(leaf) => match leaf.signer {
            Signer::Authority | Signer::Intermediate | Signer::Unknown => Some(leaf.fingerprint),
            Signer::Renamed | Signer::Itself | Signer::Foreign => None,
        },
        _ => None,
    }
}

/// Brings outdated copies up to date. `at_end` is the survey after everything else was renewed,
/// `plan` what was decided before.
pub(super) fn follow(
    node: &Node,
    store: &mut Store<'_>,
    orders: &Orders<'_>,
    at_end: &Survey,
    constraints: &Constraints,
    plan: &Plan,
) -> Followed {
    let mut notes: Vec<String> = remember(node, at_end).into_iter().collect();
    // Those that the plan names, and those that the renewals of this pass made outdated.
    let of_this_pass = |judged: &Judged| {
        let of = judged.facts.credential.copy_of();
        of.is_some_and(|of| plan.issuing().any(|step| step.credential == of.original))
            || plan.steps.iter().any(|step| {
                step.action == Action::Copy && step.credential == judged.facts.credential.name
            })
    };
    let (late, _) = with_copies(
        (Plan::default(), Vec::new()),
        &at_end.credentials,
        orders.request,
        &policy(node),
        constraints,
        at_end.now,
    );
    let is_late = |judged: &Judged| {
        late.steps.iter().any(|step| step.credential == judged.facts.credential.name)
    };
    let behind = at_end.credentials.iter().filter(|judged| judged.judgement.action == Action::Copy);
    let all: Vec<_> = behind
        .filter(|judged| of_this_pass(judged) || is_late(judged))
        .filter_map(|one| following(node, at_end, one))
        .collect();
    if all.is_empty() || orders.stop.load(Ordering::Relaxed) {
        return Followed { notes, ..Followed::default() };
    }
    let (results, more) = act::follow(
        &node.root,
        store,
        &all,
        orders.clock.now(),
        usize::from(node.settings.backups.keep.get()),
    );
    notes.extend(more);
    let after = survey(node, orders.clock.now());
    let results = results.into_iter().map(|(name, result)| {
        let seen = Judged::find(&after.credentials, &name)
            .and_then(|judged| judged.facts.material.leaf())
            .map(|leaf| leaf.fingerprint);
        let result = result.and_then(|renewed| {
            if seen == Some(renewed.fingerprint) { Ok(renewed) } else { Err(CopyError::Changed) }
        });
        (name, result)
    });
    Followed { results: results.collect(), after: Some(after), notes }
}

fn following(node: &Node, survey: &Survey, judged: &Judged) -> Option<Following> {
    let copy = judged.facts.credential.clone();
    let held = &Judged::find(&survey.credentials, &copy.copy_of()?.original)?.facts;
    let (original, wanted) = (held.credential.clone(), held.material.leaf()?.fingerprint);
    let found = judged.facts.material.leaf()?.fingerprint;
    let authority = node.catalog.authority_of(&original).cloned();
    Some(Following { copy, found, original, wanted, authority })
}
