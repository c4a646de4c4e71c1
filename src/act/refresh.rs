//! Refresh: makes services use the credentials on the disk, and verifies that they do.
//!
//! Services are refreshed one at a time, in the order of the steps, each healthy before the next.
//! The plan decides the steps, and the caller observes the services; this module carries out the
//! steps and waits. kubelet and systemd complete a restart without kubecertd, so the pass can stop
//! at any time and no service stays down because of it.

mod caller;
mod command;
mod connections;
mod error;
mod how;
mod outcome;
mod pod;
mod process;
#[cfg(test)]
mod tests;
mod turn;
mod unit;
mod wait;

use std::sync::atomic::Ordering;
use std::time::Duration;

pub use self::caller::{BoxFuture, Caller, Limits, Permission, Refreshing, ServiceObservation};
pub use self::error::{RefreshError, StaleList};
pub use self::outcome::{RefreshOutcome, Refreshed, Uptake};
use self::turn::Turn;
pub use self::wait::unless_stopped;
use crate::model::{RefreshStep, Service, ServiceName};

/// Carries out the refresh steps, one service after the other.
///
/// A failure affects only its own service, except that of an essential one that is not healthy
/// afterwards: a restart of the services after it would not help, so they are skipped.
///
/// Needs a tokio runtime with its timers and its I/O enabled; one thread is enough.
pub async fn refresh(
    steps: &[RefreshStep],
    services: &[Service],
    with: &Refreshing<'_>,
) -> Vec<RefreshOutcome> {
    let mut outcomes = Vec::new();
    let mut unhealthy: Option<ServiceName> = None;
    for step in steps.iter().filter(|step| step.waits.is_none()) {
        let service = services.iter().find(|service| service.name == step.service);
        let (restarted, result) = match (service, &unhealthy) {
            _ if with.stop.load(Ordering::Relaxed) => (false, Err(RefreshError::Stopped)),
            (None, _) => (false, Err(RefreshError::NotInCatalog)),
            (Some(_), Some(because)) => {
                (false, Err(RefreshError::Skipped { because: because.clone() }))
            }
            (Some(service), None) => Turn::new(step, service, with).make().await,
        };
        let healthy = !restarted || !is_unhealthy(&result);
        if service.is_some_and(|service| service.essential.is_some()) && !healthy {
            unhealthy = Some(step.service.clone());
        }
        let outcome = RefreshOutcome { service: step.service.clone(), restarted, result };
        with.caller.finished(&outcome, healthy).await;
        outcomes.push(outcome);
    }
    outcomes
}

/// Waits until services that did not run are healthy, one after the other: the service that
/// starts them was itself just restarted. The next look finds those that stay down.
pub async fn await_healthy(services: &[Service], limit: Duration, with: &Refreshing<'_>) {
    let all = async {
        for service in services {
            let healthy =
                |seen: &ServiceObservation| wait::running(seen).and_then(|_| wait::healthy(seen));
            let _ = wait::until(with, service, limit, healthy).await;
        }
    };
    let _ = tokio::time::timeout(limit, all).await;
}

/// A healthy service that uses the old certificate blocks no other service.
fn is_unhealthy(result: &Result<Refreshed, RefreshError>) -> bool {
    match result {
        Ok(Refreshed::Restarted { unhealthy, .. }) => unhealthy.is_some(),
        Ok(Refreshed::Reloaded { .. } | Refreshed::Closed { .. })
        | Err(RefreshError::StillStale(_)) => false,
        Err(_) => true,
    }
}
