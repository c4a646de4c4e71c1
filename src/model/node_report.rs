//! The report of a node to its cluster, and what is known of the reports of all nodes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CredentialName, Digest, NodeProgress, Timestamp};

/// What a node reports of itself. It names no secret: it can be read by each user of the cluster
/// who may list its Nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// When it was made.
    pub at: Timestamp,
    /// The version of kubecertd.
    pub version: String,
    /// The role, by the node's profile.
    pub role: NodeRole,
    /// When the last pass began.
    pub pass: Timestamp,
    /// Whether something in it failed.
    pub failed: bool,
    /// The credential that expires next.
    pub next: Option<NextExpiry>,
    /// How many credentials are due, expired ones aside.
    pub due: u32,
    /// How many have expired.
    pub expired: u32,
    /// How many services use an outdated credential.
    pub stale: u32,
    /// The alarms in force.
    pub alarms: AlarmCounts,
    /// How far the node's clock is ahead of the API server's, in seconds, rounded to ten; `None`
    /// where that is not known.
    pub clock: Option<i64>,
    /// The fingerprints of what control-plane nodes have in common.
    #[serde(default)]
    pub fingerprints: Fingerprints,
    /// How far it is with a rotation of the root CA; `None` where it takes part in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<NodeProgress>,
}

#[cfg(test)]
impl NodeReport {
    /// The report of a control-plane node on which all is fine, for tests.
    pub(crate) fn fine(at: Timestamp) -> Self {
        Self {
            at,
            version: "0.1.0".to_owned(),
            role: NodeRole::ControlPlane,
            pass: at,
            failed: false,
            next: None,
            due: 0,
            expired: 0,
            stale: 0,
            alarms: AlarmCounts::default(),
            clock: Some(0),
            fingerprints: Fingerprints::default(),
            rotation: None,
        }
    }
}

/// The role of a node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    /// It runs the control plane.
    ControlPlane,
    /// It does not.
    Worker,
}

impl NodeRole {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }
}

/// The credential that expires next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextExpiry {
    /// When.
    pub at: Timestamp,
    /// Its name; `None` where the report would be too long with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<CredentialName>,
}

/// How many alarms are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmCounts {
    /// The critical ones.
    pub critical: u32,
    /// The major ones.
    pub major: u32,
    /// The minor ones.
    pub minor: u32,
    /// The warnings.
    pub warning: u32,
    /// The text of the most severe one, which may be truncated; `None` also where the report would
    /// be too long with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<String>,
}

impl AlarmCounts {
    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        [self.critical, self.major, self.minor, self.warning]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The fingerprints of what all control-plane nodes of a cluster have in common. `None` where it is
/// not there, or can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Fingerprints {
    /// See [`SharedFile::Ca`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Fingerprint>,
    /// See [`SharedFile::FrontProxyCa`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_proxy_ca: Option<Fingerprint>,
    /// See [`SharedFile::ServiceAccount`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Fingerprint>,
    /// See [`SharedFile::Kubeconfigs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfigs: Option<Fingerprint>,
}

impl Fingerprints {
    /// The fingerprint of one of them.
    #[must_use]
    pub fn of(&self, file: SharedFile) -> Option<Fingerprint> {
        match file {
            SharedFile::Ca => self.ca,
            SharedFile::FrontProxyCa => self.front_proxy_ca,
            SharedFile::ServiceAccount => self.service_account,
            SharedFile::Kubeconfigs => self.kubeconfigs,
        }
    }
}

/// What all control-plane nodes of a cluster have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedFile {
    /// The bytes of the root CA's file.
    Ca,
    /// The bytes of the front proxy CA's file.
    FrontProxyCa,
    /// The public keys of service accounts.
    ServiceAccount,
    /// The CA certificates that the kubeconfigs of the profile trust.
    Kubeconfigs,
}

impl SharedFile {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Ca, Self::FrontProxyCa, Self::ServiceAccount, Self::Kubeconfigs];

    /// Its name in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca.crt",
            Self::FrontProxyCa => "front-proxy-ca.crt",
            Self::ServiceAccount => "sa.pub",
            Self::Kubeconfigs => "kubeconfigs",
        }
    }
}

/// The first 16 bytes of a SHA-256, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl From<Digest> for Fingerprint {
    fn from(digest: Digest) -> Self {
        let mut first = [0; 16];
        first.iter_mut().zip(digest.bytes()).for_each(|(byte, other)| *byte = *other);
        Self(first)
    }
}

impl Fingerprint {
    fn parse(text: &str) -> Option<Self> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if text.len() != 32 || !text.chars().all(is_digit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("not a fingerprint of 32 hex digits"))
    }
}

/// A node of the cluster, as its Node object shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedNode {
    /// Its name.
    pub name: String,
    /// Its role by its labels, which a kubelet can't set on its own Node.
    pub role: NodeRole,
    /// Its report.
    pub report: FoundReport,
}

/// The report that a Node object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundReport {
    /// None.
    Absent,
    /// One that can't be used: why.
    Unreadable(String),
    /// This one. It may be false: each user who may change the Node can have written it, its
    /// kubelet among them.
    Read(Box<NodeReport>),
}

impl FoundReport {
    /// The report, where it can be used.
    #[must_use]
    pub fn read(&self) -> Option<&NodeReport> {
        match self {
            Self::Read(report) => Some(report),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_beginning_of_digest_and_round_trips() {
        let fingerprint = Fingerprint::from(Digest::of(b"abc"));
        assert_eq!(fingerprint.to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
        for wrong in ["", "BA7816BF8F01CFEA414140DE5DAE2223", "+a7816bf8f01cfea414140de5dae2223"] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
