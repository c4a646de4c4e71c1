//! The outer parts of encoded private keys: what a key is of, without the key itself.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{Decode as _, SliceReader, Tag};
use spki::AlgorithmIdentifierRef;

/// The envelope that names the kind of the key inside (RFC 5208).
pub(super) struct Pkcs8<'a> {
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) key: &'a [u8],
}

impl<'a> Pkcs8<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
        u8::decode(&mut reader).ok()?;
        let algorithm = AlgorithmIdentifierRef::decode(&mut reader).ok()?;
        let key = <&OctetStringRef>::decode(&mut reader).ok()?.as_bytes();
        Some(Self { algorithm, key })
    }
}

/// Whether a version is followed by an OCTET STRING. In PKCS#1 a second number follows.
pub(super) fn starts_as_sec1(der: &[u8]) -> bool {
    let starts = || -> Option<bool> {
        let mut reader = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
        u8::decode(&mut reader).ok()?;
        Some(Tag::peek(&reader).ok()? == Tag::OctetString)
    };
    starts().unwrap_or(false)
}

/// The optional parts of an ECPrivateKey (RFC 5915).
pub(super) struct Sec1<'a> {
    /// The curve.
    pub curve: Option<ObjectIdentifier>,
    /// The bits of the public key.
    pub public: Option<&'a [u8]>,
}

impl<'a> Sec1<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
        u8::decode(&mut reader).ok()?;
        <&OctetStringRef>::decode(&mut reader).ok()?;
        let mut parts = Self { curve: None, public: None };
        while let Ok(part) = AnyRef::decode(&mut reader) {
            parts.curve = parts.curve.or_else(|| ObjectIdentifier::from_der(part.value()).ok());
            let bits = BitStringRef::from_der(part.value()).ok();
            parts.public = parts.public.or_else(|| bits?.as_bytes());
        }
        Some(parts)
    }
}
