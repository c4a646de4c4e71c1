//! Refresh: services are made to work with the credentials that are on the disk, and are seen to.
//!
//! One service at a time, in the order given, each healthy before the next. What is to be done was
//! decided elsewhere, and how a service is looked at is the caller's knowledge; here it is done,
//! and waited for. Nothing that is waited for needs the waiting: kubelet and systemd finish what
//! was begun, so that the pass can end at any moment and no service stays down for it.

mod command;
mod connections;
mod error;
mod how;
mod pod;
mod process;
#[cfg(test)]
mod tests;
mod turn;
mod unit;
mod wait;

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use error::{RefreshError, StaleList};

use self::turn::Turn;
use crate::model::{
    CredentialName, Evidence, Freshness, RefreshStep, Service, ServiceFacts, ServiceName,
};
use crate::sys::{Clock, Root};

/// What is known of a service at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was found.
    pub facts: ServiceFacts,
    /// What is thought of it, for each credential that it uses.
    pub freshness: Vec<(CredentialName, Freshness)>,
}

/// What comes after a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Who ordered the refresh, and is asked while it goes on.
pub trait Caller {
    /// What is true of a service now.
    fn look<'a>(&'a self, service: &'a Service) -> Answer<'a, Seen>;

    /// Asked right before a service is restarted, or told in whatever way its kind is; an `Err`
    /// says why that may not be. After an `Ok` it is done, so this is the moment to write it down;
    /// where nothing came of it, [`RefreshOutcome::restarted`] says so in the end.
    fn may_restart<'a>(&'a self, step: &'a RefreshStep) -> Answer<'a, Result<(), String>>;

    /// Called when a step is over.
    fn finished(&self, outcome: &RefreshOutcome);
}

/// What a refresh needs.
#[derive(Clone, Copy)]
pub struct Refreshing<'a> {
    /// Who is asked.
    pub caller: &'a dyn Caller,
    /// The root folder, for pid files and /proc.
    pub root: &'a Root,
    /// The time, for the age of pid files.
    pub clock: &'a dyn Clock,
    /// The container runtime's socket.
    pub runtime: &'a Path,
    /// The service that starts static pods: while it is not at work, none is stopped. `None` where
    /// it can't be looked at.
    pub kubelet: Option<&'a Service>,
    /// The remote port of the connections that may have to be closed.
    pub remote_port: u16,
    /// How long what may take.
    pub limits: Limits,
    /// Set from outside when the pass is to end.
    pub stop: &'a AtomicBool,
}

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one call to the container runtime or systemd.
    pub call: Duration,
    /// For one look at a service.
    pub look: Duration,
    /// Between two looks, at first; four times as much after the first forty.
    pub pause: Duration,
    /// Until a service has taken what it takes by itself.
    pub takes: Duration,
    /// Until kubelet has started a successor.
    pub successor: Duration,
    /// Until a service that runs again is healthy and shows the new credential.
    pub well: Duration,
    /// Until one that is healthy shows which credential it uses, where that can't be told at once.
    pub proof: Duration,
    /// For a job of systemd.
    pub job: Duration,
}

impl Limits {
    /// For a real node.
    pub const USUAL: Self = Self {
        call: Duration::from_secs(10),
        // A look asks for health and serves a TLS handshake or two, each of which has a limit of
        // its own.
        look: Duration::from_secs(20),
        pause: Duration::from_millis(250),
        // The API server of 1.20 reads its certificates once a minute, newer ones at once.
        takes: Duration::from_secs(90),
        // At once the first time; 15 to 21 s were measured where it is the second time within
        // minutes, and kubelet doubles that each time.
        successor: Duration::from_secs(120),
        // The API server was ready 5 to 7 s after its start; a node under load takes several times
        // as long.
        well: Duration::from_secs(60),
        proof: Duration::from_secs(10),
        // systemd's own limits for stopping and starting are 90 s each; a unit that needs more than
        // one of them is not well.
        job: Duration::from_secs(120),
    };
}

