//! The memory of alarms. While it can't be written it is kept in the process: a full disk is one of
//! the causes of alarms.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::AbsolutePath;
use crate::state::{AlarmState, read_alarms, update_alarms};
use crate::sys::Root;

/// The memory of alarms; its clones share what is unsaved.
#[derive(Clone, Debug, Default)]
pub struct AlarmLedger {
    /// The state that could not be written.
    unsaved: Arc<Mutex<Option<AlarmState>>>,
}

/// The result of an update.
#[derive(Debug)]
pub struct Update<T> {
    /// The result of the change itself.
    pub result: T,
    /// Why it could not be written, if it could not.
    pub note: Option<String>,
}

impl AlarmLedger {
    /// Reads the state. The text says why the file can't be used, if it can't.
    #[must_use]
    pub fn read(&self, root: &Root, state: &AbsolutePath) -> (AlarmState, Option<String>) {
        self.unsaved().clone().map_or_else(|| read_alarms(root, state), |unsaved| (unsaved, None))
    }

    /// Changes and writes the state. `change` may be called more than once.
    pub fn update<T>(
        &self,
        root: &Root,
        state: &AbsolutePath,
        change: impl Fn(&mut AlarmState) -> T,
    ) -> Update<T> {
        let mut unsaved = self.unsaved();
        let written = update_alarms(root, state, |now| {
            if let Some(unsaved) = &*unsaved {
                *now = unsaved.clone();
            }
            change(now)
        });
        match written {
            Ok(result) => {
                *unsaved = None;
                Update { result, note: None }
            }
            Err(e) => {
                let mut now = unsaved.take().unwrap_or_else(|| read_alarms(root, state).0);
                let result = change(&mut now);
                *unsaved = Some(now);
                Update {
                    result,
                    note: Some(format!("{e}; the alarms in force are forgotten at the next start")),
                }
            }
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<AlarmState>> {
        // A panic leaves the state before the change or after it.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_state_is_kept_until_it_can_be_written() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let state = AbsolutePath::constant("/var/lib/kubecertd");
        // A directory in the place of the file.
        let in_the_way = disk.path().join("var/lib/kubecertd/alarms.json");
        std::fs::create_dir_all(in_the_way.join("full")).unwrap();
        let ledger = AlarmLedger::default();
        let add = |name: &str| {
            let name = name.to_owned();
            ledger.update(&root, &state, |now| drop(now.told.insert(name.clone(), Vec::new()))).note
        };
        assert!(add("a").is_some_and(|note| {
            note.ends_with("; the alarms in force are forgotten at the next start")
        }));
        assert!(add("b").is_some());
        let names = |state: AlarmState| state.told.into_keys().collect::<Vec<_>>();
        assert_eq!(names(ledger.read(&root, &state).0), ["a", "b"]);
        std::fs::remove_dir_all(in_the_way).unwrap();
        assert_eq!(add("c"), None);
        assert_eq!(names(read_alarms(&root, &state).0), ["a", "b", "c"]);
    }
}
