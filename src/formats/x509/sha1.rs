//! Signatures with SHA-1, which TLS libraries refuse. They are checked only to say who signed a
//! certificate that is to be replaced; a new certificate is never judged by them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P521_SHA1_ASN1, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::alg_id;

use super::check::{Key, Signed};

/// The object identifiers of the signature algorithms, in DER: sha1WithRSAEncryption (RFC 3279),
/// sha1WithRSASignature (OIW), and ecdsa-with-SHA1 (RFC 3279).
const RSA: [&[u8]; 2] =
    [b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", b"\x06\x05\x2b\x0e\x03\x02\x1d"];
const ECDSA: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01";

/// Whether a certificate is signed with SHA-1.
pub(super) fn is_signature_of(certificate: &[u8]) -> bool {
    Signed::parse(certificate).is_some_and(|signed| is_rsa(&signed) || is_ecdsa(&signed))
}

/// Whether the owner of a public key (a DER SubjectPublicKeyInfo) signed a certificate with SHA-1.
///
/// aws-lc verifies such signatures by RSA (2048 bits and more), P-256 and P-521. It has none for
/// P-384, and such a signature does not count.
pub(super) fn is_signed_with(certificate: &[u8], spki: &[u8]) -> bool {
    let (Some(signed), Some(key)) = (Signed::parse(certificate), Key::parse(spki)) else {
        return false;
    };
    let Some(algorithm) = algorithm(&signed, &key) else { return false };
    UnparsedPublicKey::new(algorithm, key.bits).verify(signed.message, signed.signature).is_ok()
}

fn algorithm(signed: &Signed<'_>, key: &Key<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    let has_key = |id: rustls_pki_types::AlgorithmIdentifier| id.as_ref() == key.algorithm;
    if is_rsa(signed) && has_key(alg_id::RSA_ENCRYPTION) {
        Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY)
    } else if is_ecdsa(signed) && has_key(alg_id::ECDSA_P256) {
        Some(&ECDSA_P256_SHA1_ASN1)
    } else if is_ecdsa(signed) && has_key(alg_id::ECDSA_P521) {
        Some(&ECDSA_P521_SHA1_ASN1)
    } else {
        None
    }
}

fn is_rsa(signed: &Signed<'_>) -> bool {
    RSA.iter().any(|id| signed.algorithm.starts_with(id))
}

fn is_ecdsa(signed: &Signed<'_>) -> bool {
    signed.algorithm.starts_with(ECDSA)
}
