//! Names and serial numbers: the bytes for comparing, and the text for display.

use std::fmt;

use der::Decode as _;
use x509_cert::name::Name;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

/// The subject or issuer of a certificate.
///
/// Two names are equal when their bytes are: Go's verifier compares them in the same way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    der: Vec<u8>,
}

impl DistinguishedName {
    pub(super) fn new(name: &X509Name<'_>) -> Self {
        Self { der: name.as_raw().to_vec() }
    }

    /// The DER encoding of the name in the certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether OpenSSL takes it for the same name: there strings are equal by their meaning,
    /// whatever their types are, and without regard to case and further spaces.
    #[must_use]
    pub fn is_equivalent_to(&self, other: &Self) -> bool {
        let parts =
            |name: &Self| X509Name::from_der(&name.der).ok().map(|(_, name)| canonical(&name));
        self == other || parts(self).is_some_and(|own| parts(other).is_some_and(|it| it == own))
    }

    /// The parts of the usual kinds, each with the short name of its kind. Of several of one kind,
    /// the one that Go's `pkix.Name` shows: the last common name, the first of every other.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        X509Name::from_der(&self.der).map(|(_, name)| parts(&name)).unwrap_or_default()
    }

    /// The stricter parser writes RFC 4514 with correct escaping. Where it can't read a name, the
    /// other one's rough text is still better than none.
    fn text(&self) -> String {
        let rough = || X509Name::from_der(&self.der).map(|(_, name)| name.to_string());
        let text = Name::from_der(&self.der).map(|name| name.to_string());
        printable(&text.or_else(|_| rough()).unwrap_or_default())
    }
}

/// The attributes of each part of a name, with the text of those that OpenSSL compares as text
/// (`x509_name_canon` in crypto/x509/x_name.c).
fn canonical(name: &X509Name<'_>) -> Vec<Vec<(Vec<u8>, Value)>> {
    let part = |part: &RelativeDistinguishedName<'_>| {
        let mut attributes: Vec<_> = part
            .iter()
            .map(|one| (one.attr_type().as_bytes().to_vec(), Value::of(one.attr_value())))
            .collect();
        attributes.sort();
        attributes
    };
    name.iter_rdn().map(part).collect()
}

/// The value of an attribute, as OpenSSL compares it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// In lower case, without spaces at its ends, and with single spaces in it.
    Text(String),
    /// The tag and the content of another type.
    Other(u32, Vec<u8>),
}

impl Value {
    fn of(value: &Any<'_>) -> Self {
        let text = match value.tag() {
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
                String::from_utf8(value.data.to_vec()).ok()
            }
            // OpenSSL takes it for Latin-1.
            Tag::T61String => Some(value.data.iter().copied().map(char::from).collect()),
            Tag::BmpString => wide_text(value.data, 2),
            Tag::UniversalString => wide_text(value.data, 4),
            _ => None,
        };
        match text {
            Some(text) => {
                let words: Vec<_> = text.split(is_space).filter(|word| !word.is_empty()).collect();
                Self::Text(words.join(" ").to_ascii_lowercase())
            }
            None => Self::Other(value.tag().0, value.data.to_vec()),
        }
    }
}

/// The text of characters with as many bytes each.
fn wide_text(bytes: &[u8], width: usize) -> Option<String> {
    let character = |bytes: &[u8]| {
        char::from_u32(bytes.iter().fold(0, |code, byte| (code << 8) | u32::from(*byte)))
    };
    bytes.chunks(width).map(character).collect()
}

/// What C's `isspace` takes for a space.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn parts(name: &X509Name<'_>) -> Vec<(&'static str, String)> {
    let parts = [
        ("C", name.iter_country().next()),
        ("ST", name.iter_state_or_province().next()),
        ("L", name.iter_locality().next()),
        ("O", name.iter_organization().next()),
        ("OU", name.iter_organizational_unit().next()),
        ("CN", name.iter_common_name().last()),
    ];
    parts
        .into_iter()
        .filter_map(|(kind, part)| Some((kind, printable(part?.as_str().ok()?))))
        .collect()
}

/// Writes RFC 4514, the most specific part first: `CN=kubernetes-admin,O=system:masters`. A value
/// of an outdated string type is shown as `#` and its bytes.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistinguishedName({})", self.text())
    }
}

