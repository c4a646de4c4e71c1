//! The refresh of a systemd unit: systemd reloads or restarts it, or its main process is signalled.

use std::time::Duration;

use super::{RefreshError, process};
use crate::drivers::processes::{Process, ProcessError};
use crate::drivers::systemd::{Systemd, SystemdError};
use crate::model::{Signal, UnitRefresh};
use crate::sys::Root;

/// Whether that can be done to a unit at all. A unit that does not run is left like that.
///
/// # Errors
/// When it can't, or systemd does not say.
pub async fn check(
    systemd: &Systemd,
    unit: &str,
    refresh: UnitRefresh,
) -> Result<(), RefreshError> {
    let found = systemd.unit(unit).await?;
    let unit = unit.to_owned();
    match refresh {
        _ if !found.active.runs() => Err(SystemdError::NotActive { unit, sub: found.sub }.into()),
        UnitRefresh::Reload if !found.can_reload => Err(SystemdError::CannotReload(unit).into()),
        UnitRefresh::Signal(_) if found.process.is_none() => Err(RefreshError::NoMainProcess(unit)),
        _ => Ok(()),
    }
}

/// Does to a unit what its entry says. That systemd is done does not mean that the unit is healthy.
///
/// # Errors
/// When it does not run, systemd refuses, or it takes longer than the limit.
pub async fn refresh(
    systemd: &Systemd,
    root: &Root,
    unit: &str,
    refresh: UnitRefresh,
    limit: Duration,
) -> Result<(), RefreshError> {
    match refresh {
        UnitRefresh::Restart => systemd.restart(unit, limit).await?,
        UnitRefresh::Reload => systemd.reload(unit, limit).await?,
        UnitRefresh::ReloadOrRestart => systemd.reload_or_restart(unit, limit).await?,
        UnitRefresh::Signal(signal) => main_process(systemd, root, unit, signal).await?,
    }
    Ok(())
}

/// systemd knows its main process for as long as the number belongs to it: so, where it says the
/// same number before and after the process was looked up, this is the one.
async fn main_process(
    systemd: &Systemd,
    root: &Root,
    unit: &str,
    signal: Signal,
) -> Result<(), RefreshError> {
    let pid = async || {
        Ok::<_, RefreshError>(systemd.unit(unit).await?.process.map(|process| process.pid))
    };
    let before = pid().await?.ok_or_else(|| RefreshError::NoMainProcess(unit.to_owned()))?;
    let found = Process::find(root, before).map_err(ProcessError::from)?;
    match found {
        Some(found) if pid().await? == Some(before) => process::send(root, found, signal),
        _ => Err(RefreshError::MainProcessChanged(unit.to_owned())),
    }
}
