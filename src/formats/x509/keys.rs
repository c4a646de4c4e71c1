//! Private keys: reads them in all their forms, generates them, signs with them, and writes them as
//! kubeadm does.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1,
};
use const_oid::db::rfc8410::ID_ED_25519;

use super::check::Key;
use super::envelope::{Pkcs8, Sec1, starts_as_sec1};
use super::{Certificate, KeyAlgorithm};
use crate::formats::pem::{self, Block, PemError};
use crate::model::Secret;

/// A private key that is known to be consistent. aws-lc keeps and wipes the key itself.
pub struct PrivateKey {
    kind: Kind,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
}

pub(super) enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair, Curve),
    Ed25519(Ed25519KeyPair),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// Why a key can't be read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key is encrypted with a passphrase.
    #[error(
        "the private key is encrypted with a passphrase; a daemon can't ask for one, so store it \
         unencrypted (umask 077; openssl pkey -in FILE -out NEW decrypts it)"
    )]
    Encrypted,
    /// The file is PEM without a private key.
    #[error("the file holds no private key")]
    NoKey,
    /// The file has several private keys.
    #[error("the file holds {0} private keys; exactly one is needed")]
    Several(usize),
    /// The kind of the key is not supported.
    #[error(
        "private keys of the kind {0} are not supported; RSA from 2048 to 8192 bits, ECDSA on \
         P-256, P-384 and P-521, and Ed25519 are"
    )]
    Unsupported(String),
    /// A new key of the kind can't be made.
    #[error(
        "kubecertd can't make a key of the kind {0}; set key_algorithm in [renewal] of the \
         configuration to a kind for all new keys, for example \"RSA-2048\" or \"ECDSA-P256\""
    )]
    NotMade(String),
    /// The key is damaged, or its parts do not belong together.
    #[error("the private key is damaged: it can't be read, or its parts don't fit each other")]
    Damaged,
    /// The library failed with a good key, which should not happen.
    #[error("the cryptographic library failed to {0}")]
    Library(&'static str),
}

impl PrivateKey {
    /// Reads the one private key of a PEM file: PKCS#1, SEC1 or PKCS#8. Blocks of other kinds are
    /// skipped.
    ///
    /// # Errors
    /// When the file is not PEM, or does not hold exactly one key that is complete, supported and
    /// not encrypted.
    pub fn from_pem(file: &[u8]) -> Result<Self, KeyError> {
        let keys: Vec<Block> =
            pem::blocks(file)?.into_iter().filter(Block::is_private_key).collect();
        match keys.as_slice() {
            [] => Err(KeyError::NoKey),
            [key] => Self::from_block(key),
            keys => Err(KeyError::Several(keys.len())),
        }
    }

    /// Generates a new key.
    ///
    /// # Errors
    /// When it is a kind that the library can't make, or the library fails.
    pub fn generate(algorithm: &KeyAlgorithm) -> Result<Self, KeyError> {
        let failed = |_: Unspecified| KeyError::Library("make a key");
        let rsa = |size| RsaKeyPair::generate(size).map(Kind::Rsa).map_err(failed);
        let ecdsa = |curve: Curve| {
            Ok(Kind::Ecdsa(EcdsaKeyPair::generate(curve.signing()).map_err(failed)?, curve))
        };
        Self::new(match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::Rsa8192 => rsa(KeySize::Rsa8192),
            KeyAlgorithm::EcdsaP256 => ecdsa(Curve::P256),
            KeyAlgorithm::EcdsaP384 => ecdsa(Curve::P384),
            KeyAlgorithm::EcdsaP521 => ecdsa(Curve::P521),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Kind::Ed25519).map_err(failed),
            KeyAlgorithm::Other(other) => Err(KeyError::NotMade(other.clone())),
        }?)
    }

    /// Its kind and size.
    #[must_use]
    pub fn algorithm(&self) -> &KeyAlgorithm {
        &self.algorithm
    }

    /// Its public half: a DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether a certificate is for this key.
    #[must_use]
    pub fn fits(&self, certificate: &Certificate) -> bool {
        match (Key::parse(&self.public_key), Key::parse(certificate.public_key_der())) {
            // Compares the bits, not the whole: there are two ways to encode that RSA has no
            // parameters.
            (Some(ours), Some(theirs)) => ours.bits == theirs.bits,
            _ => false,
        }
    }

    /// The key as kubeadm writes it: PKCS#1 for RSA, SEC1 with curve and public key for ECDSA;
    /// PKCS#8 for Ed25519.
    ///
    /// # Errors
    /// When the library fails.
    pub fn to_pem(&self) -> Result<Secret, KeyError> {
        let failed = |_: Unspecified| KeyError::Library("write a key");
        let text = match &self.kind {
            Kind::Rsa(pair) => {
                let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map_err(failed)?;
                let inner = Pkcs8::parse(pkcs8.as_ref()).ok_or(KeyError::Library("write a key"))?;
                pem::encode("RSA PRIVATE KEY", inner.key)
            }
            Kind::Ecdsa(pair, _) => {
                let sec1: EcPrivateKeyRfc5915Der<'_> =
                    pair.private_key().as_der().map_err(failed)?;
                pem::encode("EC PRIVATE KEY", sec1.as_ref())
            }
            Kind::Ed25519(pair) => {
                let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map_err(failed)?;
                pem::encode("PRIVATE KEY", pkcs8.as_ref())
            }
        };
        Ok(Secret::from(text))
    }

    /// Signs a message, in the form in which a certificate carries a signature.
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_: Unspecified| KeyError::Library("sign");
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Kind::Ecdsa(pair, _) => {
                Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            Kind::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    fn from_block(block: &Block) -> Result<Self, KeyError> {
        if block.encrypted {
            return Err(KeyError::Encrypted);
        }
        Self::new(Kind::from_der(&block.label, block.der.expose())?)
    }

    fn new(kind: Kind) -> Result<Self, KeyError> {
        let public_key: PublicKeyX509Der<'_> = match &kind {
            Kind::Rsa(pair) => pair.public_key().as_der(),
            Kind::Ecdsa(pair, _) => pair.public_key().as_der(),
            Kind::Ed25519(pair) => pair.public_key().as_der(),
        }
        .map_err(|_| KeyError::Library("write a public key"))?;
        let public_key = public_key.as_ref().to_vec();
        Ok(Self { kind, algorithm: KeyAlgorithm::of_public_key(&public_key), public_key })
    }
}

