//! Copying: writes the certificate and key of an original into its copies, each in a change of its
//! own.
//!
//! A failure affects only its own copy, which is tried again at the next pass.

use super::job::Renewed;
use crate::credentials::{
    ComposeError, KnownContent, Lineage, LoadedCopy, Original, load, load_authority, load_copy,
};
use crate::model::{Authority, Credential, CredentialName, Digest, Timestamp};
use crate::store::{self, Change, Checked, Store, StoreError};
use crate::sys::{Root, on_all_cores};

/// One copy that is to follow its original.
#[derive(Clone, Debug)]
pub struct Following {
    /// The copy.
    pub copy: Credential,
    /// The certificate that it was found with.
    pub found: Digest,
    /// Its original.
    pub original: Credential,
    /// The certificate that the original was found with.
    pub wanted: Digest,
    /// The authority of the original.
    pub authority: Option<Authority>,
}

/// The reason why a copy was not updated. Nothing of it was replaced, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The copy or its original changed since the plan was made.
    #[error(
        "it or its original was changed by another process in the meantime; it is left as it is, \
         and the next pass checks it again"
    )]
    Changed,
    /// The new files could not be composed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The staged files do not hold what the original holds.
    #[error("the written file, read back, differs from its original; nothing was replaced")]
    ReadBack,
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault in kubecertd.
    #[error("a bug in kubecertd prevented the copy; please report it")]
    Fault,
}

/// The name of a copy, and its new certificate or the error.
pub type Copied = (CredentialName, Result<Renewed, CopyError>);

/// Updates all copies. Returns the result of each, in order, and notes for the operator.
pub fn follow(
    root: &Root,
    store: &mut Store<'_>,
    all: &[Following],
    now: Timestamp,
    keep_backups: usize,
) -> (Vec<Copied>, Vec<String>) {
    let prepared = on_all_cores(all, |one| prepare(root, one));
    let mut results = Vec::new();
    let mut changes = Vec::new();
    for (one, prepared) in all.iter().zip(prepared) {
        let staged = prepared
            .unwrap_or(Err(CopyError::Fault))
            .and_then(|(held, original)| stage(root, store, one, &held, &original));
        let result = staged.map(|(renewed, change)| {
            changes.push(change);
            renewed
        });
        results.push((one.copy.name.clone(), result));
    }
    if changes.is_empty() {
        return (results, Vec::new());
    }
    let commit = store.commit(changes, now, keep_backups);
    for outcome in commit.outcomes {
        if let Err(e) = outcome.result
            && let Some((_, result)) =
                results.iter_mut().find(|(name, _)| *name == outcome.credential)
        {
            *result = Err(e.into());
        }
    }
    (results, commit.notes)
}

/// Loads the copy and its original, if neither has changed since the plan was made.
fn prepare(root: &Root, one: &Following) -> Result<(KnownContent, Original), CopyError> {
    let stored = load(root, &one.original)
        .stored()
        .filter(|stored| stored.certificate.fingerprint == one.wanted);
    let original = Original::of(&stored.ok_or(CopyError::Changed)?)?;
    let of = one.copy.copy_of().ok_or(CopyError::Fault)?;
    let authority = one.authority.as_ref().map(|authority| load_authority(root, authority));
    let held = |fingerprint: &Digest| *fingerprint == one.found;
    let lineage = Lineage {
        current: Some(one.wanted),
        authority: authority.as_ref(),
        like: Some(&original.certificate),
        held: &held,
    };
    match load_copy(root, &one.copy, of, &lineage) {
        LoadedCopy::Held(held) if held.stored.certificate.fingerprint == one.found => {
            Ok((*held, original))
        }
        _ => Err(CopyError::Changed),
    }
}

fn stage(
    root: &Root,
    store: &Store<'_>,
    one: &Following,
    held: &KnownContent,
    original: &Original,
) -> Result<(Renewed, Checked), CopyError> {
    let files = held.follow(original)?;
    let paths = files.iter().map(|file| file.path.clone()).collect();
    // A file that can't be examined counts as writable by others.
    let others =
        one.copy.location.files().any(|file| root.is_writable_by_others(file).unwrap_or(true));
    let backup = if others { store::Backup::Unwanted } else { store::Backup::Wanted };
    let change = Change { credential: one.copy.name.clone(), files, link: None, backup };
    let change = store.stage(change)?.check(|contents| {
        if held.follows(contents, original) { Ok(()) } else { Err(CopyError::ReadBack) }
    })?;
    let certificate = &original.certificate;
    let renewed = Renewed {
        credential: one.copy.name.clone(),
        serial: certificate.serial.to_string(),
        not_after: certificate.not_after,
        key_algorithm: certificate.key_algorithm.to_string(),
        fingerprint: certificate.fingerprint,
        files: paths,
    };
    Ok((renewed, change))
}
