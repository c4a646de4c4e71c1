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

/// A service that works with the new credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It took them by itself.
    TookIt {
        /// How long it was waited for.
        after: Duration,
        /// By what that is known; `None` where it can't be verified.
        by: Option<Evidence>,
    },
    /// It was restarted, or reloaded in the way of its kind.
    Restarted {
        /// How long all of it took.
        after: Duration,
        /// How long it was not healthy.
        unready: Duration,
        /// By what it is known to work with the new credentials; `None` where it can't be verified.
        by: Option<Evidence>,
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

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |by: &Option<Evidence>| {
            by.map_or_else(|| "which can't be verified".to_owned(), |by| format!("known {by}"))
        };
        match self {
            Self::TookIt { after, by: evidence } => {
                write!(
                    f,
                    "it took the new certificate by itself within {:.1} s, {}",
                    after.as_secs_f32(),
                    by(evidence)
                )
            }
            Self::Restarted { after, unready, by: evidence, instead, unhealthy } => {
                if unready.is_zero() {
                    write!(f, "it was refreshed, and after {:.1} s ", after.as_secs_f32())?;
                } else {
                    write!(
                        f,
                        "it was restarted, was not ready for {:.1} s, and ",
                        unready.as_secs_f32()
                    )?;
                }
                write!(f, "works with the new certificate, {}", by(evidence))?;
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