/// Shows the kind, and nothing of the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm)
    }
}

impl Kind {
    /// Reads the key by its content first: the labels of keys that were converted by hand are not
    /// always right, and Go does not look at them either.
    fn from_der(label: &str, der: &[u8]) -> Result<Self, KeyError> {
        if let Some(pkcs8) = Pkcs8::parse(der) {
            return Self::from_pkcs8(&pkcs8, der);
        }
        match label {
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" if starts_as_sec1(der) => {
                Self::from_sec1(der)
            }
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" => Self::from_pkcs1(der),
            other => Err(KeyError::Unsupported(other.trim_end_matches(" PRIVATE KEY").to_owned())),
        }
    }

    fn from_pkcs8(pkcs8: &Pkcs8<'_>, der: &[u8]) -> Result<Self, KeyError> {
        let unsupported = |oid: ObjectIdentifier| KeyError::Unsupported(oid.to_string());
        match pkcs8.algorithm.oid {
            RSA_ENCRYPTION => RsaKeyPair::from_pkcs8(der).map(Self::Rsa).map_err(rsa_error),
            ID_EC_PUBLIC_KEY => {
                let oid = pkcs8
                    .algorithm
                    .parameters_oid()
                    .map_err(|_| KeyError::Unsupported("ECDSA without a named curve".to_owned()))?;
                let curve = Curve::from_oid(oid).ok_or_else(|| unsupported(oid))?;
                let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), der)
                    .map_err(|_| KeyError::Damaged)?;
                Ok(Self::Ecdsa(pair, curve))
            }
            ID_ED_25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Self::Ed25519)
                .map_err(|_| KeyError::Damaged),
            other => Err(unsupported(other)),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        RsaKeyPair::from_der(der).map(Self::Rsa).map_err(rsa_error)
    }

    /// Reads a SEC1 key. It may lack its curve, so each curve is tried, the shortest first: a
    /// number too large for a curve is refused.
    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        if let Some(other) = Sec1::parse(der)
            .and_then(|parts| parts.curve)
            .filter(|curve| Curve::from_oid(*curve).is_none())
        {
            return Err(KeyError::Unsupported(format!("ECDSA on curve {other}")));
        }
        [Curve::P256, Curve::P384, Curve::P521]
            .into_iter()
            .find_map(|curve| {
                Some(Self::Ecdsa(
                    EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?,
                    curve,
                ))
            })
            .ok_or(KeyError::Damaged)
    }
}

impl Curve {
    fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            SECP_256_R_1 => Some(Self::P256),
            SECP_384_R_1 => Some(Self::P384),
            SECP_521_R_1 => Some(Self::P521),
            _ => None,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }
}

/// Maps the library's error: aws-lc checks the size only after the consistency of the key.
fn rsa_error(error: KeyRejected) -> KeyError {
    match error.description_() {
        "TooSmall" => KeyError::Unsupported("RSA with less than 2048 bits".to_owned()),
        "TooLarge" => KeyError::Unsupported("RSA with more than 8192 bits".to_owned()),
        _ => KeyError::Damaged,
    }
}

#[cfg(test)]
mod tests;
