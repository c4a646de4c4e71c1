//! The memory of originals: `copies.json`, the certificates that each original has held. A file
//! that holds one of them is a copy. When the file is deleted, copies are recognized by the
//! backups, or reported to their owner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::model::{AbsolutePath, CredentialName, Digest};
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("copies.json", "copies are recognised by the backups only");

/// The most certificates that are remembered of a credential: those of decades, or of a month where
/// a certificate is valid for a day.
const MAX_CERTIFICATES: usize = 32;

/// The certificates that each original has held, by their SHA-256, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineages {
    held: BTreeMap<CredentialName, Vec<String>>,
}

impl Lineages {
    /// Reads the file. The text is the problem with the file, if there is one.
    #[must_use]
    pub fn read(root: &Root, state: &AbsolutePath) -> (Self, Option<String>) {
        FILE.read_or_default(root, state)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the file can't be written; it keeps its earlier content then.
    pub fn write(&self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        FILE.write(root, state, self)
    }

    /// Whether a credential is known to have held this certificate.
    #[must_use]
    pub fn has(&self, credential: &CredentialName, fingerprint: &Digest) -> bool {
        let fingerprint = fingerprint.to_string();
        self.held.get(credential).is_some_and(|held| held.contains(&fingerprint))
    }

    /// Adds the certificates that these credentials hold now, and forgets all other credentials.
    #[must_use]
    pub fn with<'c>(
        mut self,
        now: impl IntoIterator<Item = (&'c CredentialName, Option<Digest>)>,
    ) -> Self {
        let mut before = std::mem::take(&mut self.held);
        for (credential, fingerprint) in now {
            let mut held = before.remove(credential).unwrap_or_default();
            if let Some(fingerprint) = fingerprint.map(|digest| digest.to_string()) {
                // A certificate that was restored counts as the newest.
                held.retain(|earlier| *earlier != fingerprint);
                held.push(fingerprint);
            }
            held.drain(..held.len().saturating_sub(MAX_CERTIFICATES));
            if !held.is_empty() {
                self.held.insert(credential.clone(), held);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineages_are_limited_and_round_trip() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let name = CredentialName::constant("admin.conf");
        let other = CredentialName::constant("apiserver");
        let digest = |number: usize| Digest::of(number.to_string().as_bytes());
        let mut lineages = Lineages::default().with([(&other, Some(digest(0)))]);
        for number in (0..MAX_CERTIFICATES).chain([0, MAX_CERTIFICATES]) {
            lineages = lineages.with([(&name, Some(digest(number)))]);
        }
        assert!(!lineages.has(&other, &digest(0)), "it has no copies any more");
        assert!(
            lineages.has(&name, &digest(0)) && lineages.has(&name, &digest(MAX_CERTIFICATES)),
            "it was restored"
        );
        assert!(!lineages.has(&name, &digest(1)), "the oldest");
        let same = lineages.clone().with([(&name, None)]);
        assert_eq!(same, lineages, "what can't be read now was not lost");
        lineages.write(&root, &state).unwrap();
        assert_eq!(Lineages::read(&root, &state), (lineages, None));
        std::fs::write(disk.path().join("state/copies.json"), "{\"format\": 2}").unwrap();
        let (none, note) = Lineages::read(&root, &state);
        assert_eq!(none, Lineages::default());
        assert!(note.unwrap().ends_with("; copies are recognised by the backups only"));
    }
}
