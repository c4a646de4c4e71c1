//! Restoring: what a backup holds takes the place of what is there now.
//!
//! It is a change like a renewal and goes the same way through the store: staged, read back,
//! checked, backed up, journaled. So a restore can be restored from in its turn.

use std::collections::{BTreeMap, BTreeSet};

use super::{PassError, open_store};
use crate::credentials::{
    Backup, ComposeError, Files, Form, Lineage, Loaded, LoadedCopy, SourceFile, Stored, load,
    load_authority, load_copy, located,
};
use crate::formats::x509::Certificate;
use crate::model::{
    AbsolutePath, CopyOf, Credential, CredentialName, Digest, Location, Signer, Timestamp,
};
use crate::observe::{Node, Platform};
use crate::plan::remaining;
use crate::state::Lineages;
use crate::store::{
    self, Backups, Change, Checked, Generation, Kind, NewFile, Recovered, Store, StoreError,
};
use crate::sys::FileError;

/// What is to be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only these; all that the backup holds when empty.
    pub only: BTreeSet<CredentialName>,
    /// From this backup; from the newest that holds it whole when `None`.
    pub from: Option<Generation>,
    /// Also what is expired, or what the present authority did not sign.
    pub force: bool,
}

/// One credential in one backup.
#[derive(Debug)]
pub struct Held {
    /// The backup.
    pub generation: Generation,
    /// The credential.
    pub credential: CredentialName,
    /// Its serial number in hex and its last valid second, where there is a certificate.
    pub certificate: Option<(String, Timestamp)>,
    /// Why it can't be restored, or not without force.
    pub obstacle: Option<RestoreError>,
}

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The backup that it came from.
    pub generation: Generation,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// Whether anything had to be replaced for it: what is there may be the same already.
    pub replaced: bool,
}

/// What a restore did.
#[derive(Debug)]
pub struct RestoreReport {
    /// What an earlier process had left unfinished.
    pub recovered: Recovered,
    /// What became of each, in the order of the catalog.
    pub results: Vec<(CredentialName, Result<Restored, RestoreError>)>,
    /// The backups of what was replaced.
    pub backups: Vec<Generation>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Why a credential was not restored. Nothing of it was replaced, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no copy of it.
    #[error("no backup holds it")]
    NoBackup,
    /// Not in the backup that was asked for.
    #[error("the backup {0} does not hold it")]
    NotIn(Generation),
    /// The copy is not a certificate with the key that fits it.
    #[error("the backup {generation} does not hold it completely: {reason}")]
    NotWhole {
        /// The backup.
        generation: Generation,
        /// What is wrong with the copy.
        reason: String,
    },
    /// It has expired.
    #[error(
        "the certificate in the backup {generation} expired {ago} and is not accepted any more; \
         --force restores it anyway"
    )]
    Expired {
        /// The backup.
        generation: Generation,
        /// How long ago.
        ago: String,
    },
    /// It is not valid yet.
    #[error(
        "the certificate in the backup {generation} is not valid before {not_before}: is the clock \
         right? --force restores it anyway"
    )]
    NotYetValid {
        /// The backup.
        generation: Generation,
        /// From when on it is valid.
        not_before: Timestamp,
    },
    /// The CA has been replaced since.
    #[error(
        "the certificate in the backup {generation} was not signed by the present CA {authority}: \
         programs that trust only this CA refuse it; --force restores it anyway"
    )]
    Foreign {
        /// The backup.
        generation: Generation,
        /// The authority.
        authority: String,
    },
    /// It is signed with SHA-1.
    #[error(
        "the certificate in the backup {generation} is signed with SHA-1, which Kubernetes refuses \
         from 1.24 on; --force restores it anyway, and the next pass renews it"
    )]
    Sha1 {
        /// The backup.
        generation: Generation,
    },
    /// Its files are another credential's too.
    #[error(
        "{path} belongs to {other} too, which is restored at the same time; restore one of them"
    )]
    Shared {
        /// The file.
        path: AbsolutePath,
        /// The other credential.
        other: CredentialName,
    },
    /// A copy is never made.
    #[error("it is a copy that is missing, and a missing copy is not made: make it by hand")]
    NoCopy,
    /// What was staged is not what the backup holds.
    #[error("the written file, read back, differs from the backup; nothing was replaced")]
    ReadBack,
    /// What was staged can't be read as a credential.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// A file could not be looked at.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RestoreError {
    /// Whether it is only a reason to think twice.
    #[must_use]
    pub fn yields_to_force(&self) -> bool {
        matches!(
            self,
            Self::Expired { .. }
                | Self::NotYetValid { .. }
                | Self::Foreign { .. }
                | Self::Sha1 { .. }
        )
    }
}

