//! The names that a server's certificate is valid for, and what an operator wants changed about
//! them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A subject alternative name of a kind that kubeadm knows (RFC 5280, 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum San {
    /// An IP address.
    Address(IpAddr),
    /// A DNS name, in lower case; its first label may be `*`.
    Dns(String),
}

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a DNS name")]
pub struct InvalidSan(String);

impl FromStr for San {
    type Err = InvalidSan;

    fn from_str(text: &str) -> Result<Self, InvalidSan> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name).split('.');
        // As RFC 1123, 2.1 has them. What is all digits was meant for an address.
        let is_label = |label: &str| {
            let plain =
                label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            plain
                && (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let digits = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let valid = name.len() <= 253 && !digits && labels.into_iter().all(is_label);
        if valid { Ok(Self::Dns(name)) } else { Err(InvalidSan(text.to_owned())) }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns(name) => name.fmt(f),
        }
    }
}

/// What is to be different in the next certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SanChange {
    /// Names that it is to have.
    pub add: Vec<San>,
    /// Names that it is not to have any more.
    pub remove: Vec<San>,
}

impl SanChange {
    /// Whether nothing is to be different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl fmt::Display for SanChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = self.add.iter().map(|name| format!("with {name}"));
        let removed = self.remove.iter().map(|name| format!("without {name}"));
        f.write_str(&added.chain(removed).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_an_address_or_a_dns_name() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("API.Example.COM", "api.example.com"),
            ("*.example.com", "*.example.com"),
            ("cp-1", "cp-1"),
        ] {
            assert_eq!(text.parse::<San>().map(|san| san.to_string()).as_deref(), Ok(shown));
        }
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "10.0.0",
            "10.0.0.256",
            "https://a",
            "a:6443",
            "*",
            "a.*.b",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<San>().is_err(), "{text:?}");
        }
    }
}
