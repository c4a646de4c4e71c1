//! Checks whether a key made the signature of a certificate.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};

/// Whether the owner of a public key (a DER SubjectPublicKeyInfo) signed a certificate.
///
/// The algorithms are those that `webpki` trusts: RSA of 2048 bits and more (PKCS#1 and PSS), ECDSA
/// on P-256, P-384 and P-521, each with SHA-256, SHA-384 or SHA-512, and Ed25519. A signature that
/// uses anything else does not count here; for SHA-1 see [`super::sha1`].
pub(super) fn is_signed_with(certificate: &[u8], spki: &[u8]) -> bool {
    let (Some(signed), Some(key)) = (Signed::parse(certificate), Key::parse(spki)) else {
        return false;
    };
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .filter(|known| {
            known.signature_alg_id().as_ref() == signed.algorithm
                && known.public_key_alg_id().as_ref() == key.algorithm
        })
        .any(|known| known.verify_signature(key.bits, signed.message, signed.signature).is_ok())
}

/// Whether the owner of a public key (a DER SubjectPublicKeyInfo) signed a message, in the form in
/// which certificates are signed: with any of the algorithms above.
pub(super) fn is_message_signed_with(message: &[u8], signature: &[u8], spki: &[u8]) -> bool {
    let Some(key) = Key::parse(spki) else { return false };
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .filter(|known| known.public_key_alg_id().as_ref() == key.algorithm)
        .any(|known| known.verify_signature(key.bits, message, signature).is_ok())
}

/// The three parts of a certificate.
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn parse(certificate: &'a [u8]) -> Option<Self> {
        let mut reader = inside(certificate)?;
        Some(Self {
            message: reader.tlv_bytes().ok()?,
            algorithm: sequence(AnyRef::decode(&mut reader).ok()?)?,
            signature: BitStringRef::decode(&mut reader).ok()?.as_bytes()?,
        })
    }
}

/// The two parts of a public key.
pub(super) struct Key<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) bits: &'a [u8],
}

impl<'a> Key<'a> {
    pub(super) fn parse(spki: &'a [u8]) -> Option<Self> {
        let mut reader = inside(spki)?;
        Some(Self {
            algorithm: sequence(AnyRef::decode(&mut reader).ok()?)?,
            bits: BitStringRef::decode(&mut reader).ok()?.as_bytes()?,
        })
    }
}

/// Returns a reader of the content of a SEQUENCE.
fn inside(der: &[u8]) -> Option<SliceReader<'_>> {
    SliceReader::new(sequence(AnyRef::from_der(der).ok()?)?).ok()
}

/// Returns the content if it is a SEQUENCE. The signature covers neither this tag of a certificate
/// nor that of its algorithm.
fn sequence(any: AnyRef<'_>) -> Option<&[u8]> {
    (any.tag() == Tag::Sequence).then(|| any.value())
}
