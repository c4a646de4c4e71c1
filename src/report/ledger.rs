//! What is remembered of alarms, also while it can't be written down: a full disk is what alarms
//! are for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::AbsolutePath;
use crate::state::{AlarmState, read_alarms, update_alarms};
use crate::sys::Root;

/// The memory of alarms, shared by all who change it in one process.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What could not be written down.
    unsaved: Arc<Mutex<Option<AlarmState>>>,
}

/// What a change came to.
#[derive(Debug)]
pub struct Changed<T> {
    /// What it gave.
    pub result: T,
    /// Why it could not be written down.
    pub note: Option<String>,
}

impl Ledger {
    /// What is remembered. The text says what is wrong with the file, if something is.
    #[must_use]
    pub fn look(&self, root: &Root, state: &AbsolutePath) -> (AlarmState, Option<String>) {
        self.unsaved().clone().map_or_else(|| read_alarms(root, state), |unsaved| (unsaved, None))
    }

    /// Changes what is remembered. It may be called more than once for one change.
    pub fn change<T>(
        &self,
        root: &Root,
        state: &AbsolutePath,
        change: impl Fn(&mut AlarmState) -> T,
    ) -> Changed<T> {
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
                Changed { result, note: None }
            }
            Err(e) => {
                let mut now = unsaved.take().unwrap_or_else(|| read_alarms(root, state).0);
                let result = change(&mut now);
                *unsaved = Some(now);
                Changed {
                    result,
                    note: Some(format!(
                        "{e}; which alarms are in force is forgotten at the next start"
                    )),
                }
            }
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<AlarmState>> {
        // Each change is made whole or not at all.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_written_down_is_remembered_all_the_same() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let state = AbsolutePath::constant("/var/lib/kubecertd");
        // A folder in the place of the file.
        let in_the_way = disk.path().join("var/lib/kubecertd/alarms.json");
        std::fs::create_dir_all(in_the_way.join("full")).unwrap();
        let ledger = Ledger::default();
        let add = |name: &str| {
            let name = name.to_owned();
            ledger.change(&root, &state, |now| drop(now.told.insert(name.clone(), Vec::new()))).note
        };
        assert!(add("a").is_some_and(|note| {
            note.ends_with("; which alarms are in force is forgotten at the next start")
        }));
        assert!(add("b").is_some());
        let names = |state: AlarmState| state.told.into_keys().collect::<Vec<_>>();
        assert_eq!(names(ledger.look(&root, &state).0), ["a", "b"]);
        std::fs::remove_dir_all(in_the_way).unwrap();
        assert_eq!(add("c"), None);
        assert_eq!(names(read_alarms(&root, &state).0), ["a", "b", "c"]);
    }
}
