//! The journal: the renames of a change, on disk before the first one. It is one small file,
//! preallocated and overwritten in place, so that a full disk can't prevent that a change is
//! journaled or an unfinished one completed.
//!
//! Its first 128 bytes are a header line (format, length and digest of what follows, padded with
//! spaces); the rest is JSON. A journal that does not match its digest was not completely
//! written, so nothing was renamed for it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::FallocateFlags;
use nix::sys::stat::{FileStat, SFlag};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::quarantine::{quarantine_copy, quarantine_entry};
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
}

/// The journal that an earlier process left. It stays as it is until recovery has completed: doubt
/// about the staged files has to outlast a kill and a full disk.
#[derive(Debug)]
pub(super) struct EarlierJournal {
    path: PathBuf,
    /// The file; `None` where there is none, or it has to be replaced.
    file: Option<File>,
    intent: Vec<Entry>,
    refusal: Option<Refusal>,
    bytes: Vec<u8>,
}

/// The reason why a journal is not followed, so that its changes are unknown.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// The power was lost while it was written, or it is damaged.
    Torn,
    /// It is none of ours, and another one takes its place.
    Foreign(String),
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

impl EarlierJournal {
    /// Reads the journal. Changes nothing.
    pub(super) fn read(state: &Dir) -> Result<Self, StoreError> {
        let name = OsStr::new(NAME);
        let path = state.path().join(name);
        let Some(stat) = state.stat(name)? else {
            return Ok(Self::foreign(path, None, Vec::new()));
        };
        let refusal = refusal(&stat, &path);
        if kind(&stat) != SFlag::S_IFREG {
            return Ok(Self::foreign(path, refusal, Vec::new()));
        }
        let journal =
            Journal { file: state.open_or_create(name)?, path: path.clone(), intent: Vec::new() };
        let bytes = journal.bytes()?;
        if refusal.is_some() {
            return Ok(Self::foreign(path, refusal, bytes));
        }
        let (intent, refusal) = match decode(&bytes) {
            Content::Nothing => (Vec::new(), None),
            Content::Intent(intent) => (intent, None),
            Content::Torn => (Vec::new(), Some(Refusal::Torn)),
            Content::Foreign(what) => return Ok(Self::foreign(path, Some(what), bytes)),
        };
        Ok(Self { path, file: Some(journal.file), intent, refusal, bytes })
    }

    fn foreign(path: PathBuf, what: Option<String>, bytes: Vec<u8>) -> Self {
        let refusal = what.map(Refusal::Foreign);
        Self { path, file: None, intent: Vec::new(), refusal, bytes }
    }

    /// The unfinished operations.
    pub(super) fn intent(&self) -> &[Entry] {
        &self.intent
    }

    /// Whether the journal had content that could not be parsed, so that its changes are unknown.
    pub(super) fn is_lost(&self) -> bool {
        self.refusal.is_some()
    }

    /// The content as it is on the disk; empty where it is not a regular file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Quarantines a copy of the journal and returns a note with its name.
    pub(super) fn keep_copy(&self, state: &Dir) -> Option<String> {
        let bytes = encode(&self.intent).ok()?;
        let kept = quarantine_copy(state, NAME, &bytes).ok()?;
        Some(format!("{}: its content is kept as {kept}", self.path.display()))
    }

    /// Begins the journal of this process with the operations that are still unfinished. It
    /// replaces one that is not followed, and the note says why. Recovery has completed before.
    pub(super) fn take_over(
        self,
        state: &Dir,
        unfinished: Vec<Entry>,
    ) -> Result<(Journal, Option<String>), StoreError> {
        let shown = self.path.display();
        let note = match &self.refusal {
            None => None,
            Some(Refusal::Torn) => {
                Some(format!("{shown}: was not completely written, or is damaged; it is not used"))
            }
            Some(Refusal::Foreign(what)) => {
                let kept = quarantine_entry(state, NAME)?;
                Some(format!("{shown}: {what}; it is quarantined as {kept} and not used"))
            }
        };
        let file = match self.file {
            Some(file) => file,
            None => state.create_new(OsStr::new(NAME))?,
        };
        let mut journal = Journal { file, path: self.path, intent: Vec::new() };
        if journal.preallocate()? {
            state.sync()?;
        }
        if !self.intent.is_empty() || self.refusal.is_some() {
            journal.write(unfinished)?;
        }
        Ok((journal, note))
    }
}

impl Journal {
    /// Whether the journal in this directory holds an intent. A journal that does not exist or
    /// can't be read holds none.
    pub(super) fn has_intent(state: &Dir) -> bool {
        let file = state.open(OsStr::new(NAME));
        let content = file.ok().and_then(|file| {
            let path = state.path().join(NAME);
            Self { file, path, intent: Vec::new() }.bytes().ok()
        });
        matches!(content.as_deref().map(decode), Some(Content::Intent(_)))
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

    fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        let size = self.file.metadata().map_err(|e| self.failed("examine", e))?.len();
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(CAPACITY)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|e| self.failed("read", e))?;
        Ok(bytes)
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
            // without copy-on-write. What is there already stays.
            let rest = CAPACITY.saturating_sub(usize::try_from(size).unwrap_or(CAPACITY));
            self.file
                .write_all_at(&vec![0; rest], size)
                .map_err(|e| self.failed("make room for", e))?;
        }
        self.file.sync_all().map_err(|e| self.failed("sync", e))?;
        Ok(true)
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> StoreError {
        FileError::from_io(&self.path, action, error).into()
    }
}

/// The reason why an entry is not used as the journal: it is not a regular file, has a second name,
/// or can have been written by others than root.
fn refusal(stat: &FileStat, path: &Path) -> Option<String> {
    let other = match kind(stat) {
        SFlag::S_IFREG if stat.st_nlink > 1 => {
            return Some(format!("has {} names (hard links), not a journal", stat.st_nlink));
        }
        SFlag::S_IFREG => {
            let trusted = check_root_only(stat, path);
            return trusted.err().map(|_| "can have been written by others than root".to_owned());
        }
        SFlag::S_IFLNK => "a symlink",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFIFO => "a pipe",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    };
    Some(format!("is {other}, not a journal"))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
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
        Err(e) => Content::Foreign(format!("can't be understood: {e}")),
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
