//! Waiting: a service is looked at again and again until it is as it should be, or the limit is
//! over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::error::StaleList;
use super::{Refreshing, Seen};
use crate::model::{CredentialName, Evidence, Freshness, Health, Instance, Presence, Service};

/// After so many looks there is more time between them.
const QUICK_LOOKS: u32 = 40;

/// How often it is looked whether the pass is to end.
const BEAT: Duration = Duration::from_millis(100);

/// What a service still lacks.
#[derive(Debug, PartialEq, Eq)]
pub enum Yet {
    /// It does not run, or nobody can say whether it does.
    Missing(String),
    /// It runs, and is not well.
    Unwell(String),
    /// It works with an earlier credential.
    Stale(StaleList),
    /// It can't be told which credential it works with.
    Unknown(String),
    /// It is not waited for any longer, because the pass is to end.
    Stopped,
}

impl Yet {
    /// In a few words.
    pub fn found(self) -> String {
        match self {
            Self::Missing(reason) | Self::Unwell(reason) | Self::Unknown(reason) => reason,
            Self::Stale(list) => format!("it works with an earlier {list}"),
            Self::Stopped => "kubecertd was stopped".to_owned(),
        }
    }
}

/// Looks until the judge is content, at least once; at the limit it is told what was lacking last.
pub async fn until<T>(
    with: &Refreshing<'_>,
    service: &Service,
    limit: Duration,
    mut judge: impl FnMut(&Seen) -> Result<T, Yet>,
) -> Result<T, Yet> {
    let looks = async {
        let deadline = Instant::now() + limit;
        let mut count: u32 = 0;
        loop {
            let yet = match look(with, service).await.and_then(|seen| judge(&seen)) {
                Ok(found) => return Ok(found),
                Err(yet) => yet,
            };
            let pause = if count < QUICK_LOOKS {
                with.limits.pause
            } else {
                with.limits.pause.saturating_mul(4)
            };
            if Instant::now() + pause > deadline {
                return Err(yet);
            }
            count = count.saturating_add(1);
            sleep(pause).await;
        }
    };
    unless_stopped(with.stop, looks).await.unwrap_or(Err(Yet::Stopped))
}

/// One look, which has its limit too.
pub async fn look(with: &Refreshing<'_>, service: &Service) -> Result<Seen, Yet> {
    let limit = with.limits.look;
    let over =
        |_| Yet::Missing(format!("it could not be looked at within {} s", limit.as_secs_f32()));
    timeout(limit, with.caller.look(service)).await.map_err(over)
}

/// Does something that can be left at any moment, unless the pass is to end.
pub async fn unless_stopped<T>(stop: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            sleep(BEAT).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}

/// What runs.
pub fn running(seen: &Seen) -> Result<&Instance, Yet> {
    match &seen.facts.presence {
        Presence::Running(instance) => Ok(instance),
        Presence::Absent => Err(Yet::Missing("it is not on this node".to_owned())),
        Presence::Down(reason) | Presence::Unknown(reason) => Err(Yet::Missing(reason.clone())),
        Presence::OutOfSight => Err(Yet::Missing("nobody can see it from here".to_owned())),
    }
}

/// Whether it is well. What can't be asked is taken to be.
pub fn well(seen: &Seen) -> Result<(), Yet> {
    match &seen.facts.health {
        Health::Unhealthy(reason) => Err(Yet::Unwell(reason.clone())),
        Health::Healthy | Health::NotAsked => Ok(()),
    }
}

/// Whether it works with what is on the disk, for these credentials; and the weakest evidence for
/// that, where there is any.
///
/// A process that was told to read its files again has not started anew: its start says nothing
/// then.
pub fn fresh(
    seen: &Seen,
    credentials: &[(CredentialName, String)],
    same_process: bool,
) -> Result<Option<Evidence>, Yet> {
    let mut stale = Vec::new();
    let mut unknown = None;
    let mut by = None;
    for (name, _) in credentials {
        match seen
            .freshness
            .iter()
            .find(|(credential, _)| credential == name)
            .map(|(_, freshness)| freshness)
        {
            Some(Freshness::Fresh(evidence)) => by = by.max(Some(*evidence)),
            Some(Freshness::Stale(Evidence::Started | Evidence::Told)) if same_process => {
                unknown = Some(format!("{name}: it does not show what it uses"))
            }
            Some(Freshness::Stale(evidence)) => stale.push((name.clone(), *evidence)),
            Some(Freshness::Lingering { .. } | Freshness::ByItself) => {}
            Some(Freshness::NotRunning) => unknown = Some("it does not run".to_owned()),
            Some(Freshness::Unknown(reason)) => unknown = Some(format!("{name}: {reason}")),
            None => unknown = Some(format!("{name}: nothing was found out about it")),
        }
    }
    match unknown {
        _ if !stale.is_empty() => Err(Yet::Stale(StaleList(stale))),
        Some(reason) => Err(Yet::Unknown(reason)),
        None => Ok(by),
    }
}