/// What became of one step.
#[derive(Debug)]
pub struct RefreshOutcome {
    /// The service.
    pub service: ServiceName,
    /// Whether it was restarted or told, or may have been, well or not: that counts as the one
    /// time.
    pub restarted: bool,
    /// How it ended.
    pub result: Result<Refreshed, RefreshError>,
}

impl RefreshOutcome {
    /// What went wrong; that it has to wait for a restart is nothing wrong.
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
        /// By what that is known; `None` where nobody can see it.
        by: Option<Evidence>,
    },
    /// It was restarted, or told in the way of its kind.
    Restarted {
        /// How long all of it took.
        after: Duration,
        /// How long it was not healthy.
        unready: Duration,
        /// By what it is known to work with the new credentials; `None` where nobody can see it.
        by: Option<Evidence>,
        /// Why, where something gentler was tried first.
        instead: Option<String>,
        /// It was unhealthy before, and is for this reason now.
        unwell: Option<String>,
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
            by.map_or_else(|| "which nobody can see".to_owned(), |by| format!("known {by}"))
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
            Self::Restarted { after, unready, by: evidence, instead, unwell } => {
                if unready.is_zero() {
                    write!(f, "it was told, and after {:.1} s ", after.as_secs_f32())?;
                } else {
                    write!(
                        f,
                        "it was restarted, was not ready for {:.1} s, and ",
                        unready.as_secs_f32()
                    )?;
                }
                write!(f, "works with the new certificate, {}", by(evidence))?;
                instead.iter().try_for_each(|reason| write!(f, "; {reason}"))?;
                unwell.iter().try_for_each(|reason| {
                    write!(f, "; it was unhealthy before and still is: {reason}")
                })
            }
            Self::Closed { connections } => {
                write!(f, "{connections} connections that carried the old certificate were closed")
            }
        }
    }
}

/// Does what is to be done now, service by service.
///
/// A service that fails costs only itself, except an essential one that is not healthy afterwards:
/// what comes after it would be restarted in vain, and is left alone.
///
/// Needs a tokio runtime with its timers and its I/O enabled; one thread is enough.
pub async fn refresh(
    steps: &[RefreshStep],
    services: &[Service],
    with: &Refreshing<'_>,
) -> Vec<RefreshOutcome> {
    let mut outcomes = Vec::new();
    let mut unwell: Option<ServiceName> = None;
    for step in steps.iter().filter(|step| step.waits.is_none()) {
        let service = services.iter().find(|service| service.name == step.service);
        let (restarted, result) = match (service, &unwell) {
            _ if with.stop.load(Ordering::Relaxed) => (false, Err(RefreshError::Stopped)),
            (None, _) => (false, Err(RefreshError::NotInCatalog)),
            (Some(_), Some(because)) => {
                (false, Err(RefreshError::Skipped { because: because.clone() }))
            }
            (Some(service), None) => Turn::new(step, service, with).make().await,
        };
        if service.is_some_and(|service| service.essential.is_some())
            && restarted
            && is_unwell(&result)
        {
            unwell = Some(step.service.clone());
        }
        let outcome = RefreshOutcome { service: step.service.clone(), restarted, result };
        with.caller.finished(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

/// Waits for services that did not run to be well, one after the other: whoever starts them has
/// just been started again himself. What does not come back is for the next look to find.
pub async fn come_back(services: &[Service], limit: Duration, with: &Refreshing<'_>) {
    let all = async {
        for service in services {
            let well = |seen: &Seen| wait::running(seen).and_then(|_| wait::well(seen));
            let _ = wait::until(with, service, limit, well).await;
        }
    };
    let _ = tokio::time::timeout(limit, all).await;
}

/// One that is healthy and works with the old certificate holds nobody up.
fn is_unwell(result: &Result<Refreshed, RefreshError>) -> bool {
    match result {
        Ok(Refreshed::Restarted { unwell, .. }) => unwell.is_some(),
        Ok(Refreshed::TookIt { .. } | Refreshed::Closed { .. })
        | Err(RefreshError::StillStale(_)) => false,
        Err(_) => true,
    }
}
