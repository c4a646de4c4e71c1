//! Refresh: services are made to work with the credentials that are on the disk, and are seen to.
//!
//! One service at a time, in the order given, each healthy before the next. What is to be done was
//! decided elsewhere, and how a service is looked at is the caller's knowledge; here it is done,
//! and waited for. Nothing that is waited for needs the waiting: kubelet and systemd finish what
//! was begun, so that the pass can end at any moment and no service stays down for it.

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

pub use self::caller::{BoxFuture, Caller, Limits, Refreshing, ServiceObservation};
pub use self::error::{RefreshError, StaleList};
pub use self::outcome::{RefreshOutcome, Refreshed};
use self::turn::Turn;
use crate::model::{RefreshStep, Service, ServiceName};

/// Does what is to be done now, service by service.
///
/// A service that fails costs only itself, except an essential one that is not healthy afterwards:
/// a restart of the services after it would not help, and they are left alone.
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
        if service.is_some_and(|service| service.essential.is_some())
            && restarted
            && is_unhealthy(&result)
        {
            unhealthy = Some(step.service.clone());
        }
        outcomes.push(RefreshOutcome { service: step.service.clone(), restarted, result });
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
        Ok(Refreshed::TookIt { .. } | Refreshed::Closed { .. })
        | Err(RefreshError::StillStale(_)) => false,
        Err(_) => true,
    }
}
