//! Findings: faults of services that no step helps against, for alarms and operators.

use std::fmt;
use std::time::Duration;

use super::words::span;
use crate::model::{
    AbsolutePath, Condition, ContentName, CredentialName, Evidence, ServiceName, Timestamp,
};

/// How long kubelet may take to use a new certificate of its own that it reads again by itself.
pub(super) const KUBELET_TAKES: Duration = Duration::from_secs(600);

/// A fault of a service that an operator should know, and that no step helps against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It uses an outdated content after the restart for the new one.
    StillStale {
        /// The service.
        service: ServiceName,
        /// The content.
        content: ContentName,
        /// By what that is known.
        evidence: Evidence,
        /// When it was restarted.
        restarted: Timestamp,
    },
    /// It uses an outdated content, and the one on the disk can't be used: a restart would do harm.
    Worse {
        /// The service.
        service: ServiceName,
        /// The content.
        content: ContentName,
        /// What is wrong with the one on the disk.
        condition: Condition,
    },
    /// It does not work after its next start, so that it is not restarted.
    NeedsOneCertificate {
        /// The service.
        service: ServiceName,
        /// The file in which it needs exactly one certificate.
        file: AbsolutePath,
        /// How many are in it.
        count: usize,
    },
    /// It uses an outdated content, and the configuration does not say that it is restarted.
    ByHand {
        /// The service.
        service: ServiceName,
        /// The content.
        content: ContentName,
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
    /// Which content it uses can't be verified.
    Unknown {
        /// The service.
        service: ServiceName,
        /// The content.
        content: ContentName,
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
            Self::StillStale { service, content, evidence, restarted } => write!(
                f,
                "{service} still uses {} ({evidence}), although it was restarted for it at \
                 {restarted}: it is not restarted again",
                content.outdated()
            ),
            Self::Worse { service, content, condition } => {
                let present = match content {
                    ContentName::Credential(_) => "the one on the disk is",
                    ContentName::CaCertificates(_) => "those on the disk are",
                };
                write!(
                    f,
                    "{service} uses {}, and {present} {condition}: it is not refreshed",
                    content.outdated()
                )
            }
            Self::NeedsOneCertificate { service, file, count } => write!(
                f,
                "{service} needs exactly one certificate in {file}, which holds {count}: it signs \
                 nothing with them and does not work after a restart, so it is not restarted; \
                 give it a file with the one that fits its key alone (kube-controller-manager: \
                 --cluster-signing-cert-file)"
            ),
            Self::ByHand { service, content, evidence } => write!(
                f,
                "the static pod {service} uses {} ({evidence}), and the configuration does not \
                 list it: restart it by hand, or list it as [[service]]",
                content.outdated()
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
            Self::Unknown { service, content, reason } => {
                write!(f, "whether {service} uses the present {content} is not known: {reason}")
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
