//! What is done to a service so that it takes what it does not take by itself, by its kind: made
//! ready first, then carried out.

use std::time::Duration;

use super::{RefreshError, Refreshing, command, pod, process, unit, wait};
use crate::drivers::cri::{CriError, Runtime};
use crate::drivers::processes::{Process, of_pid_file};
use crate::drivers::systemd::Systemd;
use crate::model::{ServiceKind, Signal, UnitRefresh};

/// What will be done, with all that it needs at hand.
pub enum How<'h> {
    /// A container is stopped, and kubelet starts its successor.
    Stop { runtime: Runtime, container: String, grace: Duration },
    /// A unit is told by systemd, or its main process is.
    Unit { systemd: Systemd, unit: &'h str, refresh: UnitRefresh },
    /// A process is sent a signal.
    Signal { process: Process, signal: Signal },
    /// A command is run.
    Command { words: &'h [String], limit: Duration },
}

impl<'h> How<'h> {
    /// Finds everything wrong that can be found wrong before the service is touched. `instance` is
    /// what runs.
    ///
    /// # Errors
    /// When it can't or must not be done.
    pub async fn prepare(
        kind: &'h ServiceKind,
        instance: Option<&str>,
        with: &Refreshing<'_>,
    ) -> Result<Self, RefreshError> {
        Ok(match kind {
            ServiceKind::StaticPod { manifest, grace, .. } => {
                let container = instance
                    .ok_or_else(|| RefreshError::NotRunning("it has no container".to_owned()))?
                    .to_owned();
                Self::Stop {
                    runtime: pod::prepare(with, manifest.as_deref()).await?,
                    container,
                    grace: *grace,
                }
            }
            ServiceKind::Unit { unit, refresh } => {
                let systemd = Systemd::connect(with.limits.call).await?;
                unit::check(&systemd, unit, *refresh).await?;
                Self::Unit { systemd, unit, refresh: *refresh }
            }
            ServiceKind::Process { pid_file, signal } => Self::Signal {
                process: of_pid_file(with.root, with.clock, pid_file)?,
                signal: *signal,
            },
            ServiceKind::Command { command, limit } => {
                Self::Command { words: command, limit: *limit }
            }
        })
    }

    /// Whether it ends what runs, so that a successor has to take its place.
    pub fn ends_it(&self) -> bool {
        match self {
            Self::Stop { .. } => true,
            Self::Unit { refresh, .. } => {
                matches!(refresh, UnitRefresh::Restart | UnitRefresh::Signal(Signal::Term))
            }
            Self::Signal { signal, .. } => *signal == Signal::Term,
            Self::Command { .. } => false,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When it failed; [`RefreshError::may_have_reached_it`] says whether the service may
    /// have noticed. `Ok` holds what went wrong on the way and may not matter.
    pub async fn carry_out(self, with: &Refreshing<'_>) -> Result<Option<CriError>, RefreshError> {
        match self {
            Self::Stop { runtime, container, grace } => {
                return pod::stop(&runtime, &container, grace).await;
            }
            Self::Unit { systemd, unit, refresh } => {
                // Whatever becomes of this side, systemd sees the job through.
                let job = unit::refresh(&systemd, with.root, unit, refresh, with.limits.job);
                wait::unless_stopped(with.stop, job).await.unwrap_or(Err(RefreshError::Stopped))?;
            }
            Self::Signal { process, signal } => process::send(with.root, process, signal)?,
            Self::Command { words, limit } => command::run(words, limit).await?,
        }
        Ok(None)
    }
}
