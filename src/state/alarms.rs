//! The memory of alarms: `alarms.json`. When it is deleted, the next pass raises the alarms again,
//! and they are delivered once more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::model::{AbsolutePath, Alarm, AlarmMemory};
use crate::store::StoreError;
use crate::store::lock::Lock;
use crate::sys::Root;

const FILE: StateFile = StateFile::new("alarms.json", "the alarms in force are forgotten");

/// The lock for changes: a command, the daemon and the delivery to sinks may change the file at the
/// same time.
const LOCK: &str = "alarms.lock";

/// How long a change waits for the lock. A change takes milliseconds, on a busy disk seconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// What is remembered of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmState {
    /// The alarms in force, the most severe first.
    pub in_force: Vec<Alarm>,
    /// What alarms are derived from besides observations.
    pub memory: AlarmMemory,
    /// The alarms in force that were delivered last, by sink.
    pub told: BTreeMap<String, Vec<Alarm>>,
}

/// Reads the memory of alarms. The text is the problem with the file, if there is one.
#[must_use]
pub fn read_alarms(root: &Root, state: &AbsolutePath) -> (AlarmState, Option<String>) {
    FILE.read_or_default(root, state)
}

/// Changes the memory of alarms under its lock. Writes nothing where nothing changes.
///
/// # Errors
/// When the file can't be written, or another process keeps the lock too long; the file keeps its
/// earlier content then.
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
    let dir = root.create_dir(state)?;
    let _lock = Lock::take_named(&dir, LOCK, LOCK_TIMEOUT)?;
    let (mut current, _) = read_alarms(root, state);
    let result = change(&mut current);
    FILE.write(root, state, &current)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AlarmKind, CredentialName, Digest, Fingerprint, LongDifference, LongHold, ServiceName,
        SharedFile, Timestamp,
    };

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
        let fingerprints = vec![Fingerprint::from(Digest::of(b"abc"))];
        let difference = LongDifference { fingerprints, since: Timestamp::from_seconds(1) };
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
            differing: BTreeMap::from([(SharedFile::ServiceAccount, difference)]),
        };
        AlarmState {
            in_force: vec![alarm.clone()],
            memory,
            told: BTreeMap::from([("fm".to_owned(), vec![alarm])]),
        }
    }

    fn path() -> AbsolutePath {
        AbsolutePath::constant("/var/lib/kubecertd")
    }

    #[test]
    fn alarm_state_round_trips_and_damage_is_reported() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        assert_eq!(read_alarms(&root, &path()), (AlarmState::default(), None));
        update_alarms(&root, &path(), |now| *now = state()).unwrap();
        assert_eq!(read_alarms(&root, &path()), (state(), None));
        std::fs::write(disk.path().join("var/lib/kubecertd/alarms.json"), "{ torn").unwrap();
        let (found, note) = read_alarms(&root, &path());
        assert_eq!(found, AlarmState::default());
        assert!(note.unwrap().ends_with("; the alarms in force are forgotten"));
    }

    #[test]
    fn unchanged_alarm_state_is_not_written() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        assert_eq!(update_alarms(&root, &path(), |now| now.in_force.len()).unwrap(), 0);
        assert!(!disk.path().join("var").exists());
    }

    #[test]
    fn concurrent_changes_are_both_written() {
        let disk = tempfile::tempdir().unwrap();
        let add = |name: &str| {
            let root = Root::open(disk.path()).unwrap();
            for round in 0..20 {
                let key = format!("{name}{round}");
                update_alarms(&root, &path(), |now| drop(now.told.insert(key.clone(), Vec::new())))
                    .unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| add("a"));
            scope.spawn(|| add("b"));
        });
        assert_eq!(read_alarms(&Root::open(disk.path()).unwrap(), &path()).0.told.len(), 40);
    }
}
