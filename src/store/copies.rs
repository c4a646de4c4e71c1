//! What is remembered for copies: which certificates each original has held. A copy is one by
//! holding one of them. It may be deleted without harm: then a copy is known by the backups, or its
//! owner is asked to see to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::small;
use crate::model::{AbsolutePath, CredentialName, Digest};
use crate::sys::{FileError, Root};

const FILE: &str = "copies.json";

/// As many certificates of one credential as are remembered: those of decades, or of a month of a
/// certificate that lives a day.
const MOST: usize = 32;

/// The certificates that originals have held, by their SHA-256, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineages {
    held: BTreeMap<CredentialName, Vec<String>>,
}

impl Lineages {
    /// Reads the file. The text says what is wrong with it, if something is.
    #[must_use]
    pub fn read(root: &Root, state: &AbsolutePath) -> (Self, Option<String>) {
        let (found, note) = small::read(root, state, FILE, "copies are known by the backups only");
        (found.unwrap_or_default(), note)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the state folder can't be written to; the file is what it was then.
    pub fn write(&self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        small::write(root, state, FILE, self)
    }

    /// Whether it is remembered that a credential held this certificate.
    #[must_use]
    pub fn has(&self, credential: &CredentialName, fingerprint: &Digest) -> bool {
        let fingerprint = fingerprint.to_string();
        self.held.get(credential).is_some_and(|held| held.contains(&fingerprint))
    }

    /// Takes note of what these credentials hold now, and forgets all others.
    #[must_use]
    pub fn with<'c>(
        mut self,
        now: impl IntoIterator<Item = (&'c CredentialName, Option<Digest>)>,
    ) -> Self {
        let mut before = std::mem::take(&mut self.held);
        for (credential, fingerprint) in now {
            let mut held = before.remove(credential).unwrap_or_default();
            if let Some(fingerprint) = fingerprint.map(|digest| digest.to_string()) {
                // One that came back is as new as it was first.
                held.retain(|earlier| *earlier != fingerprint);
                held.push(fingerprint);
            }
            held.drain(..held.len().saturating_sub(MOST));
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
    fn what_was_held_is_remembered_up_to_a_number_and_comes_back() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let name = CredentialName::constant("admin.conf");
        let other = CredentialName::constant("apiserver");
        let digest = |number: usize| Digest::of(number.to_string().as_bytes());
        let mut lineages = Lineages::default().with([(&other, Some(digest(0)))]);
        for number in (0..MOST).chain([0, MOST]) {
            lineages = lineages.with([(&name, Some(digest(number)))]);
        }
        assert!(!lineages.has(&other, &digest(0)), "it has no copies any more");
        assert!(
            lineages.has(&name, &digest(0)) && lineages.has(&name, &digest(MOST)),
            "it came back"
        );
        assert!(!lineages.has(&name, &digest(1)), "the oldest");
        let same = lineages.clone().with([(&name, None)]);
        assert_eq!(same, lineages, "what can't be read now was not lost");
        lineages.write(&root, &state).unwrap();
        assert_eq!(Lineages::read(&root, &state), (lineages, None));
        std::fs::write(disk.path().join("state/copies.json"), "{\"format\": 2}").unwrap();
        let (none, note) = Lineages::read(&root, &state);
        assert_eq!(none, Lineages::default());
        assert!(note.unwrap().ends_with("; copies are known by the backups only"));
    }
}
