//! This node's member of etcd among the others: what is remembered of them, and what they say of
//! it when they are asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest URL that is remembered: a host name has 253 characters at most.
const LONGEST_URL: usize = 300;

/// The id of a member of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(u64);

impl MemberId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// In hexadecimal digits, as `etcdctl member list` shows it.
impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A URL at which a member of etcd serves its peers over TLS: `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerUrl(String);

/// A text that is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a URL of the form https://HOST:PORT")]
pub struct InvalidPeerUrl(String);

impl PeerUrl {
    /// The host, an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':'));
        host.map_or("", |(host, _)| host.trim_start_matches('[').trim_end_matches(']'))
    }
}

impl FromStr for PeerUrl {
    type Err = InvalidPeerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPeerUrl> {
        let invalid = || InvalidPeerUrl(text.chars().take(LONGEST_URL).collect());
        let address = text.strip_prefix("https://").ok_or_else(invalid)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => !inner.is_empty() && inner.chars().all(is_address),
            None => !host.is_empty() && host.chars().all(is_plain),
        };
        let is_port = port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
        if is_host && is_port && text.len() <= LONGEST_URL {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

impl TryFrom<String> for PeerUrl {
    type Error = InvalidPeerUrl;

    fn try_from(text: String) -> Result<Self, InvalidPeerUrl> {
        text.parse()
    }
}

impl From<PeerUrl> for String {
    fn from(url: PeerUrl) -> Self {
        url.0
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This node's member of etcd, and those that can say whether it still belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The id of this node's member.
    pub id: MemberId,
    /// The URLs at which the other members reach it; none where it was in no list.
    pub urls: Vec<PeerUrl>,
    /// The other members that vote.
    pub others: Vec<EtcdPeer>,
}

/// Another member of etcd that votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdPeer {
    /// Its URLs; those without TLS are left out.
    pub urls: Vec<PeerUrl>,
}

impl fmt::Display for EtcdPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.urls.first() {
            Some(url) => url.fmt(f),
            None => f.write_str("a member without a URL for TLS"),
        }
    }
}

/// The question to the other members of etcd whether this node's member still belongs to the
/// cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipInquiry {
    /// They could not be asked.
    NotPossible {
        /// Why, in words for an operator.
        reason: String,
        /// Whether it may be possible soon without a change of the node's files.
        may_change: bool,
    },
    /// They were not asked, since this machine has none of the addresses of this node's member: in
    /// words for an operator.
    Elsewhere(String),
    /// There is none: this node's member answers, and lists no other one that votes.
    Alone(MemberId),
    /// Each of them was asked.
    Asked {
        /// The id of this node's member.
        id: MemberId,
        /// The number of other members that vote: those of this node's list, or more where one of
        /// the lists in the answers has more.
        others: usize,
        /// Each of the other members, and what it said.
        answers: Vec<(EtcdPeer, PeerAnswer)>,
    },
}

/// The answer of another member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// It lists itself, and this node's member at an address of this node.
    Lists,
    /// It lists a member with the id at these other addresses only.
    ListsElsewhere(Vec<String>),
    /// It does not list this node's member.
    DoesNotList,
    /// It gives no usable answer: its address, and why.
    Silent(String),
}

/// What is known after the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipFinding {
    /// Whether this node's member belongs to the cluster.
    pub verdict: MembershipVerdict,
    /// The answers in a sentence, for an operator.
    pub text: String,
    /// Whether the same question may soon have another answer.
    pub may_change: bool,
}

/// Whether this node's member of etcd belongs to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipVerdict {
    /// More than half of the other members list it, or there are no others.
    Belongs,
    /// At least one of them does not list it, or lists it at another address; or this machine has
    /// none of its addresses.
    Doubted,
    /// Too few of them answer.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_url_of_etcd_is_accepted() {
        for (text, host) in [
            ("https://10.0.0.2:2380", "10.0.0.2"),
            ("https://[fd00::1]:2380", "fd00::1"),
            ("https://cp-2.example.com:2380", "cp-2.example.com"),
        ] {
            let url: PeerUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host()), (text, host));
        }
    }

    #[test]
    fn anything_but_host_and_port_over_tls_is_no_peer_url() {
        let long = format!("https://{}:1", "a".repeat(LONGEST_URL));
        for text in [
            "",
            "http://10.0.0.2:2380",
            "unix://a:1",
            "https://10.0.0.2",
            "https://:2380",
            "https://a:b@10.0.0.2:2380",
            "https://10.0.0.2:2380/",
            "https://10.0.0.2:2380/members?x",
            "https://10.0.0.2:99999",
            "https://10.0.0.2:+1",
            "https://[]:1",
            "https://[host]:1",
            "https://a b:1",
            "https://a\n:1",
            &long,
        ] {
            assert!(text.parse::<PeerUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn member_id_is_shown_as_etcdctl_does() {
        assert_eq!(MemberId::new(10_276_657_743_932_975_437).to_string(), "8e9e05c52164694d");
    }
}
