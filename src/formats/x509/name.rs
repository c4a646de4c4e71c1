//! Names and serial numbers: the bytes for comparing, and the text for display.

use std::fmt;

use der::Decode as _;
use x509_cert::name::Name;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

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
    use super::*;

    #[test]
    fn serial_is_displayed_without_the_sign_byte() {
        assert_eq!(Serial::new(&[0, 0xab, 0x01]).to_string(), "AB01");
        assert_eq!(Serial::new(&[0]).to_string(), "00");
        assert_eq!(Serial::new(&[]).to_string(), "");
    }

    #[test]
    fn control_characters_are_escaped_and_letters_are_kept() {
        assert_eq!(printable("Zürich 東京\u{1b}[31m\n"), "Zürich 東京\\u{1b}[31m\\u{a}");
    }
}
