//! Stages new files: beside their targets, under a dot-name, with the targets' owner, mode and
//! attributes.
//!
//! The states of a change are types: [`Staged`] can only be checked or dropped, [`Checked`] can
//! only be committed or dropped. Dropping either removes its staged files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;

use nix::sys::stat::Mode;

use super::files::{LARGEST_FILE, random_suffix, read_all, staged_prefix};
use super::link::{NewLink, StagedLink};
use super::{Store, StoreError, metadata};
use crate::model::{AbsolutePath, CredentialName, Digest, Secret};
use crate::sys::{FileError, Place, Root};

/// The files of one credential that are to be replaced together.
#[derive(Debug)]
pub struct Change {
    /// The credential that the files belong to.
    pub credential: CredentialName,
    /// The files.
    pub files: Vec<NewFile>,
    /// A symlink that is swapped, before the files are replaced.
    pub link: Option<NewLink>,
    /// Whether the change needs a backup of the old files.
    pub backup: Backup,
}

/// Whether a change may be made when the old files can't be copied first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// No backup, no change.
    Required,
    /// Back up if possible: a full disk must not prevent the renewal of an expired credential.
    Wanted,
    /// No backup: the file belongs to a user, who could displace all other backups by having it
    /// replaced repeatedly.
    Unwanted,
}

/// The new content of one file.
#[derive(Debug)]
pub struct NewFile {
    /// The file as the catalog names it; symlinks are followed.
    pub path: AbsolutePath,
    /// The new content.
    pub content: Secret,
    /// The digest of the old content when the change was decided; `None` when the file did not
    /// exist.
    pub old: Option<Digest>,
    /// The kind of file, for the mode of a new one.
    pub kind: Kind,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Public: 0644.
    Certificate,
    /// Holds a private key: 0600.
    Private,
    /// Holds the private key of a CA: 0600, and the old one gets into no backup.
    AuthorityKey,
}

/// A change whose new files are staged and not checked yet.
#[derive(Debug)]
pub struct Staged {
    credential: CredentialName,
    backup: Backup,
    writable_by_others: bool,
    files: Vec<StagedFile>,
    link: Option<StagedLink>,
}

/// A staged change whose content passed the check.
#[derive(Debug)]
pub struct Checked {
    pub(super) credential: CredentialName,
    pub(super) backup: Backup,
    /// Whether others than root can write one of the files: such changes are backed up apart.
    pub(super) writable_by_others: bool,
    pub(super) files: Vec<StagedFile>,
    pub(super) link: Option<StagedLink>,
}

/// One new file beside its target. Removed when dropped, unless it is journaled.
#[derive(Debug)]
pub(super) struct StagedFile {
    pub(super) target: AbsolutePath,
    pub(super) place: Place,
    pub(super) name: OsString,
    pub(super) file: File,
    pub(super) kind: Kind,
    pub(super) old: Option<Digest>,
    pub(super) new: Digest,
    pub(super) keep: bool,
}

impl Store<'_> {
    /// Writes the new files beside their targets.
    ///
    /// # Errors
    /// When a target has changed since the change was decided, or a file can't be written. No
    /// staged file is left then.
    pub fn stage(&self, change: Change) -> Result<Staged, StoreError> {
        let files = change
            .files
            .iter()
            .map(|file| stage_file(self.root, file))
            .collect::<Result<Vec<_>, _>>()?;
        let mut places = BTreeSet::new();
        for StagedFile { place, .. } in &files {
            if !places.insert((place.dir.identity()?, &place.name)) {
                return Err(StoreError::SameFile(place.path()));
            }
        }
        let link = change.link.as_ref().map(|link| StagedLink::new(self.root, link)).transpose()?;
        let link_path = change.link.as_ref().map(|link| &link.path);
        let mut paths = change.files.iter().map(|file| &file.path).chain(link_path);
        // A file that can't be reached without symlinks of others counts as theirs.
        let writable_by_others =
            paths.any(|path| self.root.is_writable_by_others(path).unwrap_or(true));
        let Change { credential, backup, .. } = change;
        Ok(Staged { credential, backup, writable_by_others, files, link })
    }
}

