//! The names operators use for authorities, credentials and services.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A name that is not made of the allowed characters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{name:?} is not a name: use 1 to 64 letters, digits, '.', '-', '_' and '/', beginning and \
     ending with a letter or digit, without '..'"
)]
pub struct InvalidName {
    name: String,
}

fn valid(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 64
        && name.chars().all(inner)
        && edge(name.chars().next())
        && edge(name.chars().last())
        && !name.contains("..")
        && !name.contains("//")
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Checks the characters: a name is also part of a path in the backup directory and of
            /// alarm entities.
            ///
            /// # Errors
            /// [`InvalidName`] says which characters are allowed.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                if valid(&name) { Ok(Self(name)) } else { Err(InvalidName { name }) }
            }

            /// A name that is written in this program.
            #[must_use]
            pub fn constant(name: &'static str) -> Self {
                debug_assert!(valid(name), "{name:?}");
                Self(name.to_owned())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of an authority: `ca`, `front-proxy-ca`, `etcd-ca`.
    AuthorityName
);
name!(
    /// The name of a credential: `apiserver`, `etcd/peer`, `admin.conf`.
    CredentialName
);
name!(
    /// The name of a service: `kube-apiserver`.
    ServiceName
);
name!(
    /// The name of an alarm sink: `pager`.
    SinkName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeadm_names_are_accepted() {
        for name in ["ca", "etcd/healthcheck-client", "admin.conf", "front-proxy-ca"] {
            assert_eq!(CredentialName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for name in [
            "",
            "..",
            "../etc",
            "a/../b",
            "/etc",
            "a//b",
            "a b",
            "a\n",
            "ä",
            ".hidden",
            &"x".repeat(65),
        ] {
            assert!(CredentialName::new(name).is_err(), "{name:?}");
        }
    }
}
