//! The kind and size of a key, with kubeadm's names.

use std::fmt;

use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The kind and size of a key, spelled as in `encryptionAlgorithm` of kubeadm's
/// ClusterConfiguration where kubeadm knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// kubeadm's default.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// RSA with a modulus of 8192 bits. kubeadm does not know this kind nor those below.
    Rsa8192,
    /// ECDSA on the curve P-256, which kubeadm knows.
    EcdsaP256,
    /// ECDSA on the curve P-384, which kubeadm knows.
    EcdsaP384,
    /// ECDSA on the curve P-521.
    EcdsaP521,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Any other key in a file, described: `RSA-1024`. Never generated.
    Other(String),
}

impl KeyAlgorithm {
    /// Whether a new key of this kind can be made.
    #[must_use]
    pub fn can_be_made(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Reads the algorithm of a public key (a DER SubjectPublicKeyInfo).
    pub(super) fn of_public_key(spki: &[u8]) -> Self {
        match SubjectPublicKeyInfo::from_der(spki) {
            Ok((_, spki)) => Self::of(&spki),
            Err(_) => Self::Other("unreadable public key".to_owned()),
        }
    }

    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let oid = &spki.algorithm.algorithm;
        if *oid == OID_PKCS1_RSAENCRYPTION {
            rsa(modulus_bits(spki))
        } else if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
            ecdsa(spki)
        } else if *oid == OID_SIG_ED25519 {
            Self::Ed25519
        } else {
            Self::Other(oid.to_id_string())
        }
    }
}

fn rsa(bits: usize) -> KeyAlgorithm {
    match bits {
        2048 => KeyAlgorithm::Rsa2048,
        3072 => KeyAlgorithm::Rsa3072,
        4096 => KeyAlgorithm::Rsa4096,
        8192 => KeyAlgorithm::Rsa8192,
        bits => KeyAlgorithm::Other(format!("RSA-{bits}")),
    }
}

/// Counts the bits here, because x509-parser counts whole bytes.
fn modulus_bits(spki: &SubjectPublicKeyInfo<'_>) -> usize {
    let Ok(PublicKey::RSA(key)) = spki.parsed() else { return 0 };
    let mut digits = key.modulus.iter().skip_while(|byte| **byte == 0);
    match digits.next() {
        Some(first) => {
            (8 - usize::try_from(first.leading_zeros()).unwrap_or_default()) + 8 * digits.count()
        }
        None => 0,
    }
}

fn ecdsa(spki: &SubjectPublicKeyInfo<'_>) -> KeyAlgorithm {
    match spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok()) {
        Some(curve) if curve == OID_EC_P256 => KeyAlgorithm::EcdsaP256,
        Some(curve) if curve == OID_NIST_EC_P384 => KeyAlgorithm::EcdsaP384,
        Some(curve) if curve == OID_NIST_EC_P521 => KeyAlgorithm::EcdsaP521,
        Some(curve) => KeyAlgorithm::Other(format!("ECDSA on curve {curve}")),
        None => KeyAlgorithm::Other("ECDSA without a named curve".to_owned()),
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::Rsa8192 => "RSA-8192",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
            Self::EcdsaP521 => "ECDSA-P521",
            Self::Ed25519 => "Ed25519",
            Self::Other(text) => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_is_an_unknown_algorithm_without_panic() {
        assert!(!KeyAlgorithm::of_public_key(b"junk").can_be_made());
    }
}
