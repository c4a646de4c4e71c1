//! Findings: faults of services that no step helps against, for alarms and operators.

use std::fmt;
use std::time::Duration;

use super::words::span;
use crate::model::{Condition, CredentialName, Evidence, ServiceName, Timestamp};

/// How long kubelet may take to use a new certificate of its own that it reads again by itself.
pub(super) const KUBELET_TAKES: Duration = Duration::from_secs(600);

/// A fault of a service that an operator should know, and that no step helps against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It uses an outdated certificate after the restart for the new one.
    StillStale {
        /// The service.
        service: ServiceName,
        /// The credential.
        credential: CredentialName,
        /// By what that is known.
        evidence: Evidence,
        /// When it was restarted.
        restarted: Timestamp,
    },
    /// It uses an outdated certificate, and the one on the disk can't be used: a restart would do
    /// harm.
    Worse {
        /// The service.
        service: ServiceName,
        /// The credential.
        credential: CredentialName,
        /// What is wrong with the one on the disk.
        condition: Condition,
    },
    /// It uses an outdated certificate, and the configuration does not say that it is restarted.
    ByHand {
        /// The service.
        service: ServiceName,
        /// The credential.
        credential: CredentialName,
        /// By what that is known.
        evidence: Evidence,
    },
    /// It uses an outdated certificate of a credential that kubelet renews; kubelet is not
    /// restarted for it.
    LeftToKubelet {
        /// The service.
        service: ServiceName,
        /// The credential.
        credential: CredentialName,
        /// Whether the new one has been there for longer than kubelet needs to take it.
        overdue: bool,
    },
    /// Which certificate it uses can't be verified.
    Unknown {
        /// The service.
        service: ServiceName,
        /// The credential.
        credential: CredentialName,
        /// Why.
        reason: String,
    },
    /// It does not run, and should.
    Down {
        /// The service.
        service: ServiceName,
        /// What was found.
        reason: String,
    },
    /// Whether it runs is not known.
    Unseen {
        /// The service.
        service: ServiceName,
        /// Why.
        reason: String,
    },
    /// The very process that was to be restarted for its age still runs.
    StillOld {
        /// The service.
        service: ServiceName,
        /// How long it has been running.
        age: Duration,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillStale { service, credential, evidence, restarted } => write!(
                f,
                "{service} still uses an outdated {credential} ({evidence}), although it was \
                 restarted for it at {restarted}: it is not restarted again"
            ),
            Self::Worse { service, credential, condition } => {
                write!(
                    f,
                    "{service} uses an outdated {credential}, and the one on the disk is \
                     {condition}: it is not refreshed"
                )
            }
            Self::ByHand { service, credential, evidence } => write!(
                f,
                "the static pod {service} uses an outdated {credential} ({evidence}), and the \
                 configuration does not list it: restart it by hand, or list it as [[service]]"
            ),
            Self::LeftToKubelet { service, credential, overdue: false } => {
                write!(
                    f,
                    "{service} uses an outdated {credential}: kubelet reloads the new one by \
                     itself; if it does not within some minutes, run systemctl restart kubelet"
                )
            }
            Self::LeftToKubelet { service, credential, overdue: true } => {
                write!(
                    f,
                    "{service} still uses an outdated {credential}, and kubelet has not reloaded \
                     the new one within {}: run systemctl restart kubelet",
                    span(KUBELET_TAKES)
                )
            }
            Self::Unknown { service, credential, reason } => {
                write!(f, "whether {service} uses the present {credential} is not known: {reason}")
            }
            Self::Down { service, reason } => write!(f, "{service} does not run: {reason}"),
            Self::Unseen { service, reason } => {
                write!(f, "whether {service} runs is not known: {reason}")
            }
            Self::StillOld { service, age } => {
                write!(
                    f,
                    "{service} has been running for {}, though it was to be restarted for it: it \
                     is not restarted again",
                    span(*age)
                )
            }
        }
    }
}
