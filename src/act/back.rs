//! Rolling back: restores the old certificate where the server refuses the new one and accepts the
//! old one.
//!
//! The trial before the renewal misses this where the server was down at that time, or trusts other
//! certificates since. Only what was renewed here and not changed by another
//! process since is rolled back, and only while the old certificate is still valid.

use super::trial::{self, Candidate, Refusal};
use crate::credentials::{Backup, ComposeError, Loaded, Stored, load, located};
use crate::formats::x509::KeyError;
use crate::model::{Credential, Digest, Refused, Replaced, Secret, Timestamp, TrialAt};
use crate::store::{self, Backups, Change, Store, StoreError};
use crate::sys::Root;

/// A renewed credential whose old certificate may still be available.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The credential.
    pub credential: Credential,
    /// SHA-256 of the new certificate.
    pub fingerprint: Digest,
    /// The server of the trial.
    pub trial: TrialAt,
}

/// A certificate that its server refuses, and the result of the rollback.
#[derive(Debug)]
pub struct RolledBack {
    /// The refusal, beside the old certificate.
    pub refused: Refused,
    /// The restored old certificate, or the error.
    pub result: Result<Replaced, RollBackError>,
}

/// The reason why the old certificate could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RollBackError {
    /// The old key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The files could not be composed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The staged key does not fit the staged certificate.
    #[error("the old key, read back, does not fit the old certificate")]
    KeyDoesNotFit,
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The two certificates of a suspect.
struct CertificatePair<'s> {
    suspect: &'s Suspect,
    new: Stored,
    old: Stored,
}

/// Shows each suspect's new certificate to its server, and puts the old one back where that refuses
/// the new and accepts the old. What the servers accept, and what is not known, is
/// not in the answer.
pub fn roll_back(
    root: &Root,
    store: &mut Store<'_>,
    suspects: &[Suspect],
    now: Timestamp,
    keep_backups: usize,
) -> Vec<RolledBack> {
    let backups = store.backups();
    let pairs: Vec<CertificatePair<'_>> =
        suspects.iter().filter_map(|suspect| pair(root, &backups, suspect, now)).collect();
    let candidate = |CertificatePair { suspect, new, old }: &CertificatePair<'_>| {
        let Credential { name, location, .. } = &suspect.credential;
        (name.clone(), Candidate::in_place(root, &suspect.trial, location, new, old))
    };
    let refused = trial::try_out(pairs.iter().map(candidate).collect()).refused;
    let of = |pair: &CertificatePair<'_>| refused.get(&pair.suspect.credential.name).cloned();
    pairs
        .iter()
        .filter_map(|pair| Some(roll_back_one(store, pair, of(pair)?, now, keep_backups)))
        .collect()
}

/// The newest backup of it that is whole and valid, and another certificate.
fn pair<'s>(
    root: &Root,
    backups: &Backups,
    suspect: &'s Suspect,
    now: Timestamp,
) -> Option<CertificatePair<'s>> {
    let Loaded::Whole(new) = load(root, &suspect.credential) else { return None };
    if new.certificate.fingerprint != suspect.fingerprint {
        return None;
    }
    let credential = located(root, &suspect.credential);
    let earlier = backups.generations().into_iter().find_map(|generation| {
        match load(&Backup { backups, generation }, &credential) {
            Loaded::Whole(old) if old.certificate.fingerprint != suspect.fingerprint => Some(old),
            _ => None,
        }
    });
    let old = earlier.filter(|old| now <= old.certificate.not_after)?;
    Some(CertificatePair { suspect, new: *new, old: *old })
}

fn roll_back_one(
    store: &mut Store<'_>,
    pair: &CertificatePair<'_>,
    refusal: Refusal,
    now: Timestamp,
    keep_backups: usize,
) -> RolledBack {
    let Refusal { server, answer } = refusal;
    let credential = pair.suspect.credential.name.clone();
    let Stored { certificate: old, .. } = &pair.old;
    let refused = Refused {
        credential: credential.clone(),
        fingerprint: old.fingerprint.to_string(),
        server,
        answer,
        at: now,
    };
    let in_place = Replaced {
        content: credential.into(),
        fingerprint: old.fingerprint,
        not_after: old.not_after,
    };
    RolledBack { refused, result: restore_old(store, pair, now, keep_backups).map(|()| in_place) }
}

fn restore_old(
    store: &mut Store<'_>,
    pair: &CertificatePair<'_>,
    now: Timestamp,
    keep_backups: usize,
) -> Result<(), RollBackError> {
    let CertificatePair { suspect, new, old } = pair;
    let contents: Vec<Secret> =
        old.form.sources().filter_map(|source| source.content.clone()).collect();
    let (_, key) = old.read_back(&contents)?;
    // Around what the files hold now: a kubeconfig may have been edited since, in what is not the
    // certificate's.
    let files = new.compose_like(old, &key.to_pem()?)?;
    let name = suspect.credential.name.clone();
    let staged = store.stage(Change {
        credential: name,
        files,
        link: None,
        backup: store::Backup::Wanted,
    })?;
    let change = staged.check(|contents| {
        let (certificate, key) = new.read_back(contents)?;
        if key.fits(&certificate) { Ok(()) } else { Err(RollBackError::KeyDoesNotFit) }
    })?;
    let commit = store.commit(vec![change], now, keep_backups);
    commit.outcomes.into_iter().try_for_each(|outcome| outcome.result.map_err(RollBackError::from))
}

#[cfg(test)]
#[path = "back_tests.rs"]
mod tests;
