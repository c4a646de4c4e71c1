//! The certificates of a rotation, and what they are to certificates that are found.

use super::RotationIntent;
use super::ca_pair::CaPair;
use crate::formats::x509::Certificate;
use crate::model::{Bridges, Chain, RootCa, TrustedRoots};

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
