//! The journal: the renames of a change, on disk before the first one. It is one small file,
//! preallocated and overwritten in place, so that a full disk can't prevent that a change is
//! journaled or an unfinished one completed.
//!
//! Its first 128 bytes are a header line (format, length and digest of what follows, padded with
//! spaces); the rest is JSON. A journal that does not match its digest was not completely
//! written, so nothing was renamed for it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::FallocateFlags;
use nix::sys::stat::SFlag;
use serde::{Deserialize, Serialize};

use super::quarantine::{quarantine_copy, quarantine_entry};
use super::{Recovered, StoreError};
use crate::model::{CredentialName, Digest};
use crate::sys::{Dir, FileError, check_root_only};

const NAME: &str = "journal";
const MAGIC: &str = "kubecertd-journal";
const FORMAT: u32 = 1;
const HEADER_SIZE: usize = 128;
const CAPACITY: usize = 256 * 1024;
/// The size limit of one intent in bytes: about five hundred files. The other half is for the
/// unfinished changes of an earlier pass.
pub(super) const MAX_INTENT_SIZE: usize = CAPACITY / 2;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    intent: Vec<Entry>,
    lost: bool,
}

/// One operation of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Entry {
    /// A staged file is renamed over its target.
    Replace {
        /// The credential that the file belongs to: its files are replaced together.
        credential: CredentialName,
        /// The directory of both, with symlinks followed.
        #[serde(rename = "folder")]
        dir: PathBuf,
        /// The target's name in it.
        name: String,
        /// The staged file's name in it.
        staged: String,
        /// The target's digest before; `None` when it does not exist.
        old: Option<Digest>,
        /// The staged file's digest.
        new: Digest,
    },
    /// A staged file gets its name, and a staged symlink to it is renamed over the old symlink.
    Link {
        /// The credential that they belong to.
        credential: CredentialName,
        /// The directory of all of them, with symlinks followed.
        #[serde(rename = "folder")]
        dir: PathBuf,
        /// The symlink's name in it.
        name: String,
        /// The staged symlink's name in it.
        staged: String,
        /// The staged file's name in it.
        file: String,
        /// The final name of the file, the target of the staged symlink.
        dated: String,
        /// The symlink's target before; `None` when it does not exist.
        old: Option<PathBuf>,
        /// The file's digest.
        new: Digest,
    },
}

impl Entry {
    /// The credential that the file belongs to.
    pub(super) fn credential(&self) -> &CredentialName {
        match self {
            Self::Replace { credential, .. } | Self::Link { credential, .. } => credential,
        }
    }
}

impl Journal {
    /// Opens or creates the journal and reads the intent that an earlier process left in it.
    pub(super) fn open(state: &Dir) -> Result<(Self, Recovered), StoreError> {
        let mut recovered = Recovered::default();
        let name = OsStr::new(NAME);
        let path = state.path().join(name);
        let (file, refusal) = open_own(state, name)?;
        let mut journal = Self { file, path, intent: Vec::new(), lost: refusal.is_some() };
        recovered.notes.extend(refusal.map(|what| format!("{}: {what}", journal.path.display())));
        match journal.read()? {
            Content::Nothing => {}
            Content::Intent(intent) => journal.intent = intent,
            Content::Torn => {
                journal.lost = true;
                recovered.notes.push(format!(
                    "{}: was not completely written, or is damaged; it is not followed",
                    journal.path.display()
                ));
            }
            Content::Foreign(what) => {
                journal.lost = true;
                let kept = quarantine_entry(state, NAME)?;
                recovered.notes.push(format!(
                    "{}: {what}; it is quarantined as {kept} and not followed",
                    journal.path.display()
                ));
                journal.file = state.create_new(name)?;
            }
        }
        if journal.preallocate()? {
            state.sync()?;
        }
        Ok((journal, recovered))
    }

    /// Whether the journal in this directory holds an intent. A journal that does not exist or
    /// can't be read holds none.
    pub(super) fn has_intent(state: &Dir) -> bool {
        let file = state.open(OsStr::new(NAME));
        let content = file.ok().and_then(|file| {
            Self { file, path: state.path().join(NAME), intent: Vec::new(), lost: false }
                .read()
                .ok()
        });
        matches!(content, Some(Content::Intent(_)))
    }

