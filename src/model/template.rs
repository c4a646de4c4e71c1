//! What a lost credential is made from: the last certificate that it is known to have had, or what
//! the profile and the manifests say of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::{KeyChoice, San};

/// The new content of a lost credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Whom its certificate is for, and what for.
    pub content: TemplateContent,
    /// The kind of its key, where the configuration does not say one; never [`KeyChoice::Keep`].
    pub key: KeyChoice,
    /// The URL of the API server, where it is a kubeconfig.
    pub server: Option<String>,
}

/// Whom a certificate is for, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateContent {
    /// The same as the last certificate that was seen in place, in DER.
    Remembered(Vec<u8>),
    /// What the profile and the manifests say.
    Described {
        /// The subject.
        subject: Subject,
        /// The usages.
        usages: Vec<Usage>,
        /// The names and addresses.
        names: Vec<San>,
    },
}

impl fmt::Display for TemplateContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remembered(_) => f.write_str("for the subject and names that it last had"),
            Self::Described { subject, names, .. } if names.is_empty() => {
                write!(f, "for {subject}")
            }
            Self::Described { subject, names, .. } => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                write!(f, "for {subject}, with the names {}", names.join(", "))
            }
        }
    }
}

/// One side of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// As a server.
    Server,
    /// As a client.
    Client,
}

/// The subject of a certificate in the form of kubeadm's: a common name, and perhaps an
/// organization, which is the group of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub common_name: String,
    /// The organization.
    pub organization: Option<String>,
}

/// A text that is no such subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a subject of the form CN=NAME or CN=NAME,O=GROUP")]
pub struct InvalidSubject(String);

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let invalid = || InvalidSubject(text.to_owned());
        let is_plain = |value: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "{}:.-".contains(c);
            !value.is_empty() && value.chars().all(plain)
        };
        let part = |text: &str, kind: &str| {
            text.strip_prefix(kind).filter(is_plain).map(str::to_owned).ok_or_else(invalid)
        };
        let (name, group) = match text.split_once(',') {
            None => (text, None),
            Some((name, group)) => (name, Some(part(group, "O=")?)),
        };
        Ok(Self { common_name: part(name, "CN=")?, organization: group })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CN={}", self.common_name)?;
        self.organization.iter().try_for_each(|group| write!(f, ",O={group}"))
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_round_trips() {
        for text in ["CN={node}", "CN=kubernetes-admin,O=kubeadm:cluster-admins"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in ["", "CN=", "O=a", "CN=a,O=", "CN=a,O=b,O=c", "CN=a,CN=b", "CN=a b", "CN=a+O=b"]
        {
            assert!(text.parse::<Subject>().is_err(), "{text:?}");
        }
    }
}
