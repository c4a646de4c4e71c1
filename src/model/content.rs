//! What services read from files: credentials, and the CA certificates by which they verify others.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AbsolutePath, CredentialName};

/// Something that a service reads from files. A name begins with a letter or a digit and a path
/// with `/`, so that each is itself as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ContentName {
    /// A credential.
    Credential(CredentialName),
    /// The CA certificates in a file, which is a PEM file or a kubeconfig.
    CaCertificates(AbsolutePath),
}

impl ContentName {
    /// The credential, where it is one.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        match self {
            Self::Credential(name) => Some(name),
            Self::CaCertificates(_) => None,
        }
    }

    /// An earlier content of it, with the article: for `it uses ...`.
    #[must_use]
    pub fn outdated(&self) -> String {
        match self {
            Self::Credential(_) => format!("an outdated {self}"),
            Self::CaCertificates(_) => format!("outdated {self}"),
        }
    }

    /// The name of the credential, or the path of the file.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Credential(name) => name.to_string(),
            Self::CaCertificates(file) => file.to_string(),
        }
    }
}

impl fmt::Display for ContentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => name.fmt(f),
            Self::CaCertificates(file) => write!(f, "CA certificates of {file}"),
        }
    }
}

impl From<CredentialName> for ContentName {
    fn from(name: CredentialName) -> Self {
        Self::Credential(name)
    }
}

impl From<ContentName> for String {
    fn from(name: ContentName) -> Self {
        name.key()
    }
}

impl TryFrom<String> for ContentName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.starts_with('/') {
            AbsolutePath::new(&text).map(Self::CaCertificates).map_err(|e| e.to_string())
        } else {
            CredentialName::new(text).map(Self::Credential).map_err(|e| e.to_string())
        }
    }
}

impl PartialEq<CredentialName> for ContentName {
    fn eq(&self, other: &CredentialName) -> bool {
        self.credential() == Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_names_round_trip_as_text() {
        let credential = ContentName::from(CredentialName::constant("etcd/server"));
        let file = AbsolutePath::constant("/etc/kubernetes/pki/ca.crt");
        let ca = ContentName::CaCertificates(file);
        for (name, text) in
            [(&credential, "\"etcd/server\""), (&ca, "\"/etc/kubernetes/pki/ca.crt\"")]
        {
            assert_eq!(serde_json::to_string(name).unwrap(), text);
            assert_eq!(serde_json::from_str::<ContentName>(text).unwrap(), *name);
        }
        for refused in ["\"\"", "\"../etc\"", "\"/\"", "\"/etc/..\""] {
            assert!(serde_json::from_str::<ContentName>(refused).is_err(), "{refused}");
        }
    }
}
