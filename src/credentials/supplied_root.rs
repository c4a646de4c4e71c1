//! Reading: a certificate that is to become the root CA of the cluster, and its key, from the files
//! that an operator names.

use super::trust_store::trusted_in;
use super::{load, load_authority};
use crate::formats::pem;
use crate::formats::x509::{
    Certificate, KeyError, PrivateKey, ReadError, certificates, passing_certificate, template,
    verify_renewed,
};
use crate::model::{
    Authority, CandidateKey, Credential, PresentRoot, RootCandidate, San, Subject, Timestamp, Usage,
};
use crate::sys::Root;

/// A certificate that is to become the root CA, and its key.
#[derive(Debug)]
pub struct SuppliedRoot {
    /// The certificate.
    pub certificate: Certificate,
    /// The key; `None` where none was given.
    pub key: Option<PrivateKey>,
}

/// Why an operator's files can't be read as a root CA and its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuppliedRootError {
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] ReadError),
    /// There are several certificates.
    #[error(
        "it holds {0} certificates: a root CA is exactly one self-signed certificate; keep that \
         one alone, since every certificate in ca.crt is trusted"
    )]
    Several(usize),
    /// The key can't be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SuppliedRoot {
    /// Reads a certificate, in PEM, and its key where the same file holds it too.
    ///
    /// # Errors
    /// When the file is not PEM, does not hold exactly one certificate, or holds a key that can't
    /// be used.
    pub fn read(file: &[u8]) -> Result<Self, SuppliedRootError> {
        let has_key = pem::blocks(file).is_ok_and(|all| all.iter().any(pem::Block::is_private_key));
        let key = has_key.then(|| PrivateKey::from_pem(file)).transpose();
        let mut found = certificates(file)?;
        match (found.pop(), found.len()) {
            (Some(certificate), 0) => Ok(Self { certificate, key: key? }),
            (_, others) => Err(SuppliedRootError::Several(others + 1)),
        }
    }

    /// Reads its key from a file of its own, which then counts alone.
    ///
    /// # Errors
    /// When the file does not hold exactly one key that can be used.
    pub fn with_key(self, file: &[u8]) -> Result<Self, SuppliedRootError> {
        Ok(Self { key: Some(PrivateKey::from_pem(file)?), ..self })
    }

    /// What is to be judged of it, on a node with this root CA and these credentials.
    #[must_use]
    pub fn candidate(
        &self,
        root: &Root,
        authority: &Authority,
        credentials: &[Credential],
        now: Timestamp,
    ) -> RootCandidate {
        let key = self.key.as_ref().map(|key| key.fits(&self.certificate));
        let (trusted_in, unread_trust) = trusted_in(root, &self.certificate);
        RootCandidate {
            certificate: self.certificate.as_root(),
            key: match key {
                None => CandidateKey::NotGiven,
                Some(true) => CandidateKey::Fits,
                Some(false) => CandidateKey::OfAnother,
            },
            trial: self.trial(now),
            trusted_in,
            unread_trust,
            present: self.present(root, authority, credentials),
        }
    }

    /// Why a certificate that it issues is not accepted; `None` also where none can be issued now.
    fn trial(&self, now: Timestamp) -> Option<String> {
        let root = &self.certificate;
        let key = self.key.as_ref().filter(|key| key.fits(root))?;
        let issued = || {
            let subject = Subject { common_name: "kubecertd".to_owned(), organization: None };
            let names = [San::Dns("kubecertd.example".to_owned())];
            let template = template(&subject, &[Usage::Server, Usage::Client], &names)
                .map_err(|e| e.to_string())?;
            let (issued, _) =
                passing_certificate(&template, root, key, now).map_err(|e| e.to_string())?;
            verify_renewed(&issued, &template, root, now).map_err(|e| e.to_string())
        };
        // Its validity is judged apart.
        root.is_valid_at(now).then(issued)?.err()
    }

    fn present(
        &self,
        root: &Root,
        authority: &Authority,
        credentials: &[Credential],
    ) -> Option<PresentRoot> {
        let loaded = load_authority(root, authority);
        let present = loaded.signers().next()?;
        let of_root =
            credentials.iter().filter(|one| one.authority.as_ref() == Some(&authority.name));
        let leaves: Vec<_> = of_root
            .filter_map(|one| Some((one.name.to_string(), load(root, one).stored()?.certificate)))
            .filter(|(_, leaf)| leaf.was_signed_by(present))
            .collect();
        Some(PresentRoot {
            file: authority.certificate.clone(),
            relation: self.certificate.relation_to_root(present, &leaves),
        })
    }
}
