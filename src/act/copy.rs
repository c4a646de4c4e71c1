//! Copying: what an original holds takes the place of what its copies hold, each in a change of its
//! own.
//!
//! A copy that fails costs only itself, and its turn comes again at the next pass.

use super::job::Renewed;
use crate::credentials::{
    ComposeError, Held, Lineage, LoadedCopy, Original, load, load_authority, load_copy,
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

/// Why a copy does not follow. Nothing of it was replaced, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It, or its original, is not what it was when that was decided.
    #[error(
        "it or its original was changed by another process in the meantime; it is left as it is, \
         and the next pass looks at it again"
    )]
    Changed,
    /// The files could not be put together.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// What was staged is not what it should be.
    #[error("what was written, read back, is not what its original holds; nothing was replaced")]
    ReadBack,
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("a fault in kubecertd kept it from being copied; please report it")]
    Fault,
}

/// A copy, and what became of it.
pub type Copied = (CredentialName, Result<Renewed, CopyError>);

/// Has them follow, and says for each what became of it, in their order; then what an operator
/// should know besides.
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

/// Both as they are now, if they are what they were.
fn prepare(root: &Root, one: &Following) -> Result<(Held, Original), CopyError> {
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
    held: &Held,
    original: &Original,
) -> Result<(Renewed, Checked), CopyError> {
    let files = held.follow(original)?;
    let paths = files.iter().map(|file| file.path.clone()).collect();
    // What can't be said is said of the worst.
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
