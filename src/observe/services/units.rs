//! Systemd units, as systemd has them.

use super::look::{Group, Observer, RunningService};
use crate::drivers::processes::Process;
use crate::drivers::systemd::{Active, SystemdError, Unit};
use crate::model::{Instance, Presence};

/// Returns the unit, if it runs; else its state.
pub(super) async fn find(look: &Observer, name: &str) -> Result<RunningService, Presence> {
    let systemd = look.systemd().await.map_err(Presence::Unknown)?;
    let unit = match systemd.unit(name).await {
        Ok(unit) => unit,
        Err(SystemdError::NoSuchUnit(_)) => return Err(Presence::Absent),
        Err(e) => return Err(Presence::Unknown(e.to_string())),
    };
    if let Some(reason) = down(name, &unit) {
        return Err(Presence::Down(reason));
    }
    let process = match unit.process {
        None => None,
        Some(main) => match Process::find(&look.root, main.pid) {
            Ok(Some(process)) => Some(process),
            Ok(None) => {
                return Err(Presence::Down(format!("its process {} has just exited", main.pid)));
            }
            Err(e) => return Err(Presence::Unknown(e.to_string())),
        },
    };
    let instance = instance(look, name, &unit, process).map_err(Presence::Unknown)?;
    Ok(RunningService { instance, process, group: Group::Unit(name.to_owned()), mounts: None })
}

fn down(name: &str, unit: &Unit) -> Option<String> {
    match unit.active {
        Active::Active | Active::Reloading => None,
        _ if unit.load == "loaded" => {
            Some(format!("systemd has it as {}; see systemctl status {name}", unit.sub))
        }
        _ => Some(format!(
            "systemd has it as {}, and its definition as {}; see systemctl status {name}",
            unit.sub, unit.load
        )),
    }
}

/// A unit that is active without a process is identified by the time when it became active.
fn instance(
    look: &Observer,
    name: &str,
    unit: &Unit,
    process: Option<Process>,
) -> Result<Instance, String> {
    if let Some(process) = process {
        return look.moment.of_process(format!("{}@{}", process.pid, process.start_ticks), process);
    }
    let activated = unit
        .activated
        .ok_or_else(|| format!("systemd does not say since when {name} is active"))?;
    Ok(look
        .moment
        .of_wall_clock(format!("{name}@{}", activated.since_boot.as_micros()), activated.wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: Active, load: &str, sub: &str) -> Unit {
        Unit {
            load: load.to_owned(),
            active,
            sub: sub.to_owned(),
            can_reload: false,
            activated: None,
            process: None,
        }
    }

    #[test]
    fn only_active_units_run() {
        assert_eq!(down("a.service", &unit(Active::Active, "loaded", "running")), None);
        assert_eq!(down("a.service", &unit(Active::Reloading, "loaded", "reload")), None);
        assert_eq!(
            down("a.service", &unit(Active::Activating, "loaded", "auto-restart")).as_deref(),
            Some("systemd has it as auto-restart; see systemctl status a.service")
        );
        assert_eq!(
            down("a.service", &unit(Active::Inactive, "masked", "dead")).as_deref(),
            Some(
                "systemd has it as dead, and its definition as masked; see systemctl status \
                 a.service"
            )
        );
        for active in
            [Active::Failed, Active::Deactivating, Active::Other("maintenance".to_owned())]
        {
            assert!(down("a.service", &unit(active, "loaded", "x")).is_some());
        }
    }
}
