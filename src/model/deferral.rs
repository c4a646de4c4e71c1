//! What can defer a renewal: a clock that is not trusted, and reasons to wait.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AbsolutePath, CredentialName, Timestamp};

/// How long a node gets to settle after one of its manifests was changed.
pub const QUIET: Duration = Duration::from_secs(15 * 60);

/// How long a renewal waits that ended in a refusal.
const TRY_AGAIN: Duration = super::days(1);

/// What is known of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFacts {
    /// What it says.
    pub now: Timestamp,
    /// What it said when it was last trusted, if that is remembered.
    pub last_seen: Option<Timestamp>,
    /// Whether it is synchronised with other clocks. Unknown counts as not.
    pub synchronised: Option<bool>,
}

/// Whether the clock may be used for signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// It may.
    Trusted,
    /// It may, but is not synchronised and may be ahead. What is issued by it begins with its
    /// authority, so that no certificate is made that is not yet valid.
    TrustedUnsynchronised,
    /// It may not, and nothing is signed: why, in words for an operator.
    NotTrusted(String),
}

/// What there is on the node that may be a reason to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeferralFacts {
    /// The process id of a running kubeadm.
    pub kubeadm: Option<u32>,
    /// The manifests, and when each was last changed.
    pub manifests: Vec<(AbsolutePath, Timestamp)>,
    /// What an operator asked for.
    pub asked: Option<Hold>,
}

/// An operator's hold: nothing is renewed for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A reason to defer what is not urgent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeferralReason {
    /// kubeadm is changing the node.
    KubeadmRunning {
        /// Its process id.
        pid: u32,
    },
    /// The node was changed a short time ago.
    ManifestsChanged {
        /// The manifest that was changed last.
        file: AbsolutePath,
        /// When.
        at: Timestamp,
    },
    /// An operator asked for it.
    Hold(Hold),
    /// The daemon is new on this node and only observes, so that its first actions surprise no
    /// operator.
    New {
        /// Until its first scheduled pass.
        until: Timestamp,
    },
}

impl DeferralReason {
    /// When it ends, as far as that can be said.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::KubeadmRunning { .. } => None,
            Self::ManifestsChanged { at, .. } => Some(at.plus(QUIET)),
            Self::Hold(asked) => Some(asked.until),
            Self::New { until } => Some(*until),
        }
    }
}

impl fmt::Display for DeferralReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubeadmRunning { pid } => {
                write!(f, "kubeadm is running (process {pid})")
            }
            Self::ManifestsChanged { file, at } => {
                write!(
                    f,
                    "{file} was changed at {at}; renewals are deferred until {}",
                    at.plus(QUIET)
                )
            }
            Self::Hold(Hold { until, reason }) => {
                write!(f, "hold (operator) until {until}: {reason}")
            }
            Self::New { until } => {
                write!(f, "kubecertd is new on this node and only checks until {until}")
            }
        }
    }
}

/// What limits a pass at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// Whether the clock is trusted.
    pub clock_trust: ClockTrust,
    /// The reasons to defer.
    pub reasons: Vec<DeferralReason>,
    /// What was refused and is not tried again yet.
    pub refused: Vec<Refused>,
    /// What expired so long ago, on one control-plane node of several, that only an operator may
    /// have it renewed; and why, in words for the operator.
    pub long_expired: BTreeMap<CredentialName, String>,
}

/// A new certificate that the server which looks at it refused, while it accepted the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The credential.
    pub credential: CredentialName,
    /// SHA-256, in hex, of the certificate that is in place: the old one. Beside any other the
    /// refusal means nothing any more.
    pub fingerprint: String,
    /// The server.
    pub server: String,
    /// What it said.
    pub answer: String,
    /// When.
    pub at: Timestamp,
}

impl Refused {
    /// From when on it is worth trying again.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.at.plus(TRY_AGAIN)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, answer, at, .. } = self;
        write!(
            f,
            "{server} refused a new certificate at {at} ({answer}) and accepts the old one: it is \
             retried after {}",
            self.until()
        )
    }
}

/// What a deferred renewal waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A clock that is trusted.
    Clock,
    /// The end of a [`DeferralReason`].
    Moment,
    /// Another day, after a server refused a new certificate.
    AnotherDay,
    /// An operator's word that the node still belongs to its cluster, or that of etcd's other
    /// members.
    Word,
}

/// A credential that would be issued now, and isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// The credential.
    pub credential: CredentialName,
    /// What it waits for, by its kind.
    pub awaits: Awaited,
    /// What it waits for, in words for an operator.
    pub reason: String,
    /// When that ends, as far as it can be said.
    pub until: Option<Timestamp>,
    /// From when on it is urgent and waits no longer; `None` where no time helps, as with a clock
    /// that is not trusted.
    pub urgent_from: Option<Timestamp>,
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.urgent_from {
            Some(urgent_from) => {
                write!(f, "{}; renewed in any case from {urgent_from} on", self.reason)
            }
            None => f.write_str(&self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferral_reasons_display_their_end() {
        let at = Timestamp::from_seconds(1_795_219_200);
        let file = AbsolutePath::constant("/etc/kubernetes/manifests/etcd.yaml");
        let asked = Hold { until: at, reason: "upgrade on Sunday".to_owned() };
        let holds = [
            DeferralReason::KubeadmRunning { pid: 4711 },
            DeferralReason::ManifestsChanged { file, at },
            DeferralReason::Hold(asked),
        ];
        assert_eq!(
            holds.map(|hold| hold.to_string()),
            [
                "kubeadm is running (process 4711)",
                "/etc/kubernetes/manifests/etcd.yaml was changed at 2026-11-21T00:00:00Z; \
                 renewals are deferred until 2026-11-21T00:15:00Z",
                "hold (operator) until 2026-11-21T00:00:00Z: upgrade on \
                 Sunday",
            ]
        );
    }

    #[test]
    fn deferral_displays_when_it_becomes_urgent() {
        let credential = CredentialName::new("apiserver").unwrap();
        let (awaits, reason, until) = (Awaited::Moment, "a good reason".to_owned(), None);
        let mut deferred = Deferral {
            credential,
            awaits,
            reason,
            until,
            urgent_from: Some(Timestamp::from_seconds(0)),
        };
        assert_eq!(
            deferred.to_string(),
            "a good reason; renewed in any case from 1970-01-01T00:00:00Z on"
        );
        deferred.urgent_from = None;
        assert_eq!(deferred.to_string(), "a good reason");
    }
}
