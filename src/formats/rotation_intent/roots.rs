//! The certificates of a rotation, and what they are to certificates that are found.

use super::RotationIntent;
use crate::formats::x509::{Certificate, PrivateKey};
use crate::model::{Bridges, CaFile, Chain, RootCa, TrustedRoots};

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

impl RotationIntent {
    /// The certificate of a root.
    #[must_use]
    pub fn root(&self, root: RootCa) -> &Certificate {
        match root {
            RootCa::Old => &self.old,
            RootCa::New => &self.new,
        }
    }

    /// The certificates of both roots.
    #[must_use]
    pub fn roots(&self) -> CaPair {
        CaPair { old: self.old.clone(), new: self.new.clone() }
    }

    /// Whether the new root has the key of the old one: then everything that is signed stays.
    #[must_use]
    pub fn is_renewal(&self) -> bool {
        self.old.public_key_der() == self.new.public_key_der()
    }

    /// The bridge that stands behind certificates of a root.
    #[must_use]
    pub fn bridge_behind(&self, root: RootCa) -> Option<&Certificate> {
        match root {
            RootCa::Old => self.bridge_back.as_ref(),
            RootCa::New => self.bridge.as_ref(),
        }
    }

    /// Which bridges there are.
    #[must_use]
    pub fn bridges(&self) -> Bridges {
        Bridges { forth: self.bridge.is_some(), back: self.bridge_back.is_some() }
    }

    /// Which of the two roots are among these certificates.
    #[must_use]
    pub fn trusted_in(&self, found: &[Certificate]) -> Option<TrustedRoots> {
        TrustedRoots::of(found.contains(&self.old), found.contains(&self.new))
    }

    /// The root that signed a certificate, and whether its bridge is behind it. `None` where it is
    /// neither.
    #[must_use]
    pub fn chain_of(&self, leaf: &Certificate, further: &[Certificate]) -> Option<Chain> {
        let roots = [RootCa::Old, RootCa::New];
        let issuer = roots.into_iter().find(|root| leaf.was_signed_by(self.root(*root)))?;
        let bridge = self.bridge_behind(issuer).is_some_and(|one| further.contains(one));
        Some(Chain { issuer, bridge })
    }
}
