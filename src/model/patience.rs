//! What can hold a pass back: a clock that can't be believed, and reasons to wait for a better
//! moment.

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
    /// What it said when it was last believed, if that is remembered.
    pub last_seen: Option<Timestamp>,
    /// Whether it is synchronised with other clocks. Unknown counts as not.
    pub synchronised: Option<bool>,
}

/// Whether the clock is right enough to sign by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It is.
    Believed,
    /// It may be off. What is issued by it begins with its authority, so that a clock that is ahead
    /// makes no certificate that is not yet valid.
    BelievedUnsynchronised,
    /// It is wrong, and nothing is signed: why, in words for an operator.
    NotBelieved(String),
}

/// What there is on the node that may be a reason to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldFacts {
    /// The process id of a running kubeadm.
    pub kubeadm: Option<u32>,
    /// The manifests, and when each was last changed.
    pub manifests: Vec<(AbsolutePath, Timestamp)>,
    /// What an operator asked for.
    pub asked: Option<AskedHold>,
}

/// An operator's wish that nothing is renewed for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedHold {
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A reason to wait with what can wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// kubeadm is changing the node.
    KubeadmRunning {
        /// Its process id.
        pid: u32,
    },
    /// Somebody has changed the node a moment ago.
    ManifestsChanged {
        /// The manifest that was changed last.
        file: AbsolutePath,
        /// When.
        at: Timestamp,
    },
    /// An operator said so.
    Asked(AskedHold),
    /// The daemon is new on this node and only looks, so that nobody is surprised by what it does.
    New {
        /// Until its first scheduled pass.
        until: Timestamp,
    },
}

impl Hold {
    /// When it ends, as far as that can be said.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::KubeadmRunning { .. } => None,
            Self::ManifestsChanged { at, .. } => Some(at.plus(QUIET)),
            Self::Asked(asked) => Some(asked.until),
            Self::New { until } => Some(*until),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubeadmRunning { pid } => {
                write!(f, "kubeadm is at work (process {pid}), until it ends")
            }
            Self::ManifestsChanged { file, at } => write!(
                f,
                "{file} was changed at {at}, and the node settles until {}",
                at.plus(QUIET)
            ),
            Self::Asked(AskedHold { until, reason }) => {
                write!(f, "an operator asked for it (kubecertd hold), until {until}: {reason}")
            }
            Self::New { until } => {
                write!(f, "kubecertd is new on this node and only looks until {until}")
            }
        }
    }
}

/// What holds a pass back at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brakes {
    /// What is thought of the clock.
    pub belief: Belief,
    /// The reasons to wait.
    pub holds: Vec<Hold>,
    /// What was refused and is not tried again yet.
    pub refused: Vec<Refused>,
    /// What ended so long ago, on one controller of several, that it takes an operator's word to
    /// revive it; and why, in words for him.
    pub long_gone: BTreeMap<CredentialName, String>,
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
             tried again after {}",
            self.until()
        )
    }
}

/// What kind of thing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A clock that can be believed.
    Clock,
    /// A better moment: see [`Hold`].
    Moment,
    /// Another day, after a server refused a new certificate.
    AnotherDay,
    /// An operator who says that the node still belongs to its cluster.
    Word,
}

/// A credential that would be issued now, and isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The credential.
    pub credential: CredentialName,
    /// What it waits for, by its kind.
    pub awaits: Awaited,
    /// What it waits for, in words for an operator.
    pub reason: String,
    /// When that ends, as far as it can be said.
    pub until: Option<Timestamp>,
    /// From when on it is urgent and waits no longer; `None` where no time helps, as with a clock
    /// that can't be believed.
    pub urgent_from: Option<Timestamp>,
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.urgent_from {
            Some(urgent_from) => {
                write!(f, "waits: {}; from {urgent_from} on it goes ahead in any case", self.reason)
            }
            None => write!(f, "waits: {}", self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_what_is_waited_for_and_until_when() {
        let at = Timestamp::from_seconds(1_795_219_200);
        let file = AbsolutePath::constant("/etc/kubernetes/manifests/etcd.yaml");
        let asked = AskedHold { until: at, reason: "upgrade on Sunday".to_owned() };
        let holds = [
            Hold::KubeadmRunning { pid: 4711 },
            Hold::ManifestsChanged { file, at },
            Hold::Asked(asked),
        ];
        assert_eq!(
            holds.map(|hold| hold.to_string()),
            [
                "kubeadm is at work (process 4711), until it ends",
                "/etc/kubernetes/manifests/etcd.yaml was changed at 2026-11-21T00:00:00Z, and the \
                 node settles until 2026-11-21T00:15:00Z",
                "an operator asked for it (kubecertd hold), until 2026-11-21T00:00:00Z: upgrade on \
                 Sunday",
            ]
        );
    }

    #[test]
    fn what_waits_says_when_it_waits_no_longer() {
        let credential = CredentialName::new("apiserver").unwrap();
        let (awaits, reason, until) = (Awaited::Moment, "a good reason".to_owned(), None);
        let mut deferred = Deferred {
            credential,
            awaits,
            reason,
            until,
            urgent_from: Some(Timestamp::from_seconds(0)),
        };
        assert_eq!(
            deferred.to_string(),
            "waits: a good reason; from 1970-01-01T00:00:00Z on it goes ahead in any case"
        );
        deferred.urgent_from = None;
        assert_eq!(deferred.to_string(), "waits: a good reason");
    }
}
