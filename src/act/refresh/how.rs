//! The refresh of one service, by its kind: the method is prepared first, then carried out.

use std::time::Duration;

use super::{RefreshError, Refreshing, command, pod, process, unit, wait};
use crate::drivers::cri::{CriError, Runtime};
use crate::drivers::processes::{PidFile, Process};
use crate::drivers::systemd::Systemd;
use crate::model::{ServiceKind, Signal, UnitRefresh};

/// A prepared refresh method, with everything that it needs.
pub enum How<'h> {
    /// A container is stopped, and kubelet starts its successor.
    Stop { runtime: Runtime, container: String, grace: Duration },
    /// A unit is reloaded or restarted by systemd, or its main process is signalled.
    Unit { systemd: Systemd, unit: &'h str, refresh: UnitRefresh },
    /// The process of a pid file is sent a signal.
    Signal { pid_file: PidFile<'h>, process: Process, signal: Signal },
    /// A command is run.
    Command { words: &'h [String], limit: Duration },
}

impl<'h> How<'h> {
    /// Prepares the method, and finds errors before the service is touched. `instance` is the
    /// running instance.
    ///
    /// # Errors
    /// When the refresh is not possible or not allowed.
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
            ServiceKind::Process { pid_file, signal, unit } => {
                let pid_file = PidFile { path: pid_file, unit: unit.as_deref() };
                let process = pid_file.find(with.root, with.clock)?;
                Self::Signal { pid_file, process, signal: *signal }
            }
            ServiceKind::Command { command, limit } => {
                Self::Command { words: command, limit: *limit }
            }
        })
    }

    /// Whether the method stops the running instance, so that a successor has to start.
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

    /// Carries out the method.
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
                // systemd completes the job even when kubecertd stops meanwhile.
                let job = unit::refresh(&systemd, with.root, unit, refresh, with.limits.job);
                wait::unless_stopped(with.stop, job).await.unwrap_or(Err(RefreshError::Stopped))?;
            }
            Self::Signal { pid_file, process, signal } => {
                pid_file.signal(with.root, with.clock, process, process::number(signal))?;
            }
            Self::Command { words, limit } => command::run(words, limit).await?,
        }
        Ok(None)
    }
}