impl Staged {
    /// Reads the staged files back and passes their contents to `check`: that of the symlink first,
    /// then in the order of the change.
    ///
    /// # Errors
    /// The error of `check` or of reading; the staged files are removed then.
    pub fn check<E: From<StoreError>>(
        mut self,
        check: impl FnOnce(&[Secret]) -> Result<(), E>,
    ) -> Result<Checked, E> {
        let link = self.link.iter_mut().map(StagedLink::read_back);
        let contents = link
            .chain(self.files.iter_mut().map(StagedFile::read_back))
            .collect::<Result<Vec<_>, _>>()?;
        check(&contents)?;
        Ok(Checked {
            credential: self.credential,
            backup: self.backup,
            writable_by_others: self.writable_by_others,
            files: self.files,
            link: self.link,
        })
    }
}

impl Checked {
    /// Sets whether the staged files are kept when this value is dropped: once journaled, recovery
    /// needs them.
    pub(super) fn keep_staged(&mut self, keep: bool) {
        self.files.iter_mut().for_each(|file| file.keep = keep);
        self.link.iter_mut().for_each(|link| link.keep = keep);
    }
}

impl StagedFile {
    fn read_back(&mut self) -> Result<Secret, StoreError> {
        read_all(&mut self.file, &self.place.dir.path().join(&self.name))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.keep {
            // A failure is ignored: recovery at the next start tries again.
            let _ = self.place.dir.remove(&self.name);
        }
    }
}

fn stage_file(root: &Root, new: &NewFile) -> Result<StagedFile, StoreError> {
    let place = root.locate(&new.path)?;
    if place.path().to_str().is_none() {
        return Err(StoreError::NotUtf8(place.path()));
    }
    // Before anything is replaced: a change would stay half made.
    place.dir.check_replaceable(&place.name)?;
    let old = match place.dir.open(&place.name) {
        Ok(file) => Some(file),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(e.into()),
    };
    let mut name = staged_prefix(&place.name);
    name.push(random_suffix());
    let file = place.dir.create_new(&name)?;
    let mut staged = StagedFile {
        target: new.path.clone(),
        place,
        name,
        file,
        kind: new.kind,
        old: new.old,
        new: Digest::of(new.content.expose()),
        keep: false,
    };
    let path = staged.place.dir.path().join(&staged.name);
    match &old {
        Some(old) => copy_metadata(old, new, &staged.file)?,
        None if new.old.is_some() => {
            return Err(StoreError::Changed(new.path.as_path().to_owned()));
        }
        None => nix::sys::stat::fchmod(&staged.file, default_mode(new.kind))
            .map_err(|e| FileError::from_errno(&path, "set the mode of", e))?,
    }
    staged
        .file
        .write_all(new.content.expose())
        .map_err(|e| FileError::from_io(&path, "write", e))?;
    Ok(staged)
}

/// Checks that the old file has not changed since the change was decided, and copies its metadata.
fn copy_metadata(old: &File, new: &NewFile, staged: &File) -> Result<(), StoreError> {
    let path = new.path.as_path();
    let reader = old.try_clone().map_err(|e| FileError::from_io(path, "read", e))?;
    let content = crate::sys::read_regular(reader, path, LARGEST_FILE)?;
    if Some(Digest::of(content.bytes.expose())) != new.old {
        return Err(StoreError::Changed(path.to_owned()));
    }
    Ok(metadata::copy(old, &content.stat, staged, path)?)
}

fn default_mode(kind: Kind) -> Mode {
    match kind {
        Kind::Certificate => Mode::from_bits_truncate(0o644),
        Kind::Private | Kind::AuthorityKey => Mode::from_bits_truncate(0o600),
    }
}