    /// Whether the journal had content that could not be parsed, so that its changes are unknown.
    pub(super) fn was_lost(&self) -> bool {
        self.lost
    }

    /// Quarantines a copy of the journal and returns a note with its name.
    pub(super) fn keep_copy(&self, state: &Dir) -> Option<String> {
        let bytes = encode(&self.intent).ok()?;
        let kept = quarantine_copy(state, NAME, &bytes).ok()?;
        Some(format!("{}: what it said is kept as {kept}", self.path.display()))
    }

    /// The unfinished operations.
    pub(super) fn intent(&self) -> &[Entry] {
        &self.intent
    }

    /// Writes an intent durably. An empty intent clears the journal.
    pub(super) fn write(&mut self, intent: Vec<Entry>) -> Result<(), StoreError> {
        let bytes = encode(&intent)
            .map_err(|reason| StoreError::JournalContent { path: self.path.clone(), reason })?;
        self.file.write_all_at(&bytes, 0).map_err(|e| self.failed("write", e))?;
        self.file.sync_data().map_err(|e| self.failed("sync", e))?;
        self.intent = intent;
        Ok(())
    }

    /// The size of these entries in the journal, in bytes.
    pub(super) fn size(entries: &[Entry]) -> usize {
        serde_json::to_vec(entries).map_or(usize::MAX, |json| json.len())
    }

    fn read(&self) -> Result<Content, StoreError> {
        let size = self.file.metadata().map_err(|e| self.failed("examine", e))?.len();
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(CAPACITY)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|e| self.failed("read", e))?;
        Ok(decode(&bytes))
    }

    /// Reserves the journal's capacity on the disk. Returns whether it was not reserved before.
    fn preallocate(&self) -> Result<bool, StoreError> {
        let size = self.file.metadata().map_err(|e| self.failed("examine", e))?.len();
        if size >= CAPACITY as u64 {
            return Ok(false);
        }
        let length = i64::try_from(CAPACITY).unwrap_or(i64::MAX);
        if nix::fcntl::fallocate(&self.file, FallocateFlags::empty(), 0, length).is_err() {
            // Not every file system can reserve space; written zeros have the same effect on those
            // without copy-on-write.
            self.file
                .write_all_at(&vec![0; CAPACITY], 0)
                .map_err(|e| self.failed("make room for", e))?;
        }
        self.file.sync_all().map_err(|e| self.failed("sync", e))?;
        Ok(true)
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> StoreError {
        FileError::from_io(&self.path, action, error).into()
    }
}

/// Opens or creates the journal. An entry of that name that is not a regular file, has a second
/// name, or can have been written by others than root is quarantined, and a new journal is created.
/// The text is the reason.
fn open_own(state: &Dir, name: &OsStr) -> Result<(File, Option<String>), StoreError> {
    let what = match state.open_or_create(name) {
        Ok(file) => match refusal(&file, &state.path().join(name))? {
            None => return Ok((file, None)),
            Some(what) => what,
        },
        Err(e) => match state
            .stat(name)?
            .map(|stat| SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()))
        {
            None | Some(SFlag::S_IFREG) => return Err(e.into()),
            Some(SFlag::S_IFLNK) => "is a symlink, not a journal".to_owned(),
            Some(SFlag::S_IFDIR) => "is a directory, not a journal".to_owned(),
            Some(_) => "is a socket or a device, not a journal".to_owned(),
        },
    };
    let kept = quarantine_entry(state, NAME)?;
    Ok((
        state.create_new(name)?,
        Some(format!("{what}; it is quarantined as {kept} and not followed")),
    ))
}

fn refusal(file: &File, path: &Path) -> Result<Option<String>, FileError> {
    let found = file.metadata().map_err(|e| FileError::from_io(path, "examine", e))?;
    Ok(match found.nlink() {
        _ if !found.is_file() => Some("is a pipe or a device, not a journal".to_owned()),
        0 | 1 => {
            let stat = nix::sys::stat::fstat(file)
                .map_err(|e| FileError::from_errno(path, "examine", e))?;
            check_root_only(&stat, path)
                .err()
                .map(|_| "can have been written by others than root".to_owned())
        }
        names => Some(format!("has {names} names (hard links), not a journal")),
    })
}

