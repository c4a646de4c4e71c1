//! Reading: loads the certificates of an authority, and its key where this node has it.

use super::Files;
use crate::formats::x509::{Certificate, PrivateKey, certificates};
use crate::model::{Anchor, Anchors, Authority, Dated, Digest, Signer, Timestamp};

/// The state of an authority's files. Texts name the file and the reason.
#[derive(Debug)]
pub enum LoadedAuthority {
    /// There is no certificate.
    Absent,
    /// The certificate's file can't be read or holds no certificate.
    Unreadable(String),
    /// It holds a certificate that is not one of a root CA.
    NotARoot(String),
    /// It holds an authority's certificates.
    Present {
        /// The CA certificates of the file, and which of them can sign.
        anchors: Anchors<Certificate>,
        /// Its key.
        key: LoadedKey,
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
            Self::Present { anchors, key: LoadedKey::Usable(key) } => {
                let certificate = anchors.candidate(now).filter(|one| one.is_valid_at(now))?;
                Some((certificate, key))
            }
            _ => None,
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
                if anchors.iter().any(|anchor| leaf.is_signed_by(anchor)) =>
            {
                Signer::Authority
            }
            Self::Present { anchors, .. }
                if anchors.iter().any(|anchor| leaf.is_signed_with_key_of(anchor)) =>
            {
                Signer::Renamed
            }
            _ if leaf.is_self_signed() => Signer::Itself,
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

    /// The CA certificates that a certificate verifies by: SHA-256 of each.
    #[must_use]
    pub fn verifiers_of(&self, leaf: &Certificate) -> Vec<Digest> {
        let verifies = self.anchors().filter(|anchor| leaf.verifies_by(anchor));
        verifies.map(|anchor| anchor.fingerprint).collect()
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
    let (fitting, key) = fitting(&certificates, key(files, authority), authority);
    let trouble = |one: &Certificate| not_a_root(one, &certificates);
    let Some(first) = fitting.first() else {
        return LoadedAuthority::Unreadable(format!("{path}: the file holds no certificate"));
    };
    if let (Some(reason), true) = (trouble(first), fitting.iter().all(|one| trouble(one).is_some()))
    {
        return LoadedAuthority::NotARoot(format!("{path}: {reason}"));
    }
    let can_sign = |one: &Certificate| {
        fitting.iter().any(|other| other.fingerprint == one.fingerprint) && trouble(one).is_none()
    };
    let anchors = certificates
        .iter()
        .filter(|one| one.is_authority && one.may_sign)
        .map(|one| Anchor { certificate: one.clone(), can_sign: can_sign(one) })
        .collect::<Vec<_>>();
    LoadedAuthority::Present { anchors: anchors.into(), key }
}

fn key(files: &dyn Files, authority: &Authority) -> LoadedKey {
    let path = &authority.key;
    match files.read(path) {
        Ok(None) => LoadedKey::Absent,
        Err(e) => LoadedKey::Unusable(e.to_string()),
        Ok(Some(content)) => match PrivateKey::from_pem(content.expose()) {
            Ok(key) => LoadedKey::Usable(key),
            Err(e) => LoadedKey::Unusable(format!("{path}: {e}")),
        },
    }
}

/// The certificates that fit the key: several where an authority was renewed with the same key.
/// Without a key that fits any, those with the name and the public key of the first.
fn fitting<'c>(
    certificates: &'c [Certificate],
    key: LoadedKey,
    authority: &Authority,
) -> (Vec<&'c Certificate>, LoadedKey) {
    let like_the_first = || {
        let same = |one: &&Certificate| {
            certificates.first().is_some_and(|first| {
                one.subject == first.subject && one.public_key_der() == first.public_key_der()
            })
        };
        certificates.iter().filter(same).collect()
    };
    let LoadedKey::Usable(key) = key else { return (like_the_first(), key) };
    let fitting: Vec<_> = certificates.iter().filter(|one| key.fits(one)).collect();
    if fitting.is_empty() {
        let trouble =
            format!("{}: the key fits no certificate in {}", authority.key, authority.certificate);
        return (like_the_first(), LoadedKey::Unusable(trouble));
    }
    (fitting, LoadedKey::Usable(key))
}

fn not_a_root(signing: &Certificate, certificates: &[Certificate]) -> Option<String> {
    if !signing.is_authority {
        return Some(format!("{} is no CA certificate (basicConstraints)", signing.subject));
    }
    if !signing.may_sign {
        return Some(format!("{} may not sign certificates (keyUsage)", signing.subject));
    }
    let chains = chains_to_a_root(signing, certificates);
    (!chains).then(|| {
        format!(
            "{} is an intermediate authority, issued by {}, whose certificate is not in the file: \
             add it behind",
            signing.subject, signing.issuer
        )
    })
}

/// Whether the certificates of the file form a chain from this one to a self-signed one. At most as
/// many steps are made as there are certificates.
fn chains_to_a_root(signing: &Certificate, certificates: &[Certificate]) -> bool {
    let mut current = signing;
    for _ in 0..=certificates.len() {
        if current.is_self_signed() {
            return true;
        }
        let Some(issuer) = certificates.iter().find(|candidate| current.is_signed_by(candidate))
        else {
            return false;
        };
        current = issuer;
    }
    false
}
