//! Reading: loads the certificates of an authority, and its key where this node has it.

use super::Files;
use crate::formats::x509::{Certificate, Chain, PrivateKey, certificates, chains};
use crate::model::{
    AbsolutePath, Anchor, Anchors, Authority, Dated, Digest, OtherKey, Signer, Timestamp,
};

/// The state of an authority's files. Texts name the file and the reason.
#[derive(Debug)]
pub enum LoadedAuthority {
    /// There is no certificate.
    Absent,
    /// The certificate's file can't be read or holds no certificate.
    Unreadable(String),
    /// It holds certificates, and none that may sign others.
    NotARoot(String),
    /// It holds an authority's certificates.
    Present {
        /// The CA certificates of the file, and which of them can sign.
        anchors: Anchors<Certificate>,
        /// Its key.
        key: LoadedKey,
        /// The file that holds the key, or would.
        key_file: AbsolutePath,
    },
}

/// An authority's key.
#[derive(Debug)]
pub enum LoadedKey {
    /// It is on this node and fits.
    Usable(PrivateKey),
    /// It is not on this node.
    Absent,
    /// It is on this node and can't be used.
    Unusable(String),
}

impl LoadedKey {
    /// The key itself, where it can be used.
    #[must_use]
    pub fn usable(self) -> Option<PrivateKey> {
        match self {
            Self::Usable(key) => Some(key),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

impl LoadedAuthority {
    /// Whether it is an external CA, whose key is not on this node.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self, Self::Present { key: LoadedKey::Absent, .. })
    }

    /// The signer at a time, with its key: of the certificates that fit the key, the one that is
    /// valid then and expires last. `None` where nothing can be signed.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<(&Certificate, &PrivateKey)> {
        match self {
            Self::Present { anchors, key: LoadedKey::Usable(key), .. } => {
                let certificate = anchors.candidate(now).filter(|one| one.is_valid_at(now))?;
                Some((certificate, key))
            }
            _ => None,
        }
    }

    /// The file that holds its key, or would.
    #[must_use]
    pub fn key_file(&self) -> Option<&AbsolutePath> {
        match self {
            Self::Present { key_file, .. } => Some(key_file),
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => None,
        }
    }

    /// Whether both can sign, with one key.
    #[must_use]
    pub fn signs_with_key_of(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Present { key: LoadedKey::Usable(own), .. },
                Self::Present { key: LoadedKey::Usable(other), .. },
            ) => own.public_key_der() == other.public_key_der(),
            _ => false,
        }
    }

    /// The signer of a certificate, as this authority can judge it. Any of its anchors counts:
    /// while an authority is being replaced, the old one's credentials are its own too.
    #[must_use]
    pub fn signer_of(&self, leaf: &Certificate) -> Signer {
        match self {
            Self::Present { anchors, .. }
                if anchors.iter().any(|anchor| leaf.was_signed_by(anchor)) =>
            {
                Signer::Authority
            }
            Self::Present { anchors, .. }
                if anchors.iter().any(|anchor| leaf.is_signed_with_key_of(anchor)) =>
            {
                Signer::Renamed
            }
            _ if leaf.was_signed_by(leaf) => Signer::Itself,
            Self::Present { .. } => Signer::Foreign,
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => Signer::Unknown,
        }
    }
}

impl LoadedAuthority {
    /// The CA certificates of its file.
    pub fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        let anchors = match self {
            Self::Present { anchors, .. } => Some(anchors.iter()),
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => None,
        };
        anchors.into_iter().flatten()
    }

    /// Those of them that can be its signer.
    pub fn signers(&self) -> impl Iterator<Item = &Certificate> {
        let anchors = match self {
            Self::Present { anchors, .. } => Some(anchors.signers()),
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => None,
        };
        anchors.into_iter().flatten()
    }
}

impl Dated for Certificate {
    fn not_before(&self) -> Timestamp {
        self.not_before
    }

    fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Reads an authority.
#[must_use]
pub fn load_authority(files: &dyn Files, authority: &Authority) -> LoadedAuthority {
    let path = &authority.certificate;
    let found = match files.read(path) {
        Ok(None) => return LoadedAuthority::Absent,
        Err(e) => return LoadedAuthority::Unreadable(e.to_string()),
        Ok(Some(content)) => certificates(content.expose()),
    };
    let certificates = match found {
        Ok(certificates) => certificates,
        Err(e) => return LoadedAuthority::Unreadable(format!("{path}: {e}")),
    };
    let (key, key_file) = find_key(files, authority, &certificates);
    let signers = signers(&certificates, &key);
    if !signers.iter().any(|one| one.is_ca()) {
        let reason = signers.first().map(|one| why_not_a_ca(one)).unwrap_or_default();
        return LoadedAuthority::NotARoot(format!("{path}: {reason}"));
    }
    let can_sign =
        |one: &Certificate| signers.iter().any(|other| other.fingerprint == one.fingerprint);
    let anchors = certificates
        .iter()
        .filter(|one| one.is_ca())
        .map(|one| Anchor { certificate: one.clone(), can_sign: can_sign(one) })
        .collect::<Vec<_>>();
    LoadedAuthority::Present { anchors: anchors.into(), key, key_file }
}

/// The certificates that fit the key: several where an authority was renewed with the same key.
/// Without a key that fits any: the first one of a CA, and those of the same CA.
fn signers<'c>(certificates: &'c [Certificate], key: &LoadedKey) -> Vec<&'c Certificate> {
    if let LoadedKey::Usable(key) = key {
        return certificates.iter().filter(|one| key.fits(one)).collect();
    }
    let first = certificates.iter().find(|one| one.is_ca()).or(certificates.first());
    certificates.iter().filter(|one| first.is_some_and(|first| one.is_of_same_ca(first))).collect()
}

