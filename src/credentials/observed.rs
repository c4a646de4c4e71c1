//! The files of a node during one observation.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ExaminedKubeconfig, Files};
use crate::formats::kubeconfig::{Kubeconfig, examine};
use crate::model::{AbsolutePath, Secret};
use crate::sys::{FileError, Root};

/// The files of a node during one observation: directories that only root can change are opened
/// once, and equal kubeconfigs are parsed once. Several parts of an observation read the same ones.
#[derive(Debug)]
pub struct ObservedFiles {
    root: Root,
    /// Each by its content.
    kubeconfigs: Mutex<Vec<(Secret, Arc<ExaminedKubeconfig>)>>,
}

impl ObservedFiles {
    /// Begins an observation.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self { root: root.keeping_dirs(), kubeconfigs: Mutex::default() }
    }

    /// Reads a kubeconfig; `None` where there is none that can be read.
    #[must_use]
    pub fn kubeconfig(&self, path: &AbsolutePath) -> Option<Kubeconfig> {
        let content = Files::read(self, path).ok().flatten()?;
        let examined = self.examine_kubeconfig(&content);
        examined.as_ref().as_ref().ok().map(|examined| examined.content.clone())
    }

    /// A thread that panicked left the list whole.
    fn kubeconfigs(&self) -> MutexGuard<'_, Vec<(Secret, Arc<ExaminedKubeconfig>)>> {
        self.kubeconfigs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for ObservedFiles {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.root
    }
}

impl Files for ObservedFiles {
    fn read(&self, path: &AbsolutePath) -> Result<Option<Secret>, FileError> {
        Files::read(&self.root, path)
    }

    fn is_root_only(&self, path: &AbsolutePath) -> bool {
        self.root.is_root_only(path)
    }

    fn check_reference(
        &self,
        kubeconfig: &AbsolutePath,
        file: &AbsolutePath,
    ) -> Result<(), String> {
        self.root.check_reference(kubeconfig, file)
    }

    fn examine_kubeconfig(&self, content: &Secret) -> Arc<ExaminedKubeconfig> {
        if let Some((_, known)) = self.kubeconfigs().iter().find(|(one, _)| one == content) {
            return Arc::clone(known);
        }
        let examined = Arc::new(examine(content.expose()));
        self.kubeconfigs().push((content.clone(), Arc::clone(&examined)));
        examined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_kubeconfigs_are_parsed_once() {
        let disk = tempfile::tempdir().unwrap();
        let files = ObservedFiles::of(&Root::open(disk.path()).unwrap());
        let secret = |text: &str| Secret::from(text.to_owned());
        let first = files.examine_kubeconfig(&secret("kind: Config"));
        assert!(Arc::ptr_eq(&first, &files.examine_kubeconfig(&secret("kind: Config"))));
        assert!(!Arc::ptr_eq(&first, &files.examine_kubeconfig(&secret("kind: Config\n"))));
    }
}
