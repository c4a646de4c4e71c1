//! What files hold at one moment, as fingerprints: whether anything has really changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AbsolutePath, Digest};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// What some files hold. `None` is for a file that is not there or can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<AbsolutePath, Option<Digest>>);

impl Contents {
    /// Reads these files.
    #[must_use]
    pub fn look(root: &Root, files: &[AbsolutePath]) -> Self {
        let mut contents = Self::default();
        contents.look_again(root, files);
        contents
    }

    /// Reads these files again, and leaves what is known of all others. After a pass, for what it
    /// has replaced: what somebody else changed while it was made then still counts as changed.
    pub fn look_again(&mut self, root: &Root, files: &[AbsolutePath]) {
        for file in files {
            let digest = root
                .read(file, LARGEST_FILE)
                .ok()
                .map(|content| Digest::of(content.bytes.expose()));
            self.0.insert(file.clone(), digest);
        }
    }

    /// The files that hold something else in the other contents. A file that one of the two knows
    /// nothing of is taken as not there.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<AbsolutePath> {
        let files: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        files
            .into_iter()
            .filter(|file| self.held_by(file) != other.held_by(file))
            .cloned()
            .collect()
    }

    fn held_by(&self, file: &AbsolutePath) -> Option<Digest> {
        self.0.get(file).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text).unwrap()
    }

    #[test]
    fn only_another_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["same", "touched", "rewritten", "replaced", "changed", "removed", "linked"] {
            fs::write(at(name), name).unwrap();
        }
        let files = [
            "/same",
            "/touched",
            "/rewritten",
            "/replaced",
            "/changed",
            "/removed",
            "/linked",
            "/new",
            "/never",
        ]
        .map(path);
        let before = Contents::look(&root, &files);
        assert_eq!(before.changed(&Contents::look(&root, &files)), []);

        fs::File::open(at("touched")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::write(at("rewritten"), "rewritten").unwrap();
        fs::write(at("other"), "replaced").unwrap();
        fs::rename(at("other"), at("replaced")).unwrap();
        fs::write(at("changed"), "Changed").unwrap();
        fs::remove_file(at("removed")).unwrap();
        fs::write(at("new"), "").unwrap();
        fs::remove_file(at("linked")).unwrap();
        symlink("same", at("linked")).unwrap();
        let after = Contents::look(&root, &files);
        let expected = ["/changed", "/linked", "/new", "/removed"].map(path);
        assert_eq!(before.changed(&after), expected);
        assert_eq!(after.changed(&before), expected);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_as_if_it_were_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let files = [path("/large"), path("/folder")];
        let before = Contents::look(&root, &files);
        let large = fs::File::create(folder.path().join("large")).unwrap();
        large.set_len(LARGEST_FILE + 1).unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(before.changed(&Contents::look(&root, &files)), []);
        large.set_len(LARGEST_FILE).unwrap();
        assert_eq!(before.changed(&Contents::look(&root, &files)), [path("/large")]);
    }

    #[test]
    fn what_is_looked_at_again_is_known_and_the_rest_still_changed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let files = [path("/ours"), path("/theirs")];
        let mut known = Contents::look(&root, &files);
        fs::write(folder.path().join("ours"), "new").unwrap();
        fs::write(folder.path().join("theirs"), "new").unwrap();
        known.look_again(&root, &[path("/ours")]);
        assert_eq!(known.changed(&Contents::look(&root, &files)), [path("/theirs")]);
    }
}