fn why_not_a_ca(certificate: &Certificate) -> String {
    if certificate.is_authority {
        format!("{} may not sign certificates (keyUsage)", certificate.subject)
    } else {
        format!("{} is no CA certificate (basicConstraints)", certificate.subject)
    }
}

/// The key of an authority, and its file: the usual one, unless that holds no key that fits and
/// another one does.
fn find_key(
    files: &dyn Files,
    authority: &Authority,
    certificates: &[Certificate],
) -> (LoadedKey, AbsolutePath) {
    let fits = |key: &PrivateKey| certificates.iter().any(|one| key.fits(one));
    let usual = read_key(files, &authority.key);
    if matches!(&usual, LoadedKey::Usable(key) if fits(key)) {
        return (usual, authority.key.clone());
    }
    let other = authority.other_keys.iter().find_map(|other| {
        let LoadedKey::Usable(key) = read_key(files, other.file()) else { return None };
        let counts = fits(&key) && may_be_taken(files, authority, other, certificates, &key);
        counts.then(|| (LoadedKey::Usable(key), other.file().clone()))
    });
    other.unwrap_or_else(|| {
        let usual = match usual {
            LoadedKey::Usable(_) => LoadedKey::Unusable(format!(
                "{}: the key fits no certificate in {}",
                authority.key, authority.certificate
            )),
            usual => usual,
        };
        (usual, authority.key.clone())
    })
}

/// Reads the key of an authority.
#[must_use]
pub fn read_key(files: &dyn Files, path: &AbsolutePath) -> LoadedKey {
    match files.read(path) {
        Ok(None) => LoadedKey::Absent,
        Err(e) => LoadedKey::Unusable(e.to_string()),
        Ok(Some(content)) => match PrivateKey::from_pem(content.expose()) {
            Ok(key) => LoadedKey::Usable(key),
            Err(e) => LoadedKey::Unusable(format!("{path}: {e}")),
        },
    }
}

/// Whether a key that fits may be used. That of another CA may only where both have the very same
/// certificate and root alone can write it: a CA certificate is public, and a user who put it into
/// a directory would have the other CA sign.
fn may_be_taken(
    files: &dyn Files,
    authority: &Authority,
    other: &OtherKey,
    certificates: &[Certificate],
    key: &PrivateKey,
) -> bool {
    let OtherKey::OfTwin { certificate, key: file } = other else { return true };
    let is_safe = |path: &AbsolutePath| files.is_root_only(path);
    // The owner of the key itself does not count: kubeadm gives it to another user.
    let key_dir = file.as_path().parent().and_then(|dir| AbsolutePath::new(dir).ok());
    if !is_safe(&authority.certificate) || !key_dir.is_some_and(|dir| is_safe(&dir)) {
        return false;
    }
    let twin = files.read(certificate).ok().flatten();
    let twins = twin.and_then(|content| self::certificates(content.expose()).ok());
    twins.unwrap_or_default().iter().any(|twin| {
        key.fits(twin) && certificates.iter().any(|one| one.fingerprint == twin.fingerprint)
    })
}

/// What is above a certificate, as an authority can judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Above {
    /// Who signed it.
    pub signer: Signer,
    /// The CA certificates of the authority that it verifies by: SHA-256 of each.
    pub verifies_by: Vec<Digest>,
    /// The end of the CA certificates above it, by the chain that lasts longest: nothing is
    /// accepted by an expired one. `None` where there is no chain.
    pub end: Option<Timestamp>,
}

/// The certificates of a chain that lead from a certificate to an anchor, in order, and the anchor.
pub type ChainToAnchor = (Vec<Certificate>, Certificate);

impl LoadedAuthority {
    /// The chains from a certificate to the anchors. Only the certificate itself is to be replaced,
    /// so only that may be signed with SHA-1.
    fn chains<'c>(&'c self, leaf: &Certificate, behind: &'c [Certificate]) -> Vec<Chain<'c>> {
        chains(leaf, behind, self.anchors(), Certificate::was_signed_by)
    }

    /// The signatures above a certificate that has these certificates behind it in its file. Each
    /// one by an anchor is checked once.
    #[must_use]
    pub fn above(&self, leaf: &Certificate, behind: &[Certificate]) -> Above {
        let chains = self.chains(leaf, behind);
        let direct = || chains.iter().filter(|chain| chain.intermediates.is_empty());
        let signer = match direct().next() {
            Some(_) => Signer::Authority,
            None => match self.signer_of(leaf) {
                Signer::Foreign if !chains.is_empty() => Signer::Intermediate,
                signer => signer,
            },
        };
        let verifying = direct().filter(|chain| !leaf.names_another_authority_than(chain.anchor));
        Above {
            signer,
            verifies_by: verifying.map(|chain| chain.anchor.fingerprint).collect(),
            end: chains.iter().map(Chain::not_after).max(),
        }
    }

    /// The best way from a certificate to an anchor, by the certificates behind it.
    #[must_use]
    pub fn chain_to_anchor(
        &self,
        leaf: &Certificate,
        behind: &[Certificate],
        now: Timestamp,
    ) -> Option<ChainToAnchor> {
        let chains = self.chains(leaf, behind);
        let Chain { intermediates, anchor } =
            chains.into_iter().max_by_key(|chain| chain.rank(now))?;
        Some((intermediates.into_iter().cloned().collect(), anchor.clone()))
    }
}
