//! The renewal of the CAs of this node with their own keys, and the renewed certificates of another
//! node put in place here. Neither needs the API server.
//!
//! Every certificate that a CA has issued stays valid; only what trusts the CA changes. kubeadm
//! makes all its CAs at the same time, so that they expire together. A renewed certificate is made
//! once and put in place on all nodes, byte for byte: where nodes had different ones of the root
//! CA, kube-controller-manager would rewrite all its copies at every change of its leader.

mod error;
mod place;
mod signed;

use std::time::Duration;

pub use self::error::CaRenewalError;
use self::place::Place;
pub use self::place::{RenewedCa, RenewedCas};
use self::signed::{backdate, check_leaves};
pub(super) use self::signed::{ca_validity, renewed};
use super::memory::{note_put_in_place, replaced_ca_certificates};
use super::open_store;
use crate::credentials::ObservedFiles;
use crate::formats::x509::Certificate;
use crate::model::{RootRelation, Timestamp};
use crate::observe::{Node, trust_files};
use crate::plan::root_faults;
use crate::store::Store;

/// Renews the root CA of this node with its own key, and each CA that expires with it, and puts
/// them in place.
///
/// # Errors
/// When none can be renewed: what is wrong with the first one, the root CA. Else the others are
/// renewed, and the notes say what is wrong.
pub fn renew(node: &Node, trust_clock: bool, now: Timestamp) -> Result<RenewedCas, CaRenewalError> {
    noting(node, now, |store| {
        let mut place = Place::of(node)?;
        let backdate = backdate(node, trust_clock, now)?;
        let (mut new, mut failures) = (Vec::new(), Vec::new());
        let mut until = expires_with(node, now);
        for ca in place.cas() {
            if !ca.is_root() && !ca.expires_until(until, now) {
                continue;
            }
            match ca.renewed(node, backdate, now) {
                Ok(renewed) => {
                    if ca.is_root() {
                        until = expires_with(node, renewed.old.not_after.max(now));
                    }
                    new.push(renewed);
                }
                Err(error) => failures.push((ca.name(), error)),
            }
        }
        if new.is_empty() {
            let first = failures.into_iter().next().map(|(_, error)| error);
            let no_ca = || CaRenewalError::Authority("the profile has no CA".to_owned());
            return Err(first.unwrap_or_else(no_ca));
        }
        for (name, error) in failures {
            // One that was renewed before needs no word.
            if !matches!(error, CaRenewalError::NotLonger { .. }) {
                place.note(format!("{name} is not renewed: {error}"));
            }
        }
        place.put(store, new, now)
    })
}

/// Puts the CAs that another node renewed in place on this one. Those that this node does not have
/// are left out.
///
/// # Errors
/// When it has none of them, or one of them is not valid, or the files can't be replaced.
pub fn trust(
    node: &Node,
    found: &[Certificate],
    now: Timestamp,
) -> Result<RenewedCas, CaRenewalError> {
    noting(node, now, |store| put_in_place(node, store, found, now))
}

/// Replaces CA certificates, and notes that for the services that read them when they start.
fn noting(
    node: &Node,
    now: Timestamp,
    replace: impl FnOnce(&mut Store<'_>) -> Result<RenewedCas, CaRenewalError>,
) -> Result<RenewedCas, CaRenewalError> {
    let (mut store, recovered) = open_store(node)?;
    let trusted = || trust_files(&ObservedFiles::of(&node.root), &node.catalog);
    let before = trusted();
    let mut renewed = replace(&mut store)?;
    renewed.notes.extend(recovered.notes);
    if !renewed.has_written() {
        return Ok(renewed);
    }
    let replaced = replaced_ca_certificates(&before, &trusted());
    renewed.notes.extend(note_put_in_place(node, &replaced, now).err().map(|e| {
        format!(
            "{e}; the services that read CA certificates when they start are restarted at the next \
             scheduled pass"
        )
    }));
    Ok(renewed)
}

/// The renewed certificates of the CAs of this node that expire with this root CA, as far as their
/// keys are here.
pub(super) fn renewed_others(
    node: &Node,
    root: &Certificate,
    backdate: Duration,
    now: Timestamp,
) -> Result<Vec<Certificate>, CaRenewalError> {
    let place = Place::of(node)?;
    let until = expires_with(node, root.not_after.max(now));
    let others = place.cas().iter().filter(|ca| !ca.is_root() && ca.expires_until(until, now));
    let renewed = others.filter_map(|ca| Some(ca.renewed(node, backdate, now).ok()?.new));
    Ok(renewed.collect())
}

/// Puts the CAs that another node renewed in place.
///
/// # Errors
/// When this node has none of them, or one of them is not valid, or the files can't be replaced.
pub(super) fn put_in_place(
    node: &Node,
    store: &mut Store<'_>,
    found: &[Certificate],
    now: Timestamp,
) -> Result<RenewedCas, CaRenewalError> {
    let mut place = Place::of(node)?;
    let replaced = place.cas().iter().filter_map(|ca| {
        let old = ca.present(now).ok()?;
        let later = found.iter().filter(|new| takes_its_place(new, old));
        let new = later.max_by_key(|new| new.not_after)?;
        Some(ca.replaced_by(new.clone(), old))
    });
    let new: Vec<_> = replaced.collect();
    if new.is_empty() {
        return Err(CaRenewalError::Other);
    }
    for other in found.iter().filter(|one| !new.iter().any(|ca| ca.new.is_of_same_ca(one))) {
        let subject = &other.subject;
        place.note(format!("{subject} is no CA of this node with a later end: it is left out"));
    }
    for renewed in &new {
        check(node, &renewed.new, &renewed.old, now)?;
    }
    place.put(store, new, now)
}

/// The time until which a CA expires with another one: kubeadm makes all of them at once, and they
/// may have been renewed apart since.
fn expires_with(node: &Node, not_after: Timestamp) -> Timestamp {
    not_after.plus(node.settings.alarms.root_ca_expires_within.as_duration())
}

/// Whether it is this certificate, or a later one of the same CA.
fn takes_its_place(new: &Certificate, old: &Certificate) -> bool {
    match new.relation_to_root(old, &[]) {
        RootRelation::Same => true,
        RootRelation::Renewed => new.not_after > old.not_after,
        _ => false,
    }
}

fn check(
    node: &Node,
    new: &Certificate,
    old: &Certificate,
    now: Timestamp,
) -> Result<(), CaRenewalError> {
    let before = root_faults(&old.as_root());
    let mut refused = root_faults(&new.as_root());
    refused.retain(|fault| !before.contains(fault));
    if !refused.is_empty() {
        return Err(CaRenewalError::Refused(refused));
    }
    if !new.is_valid_at(now) {
        return Err(CaRenewalError::NotValid(new.not_before, new.not_after));
    }
    check_leaves(node, new, old)
}