#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Nothing,
    Intent(Vec<Entry>),
    /// The digest does not match: the power was lost while it was written.
    Torn,
    /// The file is not a journal of this format.
    Foreign(String),
}

pub(super) fn encode(intent: &[Entry]) -> Result<Vec<u8>, String> {
    let body = if intent.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(intent).map_err(|e| e.to_string())?
    };
    let bytes = with_header(&body);
    if bytes.len() > CAPACITY {
        Err(format!("{} bytes are more than the {CAPACITY} reserved", bytes.len()))
    } else {
        Ok(bytes)
    }
}

pub(super) fn with_header(body: &[u8]) -> Vec<u8> {
    let header = format!("{MAGIC} {FORMAT} {} {}", body.len(), Digest::of(body));
    let mut bytes = format!("{header:<width$}\n", width = HEADER_SIZE - 1).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Content {
    if bytes.iter().all(|byte| *byte == 0) {
        return Content::Nothing;
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER_SIZE) else { return Content::Torn };
    if header.iter().all(|byte| *byte == 0) {
        // The disk may write the end first.
        return Content::Torn;
    }
    let header = String::from_utf8_lossy(header);
    let mut fields = header.split_whitespace();
    if fields.next() != Some(MAGIC) {
        return Content::Foreign("is not a journal".to_owned());
    }
    match fields.next().and_then(|format| format.parse::<u32>().ok()) {
        Some(FORMAT) => {}
        Some(newer) => {
            return Content::Foreign(format!(
                "has format {newer}, and this version knows format {FORMAT}"
            ));
        }
        None => return Content::Torn,
    }
    let length = fields.next().and_then(|length| length.parse::<usize>().ok());
    let Some(body) = length.and_then(|length| body.get(..length)) else { return Content::Torn };
    if fields.next() != Some(Digest::of(body).to_string().as_str()) {
        return Content::Torn;
    }
    if body.is_empty() {
        return Content::Nothing;
    }
    match serde_json::from_slice::<Vec<Entry>>(body) {
        Ok(intent) if intent.is_empty() => Content::Nothing,
        Ok(intent) => Content::Intent(intent),
        Err(e) => Content::Foreign(format!("does not say what is to be done: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Vec<Entry> {
        let name = CredentialName::new("apiserver").unwrap();
        let (old, new) = (Some(Digest::of(b"old")), Digest::of(b"new"));
        vec![Entry::Replace {
            credential: name,
            dir: "/etc".into(),
            name: "a.crt".into(),
            staged: ".a.crt.kubecertd-1".into(),
            old,
            new,
        }]
    }

    #[test]
    fn intent_round_trips() {
        assert_eq!(decode(&encode(&intent()).unwrap()), Content::Intent(intent()));
        assert_eq!(decode(&encode(&[]).unwrap()), Content::Nothing);
        assert_eq!(decode(&[0; 4096]), Content::Nothing);
        assert_eq!(decode(&with_header(b"[]")), Content::Nothing);
    }

    #[test]
    fn shorter_intent_over_longer_one_is_read_alone() {
        let mut disk = encode(&[intent(), intent()].concat()).unwrap();
        let shorter = encode(&intent()).unwrap();
        disk[..shorter.len()].copy_from_slice(&shorter);
        assert_eq!(decode(&disk), Content::Intent(intent()));
    }

    #[test]
    fn every_torn_write_is_detected() {
        let whole = encode(&intent()).unwrap();
        for length in 1..whole.len() {
            let mut disk = vec![0; CAPACITY];
            disk[..length].copy_from_slice(&whole[..length]);
            let content = decode(&disk);
            assert!(!matches!(content, Content::Intent(_)), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn write_with_missing_header_is_detected() {
        let mut disk = encode(&intent()).unwrap();
        disk[..HEADER_SIZE].fill(0);
        assert_eq!(decode(&disk), Content::Torn);
    }

    #[test]
    fn newer_journal_format_is_refused() {
        let mut bytes = encode(&intent()).unwrap();
        let at = MAGIC.len() + 1;
        bytes[at] = b'2';
        assert_eq!(
            decode(&bytes),
            Content::Foreign("has format 2, and this version knows format 1".to_owned())
        );
    }
}
