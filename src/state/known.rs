//! The memory of certificates: `certificates.json`, the last certificate that each credential is
//! known to have had, and when one was last issued for it here. Where others than root can write
//! the files of a credential, it says whom the credential is for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::formats::x509::{Certificate, certificates};
use crate::model::{AbsolutePath, CredentialName, Timestamp};
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new(
    "certificates.json",
    "an unusable credential that others than root can write is not renewed unless a backup or the \
     profile has its subject",
);

/// The largest certificate that is remembered, in bytes of PEM: a user may have written it, and all
/// of them share one file.
const MAX_CERTIFICATE: usize = 32 << 10;

/// The last certificates that credentials are known to have had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownCertificates {
    known: BTreeMap<CredentialName, Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The certificate in PEM.
    certificate: String,
    /// When a certificate was last issued for the credential here.
    #[serde(default)]
    issued: Option<Timestamp>,
}

impl KnownCertificates {
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

    /// The last certificate that a credential is known to have had.
    #[must_use]
    pub fn certificate(&self, credential: &CredentialName) -> Option<Certificate> {
        let known = self.known.get(credential)?;
        certificates(known.certificate.as_bytes()).ok()?.into_iter().next()
    }

    /// Whether a credential is known to have had a certificate.
    #[must_use]
    pub fn knows(&self, credential: &CredentialName) -> bool {
        self.known.contains_key(credential)
    }

    /// When a certificate was last issued for a credential here.
    #[must_use]
    pub fn issued(&self, credential: &CredentialName) -> Option<Timestamp> {
        self.known.get(credential)?.issued
    }

    /// Notes the certificate that a credential has, and the time where it was issued just now.
    pub fn note(
        &mut self,
        credential: &CredentialName,
        certificate: &Certificate,
        issued: Option<Timestamp>,
    ) {
        let issued = issued.or_else(|| self.issued(credential));
        let certificate = certificate.to_pem();
        if certificate.len() > MAX_CERTIFICATE {
            return;
        }
        let known = Known { certificate, issued };
        self.known.insert(credential.clone(), known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::x509::kubelet_template;

    #[test]
    fn certificate_and_time_of_issue_are_remembered() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let name = CredentialName::constant("app");
        let (first, second) = (kubelet_template("a").unwrap(), kubelet_template("b").unwrap());
        let at = Timestamp::from_seconds(1_795_219_200);
        let mut known = KnownCertificates::default();
        assert_eq!(known.certificate(&name), None);
        known.note(&name, &first, Some(at));
        known.note(&name, &second, None);
        known.write(&root, &state).unwrap();
        let (read, note) = KnownCertificates::read(&root, &state);
        assert_eq!((&read, note), (&known, None));
        assert_eq!(read.certificate(&name), Some(second));
        assert_eq!(read.issued(&name), Some(at));
    }
}
