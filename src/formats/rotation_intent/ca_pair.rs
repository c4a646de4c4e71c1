//! The two certificates of a CA that a rotation replaces, and what they are to what is found.

use crate::formats::x509::{Certificate, PrivateKey};
use crate::model::{CaFile, RootCa};

/// The two certificates of a CA that a rotation replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPair {
    /// The one that is replaced.
    pub old: Certificate,
    /// The one that replaces it.
    pub new: Certificate,
}

impl CaPair {
    /// One of the two.
    #[must_use]
    pub fn of(&self, root: RootCa) -> &Certificate {
        match root {
            RootCa::Old => &self.old,
            RootCa::New => &self.new,
        }
    }

    /// The file that holds these certificates, in this order; `None` where it is no such file.
    #[must_use]
    pub fn file(&self, found: &[Certificate]) -> Option<CaFile> {
        let is_it = |file: &CaFile| file.in_order().iter().map(|root| self.of(*root)).eq(found);
        CaFile::ALL.into_iter().find(is_it)
    }

    /// The one that signed a certificate.
    #[must_use]
    pub fn issuer(&self, leaf: &Certificate) -> Option<RootCa> {
        let roots = [RootCa::Old, RootCa::New];
        roots.into_iter().find(|root| leaf.was_signed_by(self.of(*root)))
    }

    /// The one whose key this is.
    #[must_use]
    pub fn owner(&self, key: &PrivateKey) -> Option<RootCa> {
        [RootCa::Old, RootCa::New].into_iter().find(|root| key.fits(self.of(*root)))
    }
}