/// What the backups hold of the credentials of this node, the newest backup first. Changes nothing.
///
/// # Errors
/// When the backups can't be read.
pub fn list(node: &Node, wanted: &Wanted, now: Timestamp) -> Result<Vec<Held>, FileError> {
    let backups = Backups::open(&node.root, &node.settings.paths.state)?;
    let generations = backups
        .generations()
        .into_iter()
        .filter(|one| wanted.from.as_ref().is_none_or(|from| from == one));
    let asked = |one: &&Credential| wanted.only.is_empty() || wanted.only.contains(&one.name);
    let held = generations.flat_map(|generation| {
        let here = node.catalog.credentials.iter().filter(asked);
        here.filter_map(|credential| held(node, &backups, &generation, credential, now))
            .collect::<Vec<_>>()
    });
    Ok(held.collect())
}

fn held(
    node: &Node,
    backups: &Backups,
    generation: &Generation,
    credential: &Credential,
    now: Timestamp,
) -> Option<Held> {
    let loaded = copy(node, backups, generation, credential);
    let obstacle = obstacle(node, credential, generation, &loaded, now);
    if matches!(loaded, Loaded::Absent) {
        return None;
    }
    let certificate = loaded
        .stored()
        .map(|stored| (stored.certificate.serial.to_string(), stored.certificate.not_after));
    Some(Held {
        generation: generation.clone(),
        credential: credential.name.clone(),
        certificate,
        obstacle,
    })
}

/// A credential as one backup holds it: in the files where it lives now, or else in its own
/// kubeconfig, where it lived then.
fn copy(
    node: &Node,
    backups: &Backups,
    generation: &Generation,
    credential: &Credential,
) -> Loaded {
    let files = Backup { backups, generation: generation.clone() };
    if let Some(of) = credential.copy_of() {
        return as_copy(node, &files, credential, of);
    }
    match load(&files, &located(&node.root, credential)) {
        Loaded::Absent => load(&files, credential),
        loaded => loaded,
    }
}

/// A copy is whole where it holds anything that its original is known to have held.
fn as_copy(node: &Node, files: &Backup<'_>, credential: &Credential, of: &CopyOf) -> Loaded {
    let (lineages, _) = Lineages::read(&node.root, &node.settings.paths.state);
    let held = |fingerprint: &Digest| lineages.has(&of.original, fingerprint);
    match load_copy(
        files,
        credential,
        of,
        &Lineage { current: None, authority: None, like: None, held: &held },
    ) {
        LoadedCopy::Absent => Loaded::Absent,
        LoadedCopy::Unreadable(text) | LoadedCopy::Changed(text) => Loaded::Unreadable(text),
        LoadedCopy::Held(held) => Loaded::Whole(Box::new(held.stored)),
    }
}

fn obstacle(
    node: &Node,
    credential: &Credential,
    generation: &Generation,
    loaded: &Loaded,
    now: Timestamp,
) -> Option<RestoreError> {
    let generation = generation.clone();
    let stored = match loaded {
        Loaded::Whole(stored) => stored,
        Loaded::Absent => return Some(RestoreError::NotIn(generation)),
        Loaded::Unreadable(reason)
        | Loaded::NoCertificate(reason)
        | Loaded::Damaged(reason)
        | Loaded::CertificateMissing(reason) => {
            return Some(RestoreError::NotWhole { generation, reason: reason.clone() });
        }
        Loaded::KeyMissing(_, reason) | Loaded::Mismatched(_, reason) => {
            return Some(RestoreError::NotWhole { generation, reason: reason.clone() });
        }
    };
    let leaf = &stored.certificate;
    if now > leaf.not_after {
        return Some(RestoreError::Expired { generation, ago: remaining(now, leaf.not_after) });
    }
    if now < leaf.not_before {
        return Some(RestoreError::NotYetValid { generation, not_before: leaf.not_before });
    }
    let known = node.catalog.authority_of(credential)?;
    // Of an authority that is gone nothing can be said.
    let foreign = matches!(
        load_authority(&node.root, known).above(leaf, &stored.further).signer,
        Signer::Foreign | Signer::Renamed | Signer::Itself
    );
    if foreign {
        return Some(RestoreError::Foreign { generation, authority: known.name.to_string() });
    }
    leaf.has_sha1_signature().then_some(RestoreError::Sha1 { generation })
}

