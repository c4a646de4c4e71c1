//! Services that are processes without a unit, found by their pid files.

use super::look::{Group, Observer, RunningService};
use crate::drivers::processes::{PidFile, PidFileError};
use crate::model::Presence;
use crate::sys::FixedClock;

/// Returns the process, if it runs; else its state.
pub(super) fn find(look: &Observer, pid_file: PidFile<'_>) -> Result<RunningService, Presence> {
    let found = pid_file.find(&look.root, &FixedClock(look.moment.at));
    let process = found.map_err(|e| match e {
        PidFileError::File(e) if e.is_not_found() => {
            Presence::Down(format!("it has no pid file ({})", pid_file.path))
        }
        e @ (PidFileError::Ended { .. } | PidFileError::Reused { .. }) => {
            Presence::Down(e.to_string())
        }
        e => Presence::Unknown(e.to_string()),
    })?;
    let instance = look
        .moment
        .of_process(format!("{}@{}", process.pid, process.start_ticks), process)
        .map_err(Presence::Unknown)?;
    Ok(RunningService { instance, process: Some(process), group: Group::Alone, mounts: None })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::AbsolutePath;
    use crate::observe::{Config, Node};
    use crate::sys::{Root, SystemClock};

    #[allow(clippy::disallowed_methods, reason = "what a service writes by itself")]
    fn found(content: Option<&str>) -> Result<RunningService, Presence> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pid");
        content.iter().for_each(|content| std::fs::write(&file, content).unwrap());
        let node = Node::open(Root::open(Path::new("/")).unwrap(), &Config::Usual).unwrap();
        let look = Observer::begin(&node, &SystemClock).unwrap();
        let path = AbsolutePath::new(file.to_str().unwrap()).unwrap();
        find(&look, PidFile { path: &path, unit: None })
    }

    #[test]
    fn process_of_the_pid_file_is_the_service() {
        let running = found(Some(&format!("{}\n", std::process::id()))).unwrap();
        assert_eq!(running.instance.pid, Some(std::process::id()));
        let root = Root::open(Path::new("/")).unwrap();
        assert!(running.has(&root, running.process.unwrap()));
    }

    #[test]
    fn missing_pid_file_is_down_and_invalid_one_unknown() {
        assert!(
            matches!(found(None), Err(Presence::Down(reason)) if reason.starts_with("it has no pid \
                file (/"))
        );
        assert!(matches!(found(Some("4194304999")), Err(Presence::Unknown(_) | Presence::Down(_))));
        assert!(matches!(
            found(Some("eleven")),
            Err(Presence::Unknown(reason)) if reason.ends_with("and nothing else")
        ));
    }
}
