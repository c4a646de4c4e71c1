//! The certificates and keys below a root, and which of them the user can read.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use kubecertd::model::Digest;

use super::common::{Node, walk};
use super::node::{TEMPLATE, USER, identity, owner_of, pem_texts};

/// All files below a root at one moment.
pub struct Survey {
    /// Every certificate, with its file.
    certificates: Vec<(PathBuf, Certificate)>,
    /// The texts in files that the user can read.
    readable: Vec<Vec<u8>>,
}

impl Survey {
    pub fn of(node: &Node) -> Self {
        let (mut found, mut readable) = (Vec::new(), Vec::new());
        walk(node.root(), &mut |path| {
            let file = path.strip_prefix(node.root()).unwrap();
            let texts = pem_texts(path);
            let present = texts.iter().flat_map(|text| certificates(text).unwrap_or_default());
            found.extend(present.map(|certificate| (file.to_owned(), certificate)));
            if is_readable_by_user(node, path) {
                readable.extend(texts);
            }
        });
        Self { certificates: found, readable }
    }

    pub fn certificates(&self) -> impl Iterator<Item = &(PathBuf, Certificate)> {
        self.certificates.iter()
    }

    pub fn fingerprints(&self) -> HashSet<Digest> {
        self.certificates().map(|(_, certificate)| certificate.fingerprint).collect()
    }

    /// Whether the user can read a secret.
    pub fn shows(&self, secret: &[u8]) -> bool {
        self.readable.iter().any(|text| text.windows(secret.len()).any(|part| part == secret))
    }

    /// The identities of all certificates whose key the user can read. Certificates are public. A
    /// credential of which the user controls a file may be renewed for the subject that it had.
    pub fn subjects_of_user(&self, taken: &[PathBuf]) -> BTreeSet<String> {
        let keys = self.readable.iter().filter_map(|text| PrivateKey::from_pem(text).ok());
        let keys: Vec<_> = keys.collect();
        let may_have = |file: &Path, certificate: &Certificate| {
            owner_of(file).is_some_and(|owner| {
                owner.is_for(certificate) && taken.iter().any(|taken| owner.has_part_in(taken))
            })
        };
        let found = self.certificates().filter(|(file, certificate)| {
            keys.iter().any(|key| key.fits(certificate)) && !may_have(file, certificate)
        });
        found.map(|(_, certificate)| identity(certificate)).collect()
    }
}

/// The secrets of root's that the user must not learn.
pub fn secrets() -> Vec<Vec<u8>> {
    let keys = ["ca.key", "sa.key", "apiserver.key"];
    let keys = keys.map(|name| format!("{}/{name}", super::common::PKI));
    let files = keys.into_iter().chain([super::node::SECRET.to_owned()]);
    files.map(|file| TEMPLATE.node.read(&file)).collect()
}

/// Whether the user can read a regular file: it and the directories above are the user's, or open
/// to all.
fn is_readable_by_user(node: &Node, path: &Path) -> bool {
    let allows = |path: &Path, bit: u32| {
        fs::symlink_metadata(path).is_ok_and(|found| found.uid() == USER || found.mode() & bit != 0)
    };
    let mut above = path.ancestors().skip(1).take_while(|dir| *dir != node.root());
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
        && allows(path, 0o004)
        && above.all(|dir| allows(dir, 0o001))
}
