//! Waiting: a service is observed repeatedly until it is as it should be, or the limit is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::error::StaleList;
use super::{Refreshing, ServiceObservation};
use crate::model::{ContentName, Evidence, Freshness, Health, Instance, Presence, Service};

/// After so many looks there is more time between them.
const MAX_QUICK_POLLS: u32 = 40;

/// How often it is looked whether the pass is to end.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The reason why a service is not yet as it should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// It does not run, or it is not known whether it does.
    Missing(String),
    /// It runs, and is not healthy.
    Unhealthy(String),
    /// It uses an earlier content.
    Stale(StaleList),
    /// It is not known which content it uses.
    Unknown(String),
    /// It is not waited for any longer, because the pass is to end.
    Stopped,
}

impl Shortfall {
    /// In a few words.
    pub fn found(self) -> String {
        match self {
            Self::Missing(reason) | Self::Unhealthy(reason) | Self::Unknown(reason) => reason,
            Self::Stale(list) => format!("it uses {list}"),
            Self::Stopped => "kubecertd was stopped".to_owned(),
        }
    }
}

/// Observes the service, at least once, until the judge accepts the observation. At the limit the
/// error is the last shortfall.
pub async fn until<T>(
    with: &Refreshing<'_>,
    service: &Service,
    limit: Duration,
    mut judge: impl FnMut(&ServiceObservation) -> Result<T, Shortfall>,
) -> Result<T, Shortfall> {
    let looks = async {
        let deadline = Instant::now() + limit;
        let mut count: u32 = 0;
        loop {
            let shortfall = match look(with, service).await.and_then(|seen| judge(&seen)) {
                Ok(found) => return Ok(found),
                Err(shortfall) => shortfall,
            };
            let pause = if count < MAX_QUICK_POLLS {
                with.limits.pause
            } else {
                with.limits.pause.saturating_mul(4)
            };
            if Instant::now() + pause > deadline {
                return Err(shortfall);
            }
            count = count.saturating_add(1);
            sleep(pause).await;
        }
    };
    unless_stopped(with.stop, looks).await.unwrap_or(Err(Shortfall::Stopped))
}

/// One look, which has its limit too.
pub async fn look(
    with: &Refreshing<'_>,
    service: &Service,
) -> Result<ServiceObservation, Shortfall> {
    let limit = with.limits.look;
    let over = |_| {
        Shortfall::Missing(format!("it could not be observed within {} s", limit.as_secs_f32()))
    };
    timeout(limit, with.caller.look(service)).await.map_err(over)
}

/// Does something that can be left at any moment, unless the pass is to end.
pub async fn unless_stopped<T>(stop: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            sleep(STOP_POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}

/// Returns the running instance.
pub fn running(seen: &ServiceObservation) -> Result<&Instance, Shortfall> {
    match &seen.facts.presence {
        Presence::Running(instance) => Ok(instance),
        Presence::Absent => Err(Shortfall::Missing("it is not on this node".to_owned())),
        Presence::Down(reason) | Presence::Unknown(reason) => {
            Err(Shortfall::Missing(reason.clone()))
        }
        Presence::OutOfSight => {
            Err(Shortfall::Missing("it can't be observed from here".to_owned()))
        }
    }
}

/// Checks that it is healthy. A service that has no health check counts as healthy.
pub fn healthy(seen: &ServiceObservation) -> Result<(), Shortfall> {
    match &seen.facts.health {
        Health::Unhealthy(reason) => Err(Shortfall::Unhealthy(reason.clone())),
        Health::Healthy | Health::NotAsked => Ok(()),
    }
}

/// Whether it works with what is on the disk, for these contents; and the weakest evidence for
/// that, where there is any.
///
/// A process that was signalled to read its files again did not restart, so its start time proves
/// nothing then.
pub fn fresh(
    seen: &ServiceObservation,
    contents: &[(ContentName, String)],
    same_process: bool,
) -> Result<Option<Evidence>, Shortfall> {
    let mut stale = Vec::new();
    let mut unknown = None;
    let mut by = None;
    for (name, _) in contents {
        match seen
            .freshness
            .iter()
            .find(|(content, _)| content == name)
            .map(|(_, freshness)| freshness)
        {
            Some(Freshness::Fresh(evidence)) => by = by.max(Some(*evidence)),
            Some(Freshness::Stale(Evidence::Started | Evidence::ReloadRequest)) if same_process => {
                unknown = Some(format!("{name}: nothing shows which one it uses"))
            }
            Some(Freshness::Stale(evidence)) => stale.push((name.clone(), *evidence)),
            Some(Freshness::Lingering { .. } | Freshness::ByItself) => {}
            Some(Freshness::NotRunning) => unknown = Some("it does not run".to_owned()),
            Some(Freshness::Unknown(reason)) => unknown = Some(format!("{name}: {reason}")),
            None => unknown = Some(format!("{name}: it was not observed")),
        }
    }
    match unknown {
        _ if !stale.is_empty() => Err(Shortfall::Stale(StaleList(stale))),
        Some(reason) => Err(Shortfall::Unknown(reason)),
        None => Ok(by),
    }
}
