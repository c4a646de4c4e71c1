//! What Go refuses in a certificate, or reads differently than others: it takes DER alone, each
//! extension once, and string types with what they may hold.

use der::asn1::Any;
use der::{Decode, Encode, Tag, Tagged as _};
use x509_cert::TbsCertificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
};
use x509_parser::prelude::FromDer as _;

use super::super::{Certificate, Extension};
use super::alternative_names::check_alternative_names;

/// Reads a certificate as strictly as Go does.
///
/// # Errors
/// The first thing that is wrong, as a text.
pub(super) fn check_form(certificate: &Certificate) -> Result<(), String> {
    let strict = x509_cert::Certificate::from_der(certificate.der())
        .map_err(|e| format!("it is not strict DER ({e})"))?;
    if strict.to_der().ok().as_deref() != Some(certificate.der()) {
        return Err("it is not strict DER".to_owned());
    }
    check_serial_and_names(strict.tbs_certificate())?;
    check_each_extension_once(&certificate.extensions)?;
    certificate.extensions.iter().try_for_each(check_strict)?;
    check_readable(certificate)
}

fn check_serial_and_names(certificate: &TbsCertificate) -> Result<(), String> {
    let serial = certificate.serial_number().as_bytes();
    if serial.first().is_none_or(|first| *first >= 0x80) {
        return Err("its serial number is not positive (RFC 5280, 4.1.2.2)".to_owned());
    }
    let mut parts = certificate.subject().iter().chain(certificate.issuer().iter());
    match parts.find(|part| !is_text(&part.value)) {
        Some(part) => {
            Err(format!("the text of a part of its name ({}) does not fit its type", part.oid))
        }
        None => Ok(()),
    }
}

fn check_each_extension_once(extensions: &[Extension]) -> Result<(), String> {
    let mut oids: Vec<_> = extensions.iter().map(|one| one.oid.to_id_string()).collect();
    oids.sort();
    let twice = oids.iter().zip(oids.iter().skip(1)).find(|(one, other)| one == other);
    twice.map_or(Ok(()), |(oid, _)| Err(format!("the extension {oid} is there twice")))
}

fn check_strict(extension: &Extension) -> Result<(), String> {
    let value = &extension.value;
    if extension.is_subject_alternative_name() {
        return check_alternative_names(value)
            .map_err(|reason| format!("its subjectAltName can't be read: {reason}"));
    }
    let is_strict = match &extension.oid {
        oid if *oid == OID_X509_EXT_BASIC_CONSTRAINTS => is_der_of::<BasicConstraints>(value),
        oid if *oid == OID_X509_EXT_KEY_USAGE => is_der_of::<KeyUsage>(value),
        oid if *oid == OID_X509_EXT_EXTENDED_KEY_USAGE => is_der_of::<ExtendedKeyUsage>(value),
        _ => true,
    };
    let failed = || format!("its extension {} is not strict DER", extension.oid.to_id_string());
    if is_strict { Ok(()) } else { Err(failed()) }
}

/// The other extensions, as the lenient parser reads them.
fn check_readable(certificate: &Certificate) -> Result<(), String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else { return Ok(()) };
    let mut extensions = parsed.extensions().iter();
    let unreadable =
        extensions.find(|one| matches!(one.parsed_extension(), ParsedExtension::ParseError { .. }));
    unreadable.map_or(Ok(()), |one| {
        Err(format!("its extension {} can't be read", one.oid.to_id_string()))
    })
}

/// Whether bytes are the one DER encoding of a value of this type.
fn is_der_of<'b, T: Decode<'b> + Encode>(bytes: &'b [u8]) -> bool {
    T::from_der(bytes).is_ok_and(|value| value.to_der().is_ok_and(|written| written == bytes))
}

/// Whether Go reads an attribute of a name: a string of a usual type that holds what it may.
fn is_text(value: &Any) -> bool {
    let bytes = value.value();
    let is_printable = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?*&".contains(byte);
    match value.tag() {
        Tag::PrintableString => bytes.iter().all(is_printable),
        Tag::Utf8String => std::str::from_utf8(bytes).is_ok(),
        Tag::Ia5String => bytes.is_ascii(),
        Tag::NumericString => bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b' '),
        Tag::BmpString => is_in_basic_plane(bytes),
        Tag::TeletexString => true,
        _ => false,
    }
}