/// The serial number of a certificate.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// Builds it from the content of the INTEGER, without the zero byte that keeps it positive.
    pub(super) fn new(content: &[u8]) -> Self {
        match content {
            [0, number @ ..] if !number.is_empty() => Self(number.to_vec()),
            number => Self(number.to_vec()),
        }
    }

    /// The number, with the most significant byte first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes hexadecimal, as `openssl x509 -serial` does: `0243A9B8FF200D8B`.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// Escapes characters that could control a terminal or break a log line.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_unicode());
            let plain = escaped.is_none().then_some(character);
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Certificate;
    use super::super::fixtures::{
        BMP, CN, Draft, O, PRINTABLE, TELETEX, UNIVERSAL, UTF8, name, patched,
    };
    use super::*;
    use crate::common::requirements::require;

    #[test]
    fn serial_is_displayed_without_the_sign_byte() {
        assert_eq!(Serial::new(&[0, 0xab, 0x01]).to_string(), "AB01");
        assert_eq!(Serial::new(&[0]).to_string(), "00");
        assert_eq!(Serial::new(&[]).to_string(), "");
    }

    /// openssl's hash of a name is that of its canonical form.
    #[test]
    fn equivalent_names_are_those_of_openssl() {
        require!("openssl");
        let company: &[u8] = b"Example  Company";
        let names: [Vec<u8>; 14] = [
            name(&[&[(CN, PRINTABLE, b"kubernetes")]]),
            name(&[&[(CN, UTF8, b"kubernetes")]]),
            name(&[&[(CN, UTF8, b" Kubernetes ")]]),
            name(&[&[(CN, BMP, b"\0k\0u\0b\0e\0r\0n\0e\0t\0e\0s")]]),
            name(&[&[(CN, PRINTABLE, b"kube")]]),
            name(&[&[(CN, UTF8, "kubern\u{e9}tes".as_bytes())]]),
            name(&[&[(CN, TELETEX, b"kubern\xe9tes")]]),
            name(&[&[(CN, UTF8, "KUBERN\u{c9}TES".as_bytes())]]),
            name(&[&[(O, UTF8, company)], &[(CN, UTF8, b"root")]]),
            name(&[&[(O, PRINTABLE, b"example company")], &[(CN, UTF8, b"Root")]]),
            name(&[&[(CN, UTF8, b"root")], &[(O, UTF8, company)]]),
            name(&[&[(CN, UTF8, b"root"), (O, UTF8, company)]]),
            name(&[&[(CN, UTF8, b"a\tb\x0bc")]]),
            name(&[&[(CN, UTF8, b"A b  C")]]),
        ];
        let root = |name| Draft::authority(name, &[]).self_signed().certificate;
        let mut roots: Vec<_> = names.into_iter().map(root).collect();
        // The library that issues does not write this type: first in the issuer, then in the
        // subject.
        let wide = |tag| name(&[&[(CN, tag, b"\0\0\0K\0\0\0u\0\0\0b\0\0\0e")]]);
        let (from, to) = (wide(TELETEX), wide(UNIVERSAL));
        let first = Certificate::from_der(&patched(&root(from.clone()), &from, &to)).unwrap();
        roots.push(Certificate::from_der(&patched(&first, &from, &to)).unwrap());
        let hashes: Vec<_> = roots
            .iter()
            .map(|root| {
                let dir = tempfile::tempdir().unwrap();
                let file = dir.path().join("root.crt");
                std::fs::write(&file, root.to_pem()).unwrap();
                let openssl = std::process::Command::new("openssl")
                    .args(["x509", "-noout", "-subject_hash", "-in"])
                    .arg(&file)
                    .output()
                    .unwrap();
                assert!(openssl.status.success(), "{openssl:?}");
                openssl.stdout
            })
            .collect();
        for (root, hash) in roots.iter().zip(&hashes) {
            for (other, other_hash) in roots.iter().zip(&hashes) {
                let (one, two) = (&root.subject, &other.subject);
                assert_eq!(one.is_equivalent_to(two), hash == other_hash, "{one} and {two}");
            }
        }
        let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), 8, "of 15");
    }

    #[test]
    fn control_characters_are_escaped_and_letters_are_kept() {
        assert_eq!(printable("Zürich 東京\u{1b}[31m\n"), "Zürich 東京\\u{1b}[31m\\u{a}");
    }
}