/// Puts back what is wanted, each credential whole or not at all.
///
/// # Errors
/// When it could not begin; what goes wrong with single credentials is in the report.
pub fn restore(node: &Node, wanted: &Wanted, now: Timestamp) -> Result<RestoreReport, PassError> {
    if node.platform == Platform::StarlingX {
        return Err(PassError::Platform);
    }
    let (mut store, recovered) = open_store(node)?;
    let backups =
        Backups::open(&node.root, &node.settings.paths.state).map_err(StoreError::from)?;
    let mut results = BTreeMap::new();
    let mut staged: Vec<Checked> = Vec::new();
    let mut taken = BTreeMap::new();
    let (mut order, mut notes) = (Vec::new(), Vec::new());
    for credential in &node.catalog.credentials {
        let name = &credential.name;
        let chosen = match choose(node, &backups, credential, wanted, now) {
            Ok(None) => continue,
            Ok(Some(chosen)) => {
                let is_alone = wanted.only.contains(name);
                stage(node, &store, credential, chosen, is_alone, &mut taken, &mut notes)
            }
            Err(e) => Err(e),
        };
        let result = chosen.map(|(restored, change)| {
            staged.extend(change);
            restored
        });
        order.push(name.clone());
        results.insert(name.clone(), result);
    }
    let commit = store.commit(staged, now, usize::from(node.settings.backups.keep.get()));
    for outcome in commit.outcomes {
        if let Err(e) = outcome.result {
            results.insert(outcome.credential, Err(e.into()));
        }
    }
    notes.extend(commit.notes);
    let results = order.iter().filter_map(|name| results.remove_entry(name)).collect();
    Ok(RestoreReport { recovered, results, backups: commit.backups, notes })
}

/// A copy that may be restored.
struct Chosen {
    generation: Generation,
    stored: Stored,
}

