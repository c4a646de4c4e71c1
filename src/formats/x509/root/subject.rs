//! The subject that an operator states for a new root CA.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{C, CN, L, O, OU, ST};
use der::{Encode as _, Tag};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::super::issue::library;
use super::super::template::name_of;
use super::super::{DistinguishedName, IssueError};

/// The kinds of the parts of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamePart {
    /// C, a country by the two letters of ISO 3166.
    Country,
    /// ST, a state or province.
    State,
    /// L, a town.
    Locality,
    /// O, an organization.
    Organization,
    /// OU, a unit of an organization.
    Unit,
    /// CN, the name of the CA.
    CommonName,
}

impl NamePart {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Country,
        Self::State,
        Self::Locality,
        Self::Organization,
        Self::Unit,
        Self::CommonName,
    ];

    /// Its short name, as in RFC 4514.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Country => "C",
            Self::State => "ST",
            Self::Locality => "L",
            Self::Organization => "O",
            Self::Unit => "OU",
            Self::CommonName => "CN",
        }
    }

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Country => C,
            Self::State => ST,
            Self::Locality => L,
            Self::Organization => O,
            Self::Unit => OU,
            Self::CommonName => CN,
        }
    }

    /// The most characters that it may have (RFC 5280, appendix A.1).
    fn longest(self) -> usize {
        match self {
            Self::Country => 2,
            Self::State | Self::Locality => 128,
            Self::Organization | Self::Unit | Self::CommonName => 64,
        }
    }
}

/// Why parts make no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// There is no common name.
    #[error("the subject has no CN, the name of the CA, for example CN=kubernetes-2")]
    NoCommonName,
    /// A kind is there twice.
    #[error("the subject has {0} twice")]
    Twice(&'static str),
    /// A part is empty, or has characters that control a terminal.
    #[error("the text of {0} in the subject is empty, or holds control characters")]
    Text(&'static str),
    /// A part has too many characters.
    #[error("{kind} of the subject has more than {longest} characters")]
    TooLong {
        /// Its kind.
        kind: &'static str,
        /// The most that it may have.
        longest: usize,
    },
    /// A country is not two letters.
    #[error("C of the subject is a country, by two capital letters")]
    Country,
    /// The library failed, which should not happen.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

impl DistinguishedName {
    /// Encodes a name of parts in this order, each in an RDN of its own and in the string types of
    /// Go: PrintableString where that has all characters, else UTF8String.
    ///
    /// # Errors
    /// When a part is not allowed, is there twice, or there is no common name.
    pub fn from_parts(parts: &[(NamePart, &str)]) -> Result<Self, SubjectError> {
        if !parts.iter().any(|(kind, _)| *kind == NamePart::CommonName) {
            return Err(SubjectError::NoCommonName);
        }
        for (at, (kind, text)) in parts.iter().enumerate() {
            if parts.iter().take(at).any(|(other, _)| other == kind) {
                return Err(SubjectError::Twice(kind.short_name()));
            }
            check(*kind, text)?;
        }
        let name = name_of(parts.iter().map(|(kind, text)| (kind.oid(), form(text), *text)))?;
        let der = name.to_der().map_err(library)?;
        let (_, name) = X509Name::from_der(&der).map_err(library)?;
        Ok(Self::new(&name))
    }
}

fn check(kind: NamePart, text: &str) -> Result<(), SubjectError> {
    let (name, longest) = (kind.short_name(), kind.longest());
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(SubjectError::Text(name));
    }
    if text.chars().count() > longest {
        return Err(SubjectError::TooLong { kind: name, longest });
    }
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if kind == NamePart::Country && !is_code {
        return Err(SubjectError::Country);
    }
    Ok(())
}

/// The string type of Go: PrintableString where that has all characters of the text. It has the
/// question mark too, which `rcgen` does not write.
fn form(text: &str) -> Tag {
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=".contains(&byte);
    if text.bytes().all(is_in) { Tag::PrintableString } else { Tag::Utf8String }
}
