//! Alarms: conditions that an operator has to act on, delivered once when raised and once when
//! cleared.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CredentialName, Fingerprint, ServiceName, SharedFile, Timestamp};

/// How bad it is. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is wrong yet.
    Warning,
    /// It can wait for working hours.
    Minor,
    /// It can wait for an hour.
    Major,
    /// Something does not work any more, or is about to.
    Critical,
}

impl Severity {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! alarm_kinds {
    ($($(#[$doc:meta])* $kind:ident = $id:literal, $severity:ident $(, $number:literal)?;)*) => {
        /// What an alarm is about. `docs/alarms.md` lists them all; a test holds the two together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AlarmKind { $($(#[$doc])* $kind),* }

        impl AlarmKind {
            /// All of them, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The stable name for scripts and dashboards.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$kind => $id),* }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity),* }
            }

            /// The alarm of StarlingX that it is, where there is one.
            #[must_use]
            pub fn number(self) -> Option<&'static str> {
                match self { $(Self::$kind => None$(.or(Some($number)))?),* }
            }
        }
    };
}

alarm_kinds! {
    /// A credential was to be renewed, and was not; or something is wrong with it that needs an
    /// operator.
    RenewalFailed = "renewal-failed", Major, "250.003";
    /// Everything is renewed, and a service does not use it.
    ServicesNotUpdated = "services-not-updated", Major, "250.003";
    /// A certificate has expired.
    Expired = "expired", Critical, "500.210";
    /// A certificate expires soon, and was not renewed in time or can't be.
    ExpiringSoon = "expiring-soon", Major, "500.200";
    /// A pass could not be made at all.
    PassFailed = "pass-failed", Major;
    /// Nothing is signed, because the clock is not trusted.
    ClockNotTrusted = "clock-not-believed", Major;
    /// Certificates expire soon that only the holder of their CA's key can renew.
    AuthorityExternal = "authority-external", Major;
    /// A root above an intermediate CA admits the clients of all CAs below the root.
    RootAdmitsOthers = "root-admits-others", Major;
    /// Certificates expired long ago on one control-plane node of several, and are not renewed
    /// without an operator's word.
    LongExpired = "not-revived", Major;
    /// A reason to wait lasts.
    HeldTooLong = "held-too-long", Minor;
    /// The configuration on disk is wrong, and an earlier one is in force.
    ConfigurationRefused = "configuration-refused", Minor;
    /// The schedule is so rare that a certificate can expire between two passes.
    ScheduleTooRare = "schedule-too-rare", Minor;
    /// Users other than root can have changed the files in the state directory.
    NotTrusted = "not-trusted", Major;
    /// A certificate is not valid for a name or an address that it is served at.
    NamesDiffer = "names-differ", Minor;
    /// A kubeconfig does not trust the API server, or will not when its CA certificates expire.
    KubeconfigTrust = "kubeconfig-trust", Major;
    /// A copy of a credential is not up to date.
    CopyNotUpdated = "copy-not-updated", Minor;
    /// A manifest does not say which certificates a control-plane pod uses.
    ManifestUnclear = "manifest-unclear", Major;
    /// Something else renews the same certificates on a schedule of its own.
    OtherRenewer = "other-renewer", Warning;
    /// The root CA is being replaced, or renewed on all nodes.
    RootCaUpdate = "root-ca-update", Minor, "900.008";
    /// The replacement or renewal of the root CA needs an operator.
    RootCaBlocked = "root-ca-blocked", Major;
    /// What all control-plane nodes have in common is not the same on all of them.
    NodesDiffer = "nodes-differ", Major;
    /// The node's clock differs from that of the API server.
    ClockDiffers = "clock-differs", Minor;
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for AlarmKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for AlarmKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|kind| kind.id() == id);
        known.copied().ok_or_else(|| serde::de::Error::custom(format!("there is no alarm {id:?}")))
    }
}

/// An alarm that is in force, identified by its kind and entity. The rest may change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// What it is raised on: `host=controller-0`, or `system.certificate.etcd-ca`.
    pub entity: String,
    /// The credentials, authorities, services or files that it is about.
    pub about: Vec<String>,
    /// What is wrong, in one sentence.
    pub text: String,
    /// Why, as far as it is known.
    pub reason: String,
    /// What an operator should do about it.
    pub repair: String,
    /// Since when it is in force.
    pub raised: Timestamp,
}

impl Alarm {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> (AlarmKind, &str) {
        (self.kind, &self.entity)
    }

    /// Whether it need not be delivered again after the other one. A change of the reason alone is
    /// no change: an error may come in other words each time.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.key() == other.key() && self.text == other.text && self.about == other.about
    }
}

/// What happened to an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmEvent {
    /// It is in force now.
    Raised(Alarm),
    /// It was in force before, and is about something more, or less.
    Changed(Alarm),
    /// It is no longer in force.
    Cleared(Alarm),
}

impl AlarmEvent {
    /// The alarm.
    #[must_use]
    pub fn alarm(&self) -> &Alarm {
        match self {
            Self::Raised(alarm) | Self::Changed(alarm) | Self::Cleared(alarm) => alarm,
        }
    }

    /// The word used in output.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Raised(_) => "raised",
            Self::Changed(_) => "changed",
            Self::Cleared(_) => "cleared",
        }
    }
}

/// What alarms rest on besides what there is to be seen: what went wrong earlier and was not seen
/// to be right since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmMemory {
    /// Credentials whose renewal failed, and why.
    pub failed: BTreeMap<CredentialName, String>,
    /// Services that do not use what was renewed, and why.
    pub not_updated: BTreeMap<ServiceName, String>,
    /// A running kubeadm, and since when.
    pub kubeadm: Option<LongHold>,
    /// What differs between control-plane nodes, and since when.
    pub differing: BTreeMap<SharedFile, LongDifference>,
}

/// A difference between control-plane nodes, which is a passing one while they are changed one
/// after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongDifference {
    /// The fingerprints that were found, in their order.
    pub fingerprints: Vec<Fingerprint>,
    /// When it was first found.
    pub since: Timestamp,
}

/// A running kubeadm, which is a reason to wait without an end of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongHold {
    /// The process.
    pub pid: u32,
    /// When it was first seen.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_ids_are_unique_and_round_trip() {
        for (index, kind) in AlarmKind::ALL.iter().enumerate() {
            assert_eq!(
                AlarmKind::ALL.iter().position(|other| other.id() == kind.id()),
                Some(index),
                "{kind}"
            );
            assert_eq!(
                serde_json::from_str::<AlarmKind>(&serde_json::to_string(kind).unwrap()).unwrap(),
                *kind
            );
        }
        assert!(serde_json::from_str::<AlarmKind>("\"fire\"").is_err());
    }

    #[test]
    fn alarm_numbers_equal_those_of_starlingx() {
        let numbers: Vec<_> = AlarmKind::ALL
            .iter()
            .filter_map(|kind| Some((kind.id(), kind.number()?, kind.severity().as_str())))
            .collect();
        assert_eq!(
            numbers,
            [
                ("renewal-failed", "250.003", "major"),
                ("services-not-updated", "250.003", "major"),
                ("expired", "500.210", "critical"),
                ("expiring-soon", "500.200", "major"),
                ("root-ca-update", "900.008", "minor"),
            ]
        );
    }
}
