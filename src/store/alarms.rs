//! The alarms that are in force, what they rest on, and who was told of which: a small file that
//! may be deleted at any time. Then the next pass raises anew what is true, and everybody is told
//! of it once more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::lock::Lock;
use super::small::{read, write};
use crate::model::{AbsolutePath, Alarm, AlarmMemory};
use crate::sys::Root;

const ALARMS: &str = "alarms.json";

/// A command and the daemon may change the file at the same time, and those that tell others do at
/// any time.
const LOCK: &str = "alarms.lock";

/// A change takes milliseconds, and on a busy disk seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is remembered of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmState {
    /// Those in force, the worst first.
    pub in_force: Vec<Alarm>,
    /// What they rest on besides what there is to be seen.
    pub memory: AlarmMemory,
    /// For each that is told of alarms, those that it was told are in force.
    pub told: BTreeMap<String, Vec<Alarm>>,
}

/// Reads what is remembered of alarms. The text says what is wrong with the file, if something is.
#[must_use]
pub fn read_alarms(root: &Root, state: &AbsolutePath) -> (AlarmState, Option<String>) {
    let (found, note) = read(root, state, ALARMS, "which alarms are in force is not remembered");
    (found.unwrap_or_default(), note)
}

/// Changes what is remembered of alarms, alone. Where nothing changes, nothing is written.
///
/// # Errors When the state folder can't be written to, or somebody else does not let go of the
/// file; it is what it was then.
pub fn update_alarms<T>(
    root: &Root,
    state: &AbsolutePath,
    change: impl Fn(&mut AlarmState) -> T,
) -> Result<T, StoreError> {
    let (before, _) = read_alarms(root, state);
    let mut after = before.clone();
    let result = change(&mut after);
    if after == before {
        return Ok(result);
    }
    let folder = root.create_dir(state)?;
    let _alone = Lock::take_named(&folder, LOCK, PATIENCE)?;
    let (mut now, _) = read_alarms(root, state);
    let result = change(&mut now);
    write(root, state, ALARMS, &now)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlarmKind, CredentialName, LongHold, ServiceName, Timestamp};

    fn state() -> AlarmState {
        let alarm = Alarm {
            kind: AlarmKind::RenewalFailed,
            entity: "host=cp1".to_owned(),
            about: vec!["apiserver".to_owned()],
            text: "It failed.".to_owned(),
            reason: "because".to_owned(),
            repair: "do".to_owned(),
            raised: Timestamp::from_seconds(1_800_000_000),
        };
        let memory = AlarmMemory {
            failed: BTreeMap::from([(
                CredentialName::new("etcd/server").unwrap(),
                "because".to_owned(),
            )]),
            not_updated: BTreeMap::from([(
                ServiceName::new("etcd").unwrap(),
                "because".to_owned(),
            )]),
            kubeadm: Some(LongHold { pid: 7, since: Timestamp::from_seconds(0) }),
        };
        AlarmState {
            in_force: vec![alarm.clone()],
            memory,
            told: BTreeMap::from([("fm".to_owned(), vec![alarm])]),
        }
    }

    fn folder() -> AbsolutePath {
        AbsolutePath::constant("/var/lib/kubecertd")
    }

    #[test]
    fn the_state_goes_out_and_comes_back_and_may_be_lost() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        assert_eq!(read_alarms(&root, &folder()), (AlarmState::default(), None));
        update_alarms(&root, &folder(), |now| *now = state()).unwrap();
        assert_eq!(read_alarms(&root, &folder()), (state(), None));
        std::fs::write(disk.path().join("var/lib/kubecertd/alarms.json"), "{ torn").unwrap();
        let (found, note) = read_alarms(&root, &folder());
        assert_eq!(found, AlarmState::default());
        assert!(note.unwrap().ends_with("; which alarms are in force is not remembered"));
    }

    #[test]
    fn where_nothing_changes_nothing_is_written() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        assert_eq!(update_alarms(&root, &folder(), |now| now.in_force.len()).unwrap(), 0);
        assert!(!disk.path().join("var").exists());
    }

    #[test]
    fn two_changes_at_the_same_time_are_both_made() {
        let disk = tempfile::tempdir().unwrap();
        let add = |name: &str| {
            let root = Root::open(disk.path()).unwrap();
            for round in 0..20 {
                let key = format!("{name}{round}");
                update_alarms(&root, &folder(), |now| {
                    drop(now.told.insert(key.clone(), Vec::new()))
                })
                .unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| add("a"));
            scope.spawn(|| add("b"));
        });
        assert_eq!(read_alarms(&Root::open(disk.path()).unwrap(), &folder()).0.told.len(), 40);
    }
}