/// The copy to restore; `None` for a credential that was not requested.
fn choose(
    node: &Node,
    backups: &Backups,
    credential: &Credential,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Option<Chosen>, RestoreError> {
    let named = wanted.only.contains(&credential.name);
    // A copy follows its original by itself, and may hold more than that by now. A further user of
    // a kubeconfig is restored with the file.
    let follows = credential.copy_of().is_some() || credential.location.user().is_some();
    if !named && (!wanted.only.is_empty() || follows) {
        return Ok(None);
    }
    let mut trouble = None;
    // Where a file has several users, a newer backup holds the certificate that is in place.
    let known =
        present(node, credential).filter(|_| wanted.from.is_none() && is_shared(node, credential));
    let is_in_place = |stored: &Stored| {
        known
            .as_ref()
            .is_some_and(|known| known.certificate.fingerprint == stored.certificate.fingerprint)
    };
    let mut in_place = None;
    let generations = backups
        .generations()
        .into_iter()
        .filter(|one| wanted.from.as_ref().is_none_or(|from| from == one));
    for generation in generations {
        let loaded = copy(node, backups, &generation, credential);
        if matches!(loaded, Loaded::Absent) {
            continue;
        }
        match (obstacle(node, credential, &generation, &loaded, now), loaded) {
            // The newest that is whole is taken, or nothing: an older one is no better.
            (Some(e), _) if e.yields_to_force() && !wanted.force => return Err(e),
            (None, Loaded::Whole(stored)) if is_in_place(&stored) => {
                in_place.get_or_insert(Chosen { generation, stored: *stored });
            }
            (None, Loaded::Whole(stored)) => {
                return Ok(Some(Chosen { generation, stored: *stored }));
            }
            (Some(e), Loaded::Whole(stored)) if e.yields_to_force() => {
                return Ok(Some(Chosen { generation, stored: *stored }));
            }
            (e, _) => trouble = trouble.or(e),
        }
    }
    match (trouble, &wanted.from) {
        _ if in_place.is_some() => Ok(in_place),
        (Some(e), _) => Err(e),
        (None, _) if !named => Ok(None),
        (None, Some(from)) => Err(RestoreError::NotIn(from.clone())),
        (None, None) => Err(RestoreError::NoBackup),
    }
}

/// Puts the copies beside what is there now, and makes sure that they are what the backup holds. No
/// change where that is there already.
fn stage(
    node: &Node,
    store: &Store<'_>,
    credential: &Credential,
    chosen: Chosen,
    is_alone: bool,
    taken: &mut BTreeMap<AbsolutePath, CredentialName>,
    notes: &mut Vec<String>,
) -> Result<(Restored, Option<Checked>), RestoreError> {
    let Chosen { generation, stored } = chosen;
    let sources: Vec<&SourceFile> = stored.form.sources().collect();
    if let Some((path, other)) = sources.iter().find_map(|source| taken.get_key_value(&source.path))
    {
        return Err(RestoreError::Shared { path: path.clone(), other: other.clone() });
    }
    let is_around = |present: &Stored| {
        is_alone && is_shared(node, credential) && is_embedded(present) && is_embedded(&stored)
    };
    let files = match present(node, credential).filter(is_around) {
        Some(present) => around(&present, &stored)?,
        None => sources
            .iter()
            .map(|source| new_file(node, credential, source))
            .collect::<Result<Vec<_>, _>>()?,
    };
    if credential.copy_of().is_some() && files.iter().any(|file| file.old.is_none()) {
        return Err(RestoreError::NoCopy);
    }
    let same = files.iter().all(|file| file.old == Some(Digest::of(file.content.expose())));
    let not_after = stored.certificate.not_after;
    let restored = Restored { generation, not_after, replaced: !same };
    if same {
        return Ok((restored, None));
    }
    let new: Vec<_> =
        files.iter().filter(|file| file.old.is_none()).map(|file| file.path.clone()).collect();
    let change = Change {
        credential: credential.name.clone(),
        files,
        link: None,
        backup: store::Backup::Required,
    };
    let change = store.stage(change)?.check(|contents| match credential.copy_of() {
        Some(_)
            if stored
                .form
                .sources()
                .map(|source| source.content.as_ref())
                .eq(contents.iter().map(Some)) =>
        {
            Ok(())
        }
        Some(_) => Err(RestoreError::ReadBack),
        None => check(&stored, contents),
    })?;
    notes.extend(new.iter().map(|path| {
        format!("{path} was missing; it is made again, with the usual mode, owned by root")
    }));
    taken.extend(sources.iter().map(|source| (source.path.clone(), credential.name.clone())));
    Ok((restored, Some(change)))
}

/// The credential as it is there now, where it has a certificate.
fn present(node: &Node, credential: &Credential) -> Option<Stored> {
    load(&node.root, credential).stored()
}

fn is_embedded(stored: &Stored) -> bool {
    matches!(stored.form, Form::Kubeconfig(_) | Form::User(..))
}

/// Whether a credential is in a kubeconfig with other users.
fn is_shared(node: &Node, credential: &Credential) -> bool {
    let own = credential.location.kubeconfig().filter(|_| credential.copy_of().is_none());
    let is_other = |one: &Credential| one.name != credential.name && one.copy_of().is_none();
    let mut all = node.catalog.credentials.iter();
    own.is_some() && all.any(|one| is_other(one) && one.location.kubeconfig() == own)
}

/// The certificate and key of a backup within what the files hold now: other users of a kubeconfig
/// keep theirs.
fn around(present: &Stored, backup: &Stored) -> Result<Vec<NewFile>, RestoreError> {
    let sources = backup.form.sources();
    let contents: Vec<_> = sources.filter_map(|source| source.content.clone()).collect();
    let (_, key) = backup.read_back(&contents)?;
    let key = key.to_pem().map_err(|_| RestoreError::ReadBack)?;
    Ok(present.compose_like(backup, &key)?)
}

fn new_file(
    node: &Node,
    credential: &Credential,
    source: &SourceFile,
) -> Result<NewFile, RestoreError> {
    let public = matches!(
        &credential.location,
        Location::Pair { certificate, .. } if *certificate == source.path
    );
    let old = Files::read(&node.root, &source.path)?.map(|content| Digest::of(content.expose()));
    if old.is_none() && credential.copy_of().is_none() {
        node.root.create_parents_of(&source.path)?;
    }
    let content = source.content.clone().ok_or(RestoreError::ReadBack)?;
    let kind = if public { Kind::Certificate } else { Kind::Private };
    Ok(NewFile { path: source.path.clone(), content, old, kind })
}

fn check(stored: &Stored, contents: &[crate::model::Secret]) -> Result<(), RestoreError> {
    let (certificate, key): (Certificate, _) = stored.read_back(contents)?;
    let same = certificate.fingerprint == stored.certificate.fingerprint && key.fits(&certificate);
    if same { Ok(()) } else { Err(RestoreError::ReadBack) }
}
