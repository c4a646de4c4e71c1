//! The outcome of a refresh of one service.

use std::fmt;
use std::time::Duration;

use super::error::RefreshError;
use crate::model::{Evidence, ServiceName};

/// The outcome of one refresh step.
#[derive(Debug)]
pub struct RefreshOutcome {
    /// The service.
    pub service: ServiceName,
    /// Whether it was restarted or signalled, or may have been, healthy or not: that counts as the
    /// one time.
    pub restarted: bool,
    /// The result.
    pub result: Result<Refreshed, RefreshError>,
}

impl RefreshOutcome {
    /// The error, if any. A restart that has to wait is not an error.
    #[must_use]
    pub fn failure(&self) -> Option<&RefreshError> {
        self.result.as_ref().err().filter(|error| !matches!(error, RefreshError::Held(_)))
    }
}

/// A service that was refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It reloads the credential by itself.
    Reloaded {
        /// How long it was waited for.
        after: Duration,
        /// Whether it uses the new one.
        uptake: Uptake,
    },
    /// It was restarted, or reloaded in the way of its kind.
    Restarted {
        /// How long all of it took.
        after: Duration,
        /// How long it was not healthy; zero where the process stays the same.
        unready: Duration,
        /// Whether it uses the new one.
        uptake: Uptake,
        /// Why, where something gentler was tried first.
        instead: Option<String>,
        /// It was unhealthy before, and is for this reason now.
        unhealthy: Option<String>,
    },
    /// Connections that carried the old one were closed.
    Closed {
        /// How many.
        connections: usize,
    },
}

/// Whether a refreshed service uses the new credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uptake {
    /// It does, by this evidence.
    Verified(Evidence),
    /// That can't be verified, for this reason.
    Unverified(&'static str),
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloaded { after, uptake: Uptake::Verified(evidence) } => write!(
                f,
                "uses the new certificate after {:.1} s, without a restart (verified: {evidence})",
                after.as_secs_f32()
            ),
            Self::Reloaded { uptake: Uptake::Unverified(reason), .. } => {
                write!(f, "reloads by itself; uptake can't be verified ({reason})")
            }
            Self::Restarted { after, unready, uptake, instead, unhealthy } => {
                match (unready.is_zero(), uptake) {
                    (false, _) => {
                        write!(f, "restarted, was not ready for {:.1} s", unready.as_secs_f32())
                    }
                    (true, Uptake::Verified(_)) => {
                        write!(f, "reloaded in {:.1} s", after.as_secs_f32())
                    }
                    (true, Uptake::Unverified(_)) => write!(f, "reload sent"),
                }?;
                match uptake {
                    Uptake::Verified(evidence) => {
                        write!(f, ", uses the new certificate (verified: {evidence})")
                    }
                    Uptake::Unverified(reason) => {
                        write!(f, "; uptake can't be verified ({reason})")
                    }
                }?;
                instead.iter().try_for_each(|reason| write!(f, "; {reason}"))?;
                unhealthy.iter().try_for_each(|reason| {
                    write!(f, "; it was unhealthy before and still is: {reason}")
                })
            }
            Self::Closed { connections } => {
                write!(f, "{connections} connections that carried the old certificate were closed")
            }
        }
    }
}
