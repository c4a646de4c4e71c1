//! [`PrivateKey`] as the signer that `x509-cert` builds certificates and requests with.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_256_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, BitString, Null};
use der::{Decode as _, Document};
use signature::{Keypair, Signer};
use spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SignatureBitStringEncoding,
};

use super::PrivateKey;
use super::keys::{Curve, Kind};

/// The public half of a key, for x509-cert.
#[derive(Clone, Debug)]
pub struct PublicKey(Vec<u8>);

/// A signature in the form in which a certificate carries it.
#[derive(Debug)]
pub struct Signature(Vec<u8>);

impl Keypair for PrivateKey {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        PublicKey(self.public_key_der().to_vec())
    }
}

impl EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::from_der(&self.0)?)
    }
}

/// RSA signs with SHA-256 whatever its size, and each curve with the digest of its own length, as
/// Go does.
impl DynSignatureAlgorithmIdentifier for PrivateKey {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        let ecdsa = |oid| (oid, None);
        let (oid, parameters): (ObjectIdentifier, _) = match self.kind() {
            Kind::Rsa(_) => (SHA_256_WITH_RSA_ENCRYPTION, Some(Any::encode_from(&Null)?)),
            Kind::Ecdsa(_, Curve::P256) => ecdsa(ECDSA_WITH_SHA_256),
            Kind::Ecdsa(_, Curve::P384) => ecdsa(ECDSA_WITH_SHA_384),
            Kind::Ecdsa(_, Curve::P521) => ecdsa(ECDSA_WITH_SHA_512),
            Kind::Ed25519(_) => (ID_ED_25519, None),
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }
}

impl Signer<Signature> for PrivateKey {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        PrivateKey::sign(self, message).map(Signature).map_err(|_| signature::Error::new())
    }
}

impl SignatureBitStringEncoding for Signature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}
