//! Reading an authority: its certificates, and its key where this node has it.

use super::Files;
use crate::formats::x509::{Certificate, PrivateKey, certificates};
use crate::model::{Authority, Signer};

/// What the files of an authority hold. Texts name the file and the reason.
#[derive(Debug)]
pub enum LoadedAuthority {
    /// There is no certificate.
    Absent,
    /// The certificate's file can't be read or holds no certificate.
    Unreadable(String),
    /// It is a certificate, and not one of a root authority.
    NotARoot(String),
    /// It is an authority's certificate.
    Present {
        /// All certificates of the file.
        certificates: Vec<Certificate>,
        /// The one that signs: that which fits the key, or the first where there is no key that
        /// fits any.
        signing: Box<Certificate>,
        /// Its key.
        key: LoadedKey,
    },
}

/// An authority's key.
#[derive(Debug)]
pub enum LoadedKey {
    /// It is here and fits.
    Usable(PrivateKey),
    /// It is not on this node.
    Absent,
    /// It is here and can't be used.
    Unusable(String),
}

impl LoadedAuthority {
    /// Whether it is somewhere else that it signs.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self, Self::Present { key: LoadedKey::Absent, .. })
    }

    /// Who signed a certificate, seen from this authority. Any certificate of its file counts:
    /// while an authority is being replaced, the old one's credentials are its own too.
    #[must_use]
    pub fn signer_of(&self, leaf: &Certificate) -> Signer {
        match self {
            Self::Present { certificates, .. }
                if certificates.iter().any(|certificate| leaf.is_signed_by(certificate)) =>
            {
                Signer::Authority
            }
            _ if leaf.is_self_signed() => Signer::Itself,
            Self::Present { .. } => Signer::Foreign,
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => Signer::Unknown,
        }
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
    let (signing, key) = choose(&certificates, key(files, authority), authority);
    let Some(signing) = signing.map(|certificate| Box::new(certificate.clone())) else {
        return LoadedAuthority::Unreadable(format!("{path}: the file holds no certificate"));
    };
    match not_a_root(&signing, &certificates) {
        Some(reason) => LoadedAuthority::NotARoot(format!("{path}: {reason}")),
        None => LoadedAuthority::Present { certificates, signing, key },
    }
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

/// While an authority is being replaced, its file may begin with the new certificate when the key
/// is still the old one.
fn choose<'c>(
    certificates: &'c [Certificate],
    key: LoadedKey,
    authority: &Authority,
) -> (Option<&'c Certificate>, LoadedKey) {
    let LoadedKey::Usable(key) = key else { return (certificates.first(), key) };
    match certificates.iter().find(|certificate| key.fits(certificate)) {
        Some(fitting) => (Some(fitting), LoadedKey::Usable(key)),
        None => {
            let trouble = format!(
                "{}: the key fits no certificate in {}",
                authority.key, authority.certificate
            );
            (certificates.first(), LoadedKey::Unusable(trouble))
        }
    }
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

/// Whether the file itself leads from this certificate to a self-signed one. Bounded by the number
/// of certificates.
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
