//! What must hold after each pass: nothing of root's has changed except what was renewed, the user
//! has no certificate for another subject, and everything that is not the user's was renewed.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use kubecertd::formats::x509::{Certificate, PrivateKey};
use kubecertd::model::Digest;

use super::common::{Entry, Node, Snapshot, now};
use super::node::{
    Managed, OWN_DIRS, SECRET_TEXT, TEMPLATE, USER, identity, owner_of, pem_texts, read_pair,
};
use super::objects::OWN_KEY;
use super::pass::Pass;
use super::survey::{Survey, secrets};

/// The codes that the manual page names.
const DOCUMENTED_CODES: [i32; 7] = [0, 1, 3, 4, 5, 75, 78];

/// The state before the pass.
pub struct Before {
    snapshot: Snapshot,
    /// The certificates, each with a key that the user can read.
    subjects: BTreeSet<String>,
    /// The fingerprints of all certificates.
    fingerprints: HashSet<Digest>,
    /// The secrets that the user can't read.
    secrets: Vec<Vec<u8>>,
    /// The paths that the user controls.
    taken: Vec<PathBuf>,
}

impl Before {
    /// Describes a node and what the user has, perhaps before something was planted.
    pub fn of(node: &Node, taken: &[PathBuf]) -> Self {
        let survey = Survey::of(node);
        Self {
            snapshot: node.snapshot(),
            subjects: survey.subjects_of_user(taken),
            fingerprints: survey.fingerprints(),
            secrets: secrets().into_iter().filter(|secret| !survey.shows(secret)).collect(),
            taken: taken.to_vec(),
        }
    }

    /// Adds what the user has planted before the pass.
    pub fn with_planted(self, node: &Node) -> Self {
        let planted = Self::of(node, &self.taken);
        Self {
            snapshot: planted.snapshot,
            subjects: self.subjects.into_iter().chain(planted.subjects).collect(),
            fingerprints: self.fingerprints.into_iter().chain(planted.fingerprints).collect(),
            ..self
        }
    }

    /// Returns what was violated. `planted` are the paths where the user put something during the
    /// pass.
    pub fn judge(&self, node: &Node, pass: &Pass, planted: &[PathBuf]) -> Vec<String> {
        let mut violated = self.judge_end(pass);
        violated.extend(self.judge_files(node, planted));
        let survey = Survey::of(node);
        let issued = survey.certificates().filter(|(file, one)| self.is_wrongly_issued(file, one));
        violated.extend(issued.map(|(file, one)| {
            format!("{} has a new certificate: {}", file.display(), identity(one))
        }));
        let subjects = survey.subjects_of_user(&self.taken);
        let more = subjects.difference(&self.subjects);
        violated.extend(more.map(|one| format!("the user has a new certificate: {one}")));
        if self.secrets.iter().any(|secret| survey.shows(secret)) {
            violated.push("the user can read a secret of root's".to_owned());
        }
        violated
    }

    /// Whether a certificate was issued in the pass for another subject than its file's.
    fn is_wrongly_issued(&self, file: &Path, certificate: &Certificate) -> bool {
        let is_own = OWN_DIRS.iter().any(|own| file.starts_with(own));
        let is_new = !self.fingerprints.contains(&certificate.fingerprint);
        is_new && !is_own && !owner_of(file).is_some_and(|owner| owner.is_for(certificate))
    }

    fn judge_end(&self, pass: &Pass) -> Vec<String> {
        let mut violated = Vec::new();
        match pass.code {
            None => violated.push("it did not end in time".to_owned()),
            Some(code) if !DOCUMENTED_CODES.contains(&code) => {
                violated.push(format!("it ended with {code}"));
            }
            Some(_) => {}
        }
        if pass.text.contains("panicked") {
            violated.push(format!("it panicked: {}", pass.text));
        }
        if pass.text.contains(SECRET_TEXT) {
            violated.push("its output shows a secret".to_owned());
        }
        violated
    }

