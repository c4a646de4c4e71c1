//! A static pod: its container is stopped through the container runtime, and kubelet starts another
//! one.

use std::time::Duration;

use super::{RefreshError, Refreshing, wait};
use crate::drivers::cri::{CriError, Runtime};
use crate::model::{Health, Presence};

/// The runtime, ready to stop the container; nothing is stopped yet.
///
/// # Errors
/// When kubelet would not start another one, or the runtime does not answer.
pub async fn prepare(
    with: &Refreshing<'_>,
    manifest: Option<&str>,
) -> Result<Runtime, RefreshError> {
    if manifest.is_none() {
        return Err(RefreshError::NoManifest);
    }
    kubelet_works(with).await?;
    Ok(Runtime::connect(with.runtime, with.limits.call).await?)
}

/// A container that is stopped while kubelet is down stays down. kubelet's own
/// health endpoint takes precedence over systemd.
async fn kubelet_works(with: &Refreshing<'_>) -> Result<(), RefreshError> {
    let Some(kubelet) = with.kubelet else { return Ok(()) };
    let seen = wait::look(with, kubelet)
        .await
        .map_err(|shortfall| RefreshError::KubeletDown(shortfall.found()))?;
    match (&seen.facts.presence, &seen.facts.health) {
        (_, Health::Healthy) | (Presence::Running(_), Health::NotAsked) => Ok(()),
        (_, Health::Unhealthy(reason))
        | (Presence::Down(reason) | Presence::Unknown(reason), Health::NotAsked) => {
            Err(RefreshError::KubeletDown(reason.clone()))
        }
        (Presence::Absent | Presence::OutOfSight, Health::NotAsked) => {
            Err(RefreshError::KubeletDown("there is none".to_owned()))
        }
    }
}

/// Stops a container. It is seen through to its end whatever happens: a runtime that is left alone
/// before the grace is over kills nothing, and the service would drain for as long as it likes.
///
/// # Errors
/// When the runtime refuses. `Ok` holds what went wrong where the container may have been
/// stopped all the same.
pub async fn stop(
    runtime: &Runtime,
    container: &str,
    grace: Duration,
) -> Result<Option<CriError>, RefreshError> {
    match runtime.stop(container, grace).await {
        Ok(()) | Err(CriError::NoContainer(_)) => Ok(None),
        Err(error @ (CriError::Limit { .. } | CriError::Broken { .. })) => Ok(Some(error)),
        Err(error) => Err(error.into()),
    }
}
