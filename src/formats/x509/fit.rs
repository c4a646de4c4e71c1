//! Whether a private key belongs to a certificate, also for a key that can't be used here: a kind
//! that is only replaced by another one has to be recognised.

use der::asn1::AnyRef;
use der::{Decode as _, Reader as _, SliceReader};

use super::check::Key;
use super::envelope::{Pkcs8, Sec1};
use super::{Certificate, KeyError, PrivateKey};
use crate::formats::pem;

/// Whether the one private key of a PEM file is that of a certificate. A key of a kind that is not
/// supported is compared by the public key that is stored with it; whether its secret part is
/// right is not checked.
///
/// # Errors
/// When the key can't be read, or is not supported and not known to fit.
pub fn key_fits(file: &[u8], certificate: &Certificate) -> Result<bool, KeyError> {
    match PrivateKey::from_pem(file) {
        Ok(key) => Ok(key.fits(certificate)),
        Err(unsupported @ KeyError::Unsupported(_)) => {
            let own = public_bits(file);
            let fits = |key: &Key<'_>| own.as_deref().is_some_and(|own| key.bits == own);
            Key::parse(certificate.public_key_der()).filter(fits).map(|_| true).ok_or(unsupported)
        }
        Err(e) => Err(e),
    }
}

/// The bits of the public key, as in a certificate.
fn public_bits(file: &[u8]) -> Option<Vec<u8>> {
    let blocks = pem::blocks(file).ok()?;
    let der = blocks.iter().find(|block| block.is_private_key()).map(|block| block.der.expose())?;
    let inner = Pkcs8::parse(der).map_or(der, |pkcs8| pkcs8.key);
    rsa_public_bits(inner).or_else(|| Some(Sec1::parse(inner)?.public?.to_vec()))
}

/// RSAPublicKey from an RSAPrivateKey: both begin with modulus and exponent, the second after its
/// version (RFC 8017).
fn rsa_public_bits(der: &[u8]) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
    u8::decode(&mut reader).ok()?;
    let numbers = [reader.tlv_bytes().ok()?, reader.tlv_bytes().ok()?];
    let [modulus, exponent] = numbers.map(AnyRef::from_der);
    let is_number = |number: &AnyRef<'_>| der::Tagged::tag(number) == der::Tag::Integer;
    if !is_number(&modulus.ok()?) || !is_number(&exponent.ok()?) {
        return None;
    }
    let content = numbers.concat();
    let sequence = AnyRef::new(der::Tag::Sequence, &content).ok()?;
    der::Encode::to_der(&sequence).ok()
}