/// Whether it is UCS-2 without the codes that are no characters: those of surrogates, which newer
/// versions of Go refuse, and U+FDD0 to U+FDEF, U+FFFE and U+FFFF.
fn is_in_basic_plane(bytes: &[u8]) -> bool {
    let code = |pair: &[u8]| pair.iter().fold(0, |code, byte| (code << 8) | u16::from(*byte));
    let is_none = |code| matches!(code, 0xd800..=0xdfff | 0xfdd0..=0xfdef | 0xfffe..);
    bytes.len().is_multiple_of(2) && !bytes.chunks(2).map(code).any(is_none)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::{
        BMP, CN, Draft, PRINTABLE, TELETEX, UTF8, extension, identifier, name, patched, tlv,
    };
    use super::*;
    use crate::formats::x509::fixtures::{ECDSA_TREE, RSA_TREE, issuers};

    fn found(draft: Draft) -> Option<String> {
        draft.self_signed().certificate.as_root().malformed
    }

    fn named(tag: u8, text: &[u8]) -> Draft {
        Draft::authority(name(&[&[(CN, tag, text)]]), &[identifier(b"one")])
    }

    #[test]
    fn usual_roots_are_well_formed() {
        for issuer in [RSA_TREE, ECDSA_TREE].into_iter().flat_map(issuers) {
            assert_eq!(issuer.certificate.as_root().malformed, None);
        }
        for (tag, text) in [
            (PRINTABLE, b"Example Company (CA), No. 1*&".as_slice()),
            (UTF8, "Beispiel\u{e9}_@".as_bytes()),
            (TELETEX, b"Soci\xe9t\xe9"),
            (BMP, b"\0C\0A"),
        ] {
            assert_eq!(found(named(tag, text)), None, "{text:?}");
        }
    }

    /// That these are Go's rules is tested with Go itself, in tests/new_root.
    #[test]
    fn alternative_names_are_read_as_go_does() {
        let named = |tag: u8, text: &[u8]| {
            let names = extension("2.5.29.17", false, &tlv(0x30, &tlv(tag, text)));
            found(Draft::authority(name(&[&[(CN, UTF8, b"company")]]), &[names]))
        };
        let mapped = [&[0; 10], &[0xff, 0xff, 10, 0, 0, 1][..]].concat();
        for (tag, text) in [
            (0x82, b"kubernetes".as_slice()),
            (0x87, &[10, 0, 0, 1]),
            (0x87, &[0xfd; 16]),
            (0x86, b"http://pki.example.com:80/ca.crt#a"),
            (0x86, b"file:///etc/ca.crt"),
            // A name of another kind, and one in a constructed form.
            (0x88, b"\xff"),
            (0xa2, b"\x0c\x00"),
        ] {
            assert_eq!(named(tag, text), None, "{text:?}");
        }
        for (tag, text, kind) in [
            (0x82, b"m\xc3\xbcller".as_slice(), "a DNS name"),
            (0x87, &mapped, "an IP address"),
            (0x87, &[10, 0, 0], "an IP address"),
            (0x86, b"ca.crt", "a URI"),
            (0x86, b"http://a b/", "a URI"),
            (0x86, b"http://[::ffff:10.0.0.1]/", "a URI"),
        ] {
            let reason = named(tag, text).unwrap();
            assert!(reason.starts_with("its subjectAltName can't be read: "), "{reason}");
            assert!(reason.ends_with(&format!("is not {kind}")), "{reason}");
        }
        let reason = named(0x82, b"\x1b[2J\xff").unwrap();
        assert!(!reason.contains('\u{1b}'), "{reason}");
    }

    #[test]
    fn what_go_can_not_read_is_found() {
        for (tag, text) in [
            (PRINTABLE, b"CORP_ROOT_CA".as_slice()),
            (PRINTABLE, b"ca@example.com"),
            (UTF8, b"\xff\xfe"),
            (0x16, b"caf\xe9"),
            // VisibleString.
            (0x1a, b"company"),
            (BMP, b"\xd8\x3d\xde\0"),
            (BMP, b"\xff\xfe\0C"),
        ] {
            let reason = found(named(tag, text)).unwrap();
            assert!(reason.contains("does not fit its type"), "{reason}");
        }
        let subject = || name(&[&[(CN, UTF8, b"company")]]);
        let twice = Draft::authority(subject(), &[identifier(b"one"), identifier(b"two")]);
        assert_eq!(found(twice).as_deref(), Some("the extension 2.5.29.14 is there twice"));
        let purposes = extension("2.5.29.37", false, b"\x30\x03\x06\x05\x2b");
        let unreadable = Draft::authority(subject(), &[identifier(b"one"), purposes]);
        assert_eq!(found(unreadable).as_deref(), Some("its extension 2.5.29.37 is not strict DER"));
        // A boolean of BER in the basic constraints.
        let root = named(UTF8, b"company").self_signed().certificate;
        let ber = patched(&root, &[0x30, 3, 1, 1, 0xff], &[0x30, 3, 1, 1, 1]);
        let root = Certificate::from_der(&ber);
        assert!(root.is_err() || root.is_ok_and(|root| root.as_root().malformed.is_some()));
    }
}