    /// Returns the files that were changed, made or removed, and should not have been.
    fn judge_files(&self, node: &Node, planted: &[PathBuf]) -> Vec<String> {
        let Snapshot(before) = &self.snapshot;
        let Snapshot(after) = node.snapshot();
        let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let changed = paths.into_iter().filter(|path| !planted.contains(path));
        let differences = changed.filter_map(|path| {
            let what = self.difference(node, path, before.get(path), after.get(path))?;
            Some(format!("{} {what}", path.display()))
        });
        differences.collect()
    }

    fn difference(
        &self,
        node: &Node,
        path: &Path,
        before: Option<&Entry>,
        after: Option<&Entry>,
    ) -> Option<String> {
        if OWN_DIRS.iter().any(|own| path.starts_with(own) || Path::new(own).starts_with(path)) {
            let is_root = after.is_none_or(|entry| entry.owner.0 == 0);
            let was_root = before.is_some_and(|entry| entry.owner.0 == 0);
            return (was_root && !is_root).then(|| "no longer belongs to root".to_owned());
        }
        let is_users = |entry: Option<&Entry>| entry.is_some_and(|one| one.owner.0 == USER);
        match (before, after) {
            (Some(before), Some(after)) if is_same(before, after) => None,
            (Some(_), _) if is_users(before) => None,
            (_, Some(_)) if is_users(before) && is_users(after) => None,
            (before, Some(after)) => match owner_of(path) {
                // kubelet's directory gets a new file, and the link to it is a new one.
                Some(owner) if before.is_some_and(|before| !is_same_access(before, after)) => {
                    Some(format!("of {} has another owner or mode", owner.name))
                }
                Some(owner) if self.is_right(node, owner, path) => None,
                Some(owner) => Some(format!("was changed, and {} is not its own", owner.name)),
                None if before.is_none() => Some("was left behind".to_owned()),
                None => Some("was changed".to_owned()),
            },
            (_, None) => Some("was removed".to_owned()),
        }
    }

    /// Whether a credential is whole after a change of one file. Where the user may have replaced
    /// another file of it, this file alone has to be right: its certificate is judged as every one,
    /// and its key is no one's but root's.
    fn is_right(&self, node: &Node, owner: &Managed, path: &Path) -> bool {
        if self.taken.iter().any(|taken| owner.has_part_in(taken)) {
            let own = PrivateKey::from_pem(&OWN_KEY).unwrap();
            let texts = pem_texts(&node.root().join(path));
            let keys = texts.iter().filter_map(|text| PrivateKey::from_pem(text).ok());
            return keys.into_iter().all(|key| key.public_key_der() != own.public_key_der());
        }
        read_pair(node, &owner.files).is_some_and(|new| owner.is_for(&new))
    }

    /// Returns the credentials that the user has no part of, and that were not renewed.
    pub fn not_renewed(&self, node: &Node) -> Vec<String> {
        let independent = TEMPLATE
            .credentials
            .iter()
            .filter(|credential| !self.taken.iter().any(|taken| credential.depends_on(taken)));
        let missing = independent.filter(|credential| !is_renewed(node, credential));
        missing.map(|credential| format!("{} was not renewed", credential.name)).collect()
    }
}

/// Whether nothing was written. Entries in a directory come and go.
fn is_same(before: &Entry, after: &Entry) -> bool {
    match before.is_dir() {
        true => is_same_access(before, after),
        false => before == after,
    }
}

fn is_same_access(before: &Entry, after: &Entry) -> bool {
    (before.mode, before.owner) == (after.mode, after.owner)
}

fn is_renewed(node: &Node, credential: &Managed) -> bool {
    read_pair(node, &credential.files).is_some_and(|new| {
        let days_left = new.not_after.seconds_since(now()) / 86_400;
        credential.is_for(&new) && new.serial != credential.old.serial && days_left > 300
    })
}
