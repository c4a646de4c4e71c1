//! The contents of files at one moment, as digests that show whether any has really changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AbsolutePath, Digest};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// The digests of some files. `None` is for a file that is missing or can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<AbsolutePath, Option<Digest>>);

impl Contents {
    /// Reads these files.
    #[must_use]
    pub fn read(root: &Root, files: &[AbsolutePath]) -> Self {
        let mut contents = Self::default();
        contents.reread(root, files);
        contents
    }

    /// Reads these files again, and leaves all others. For the files that a pass has replaced: a
    /// change of another file during the pass then still counts as one.
    pub fn reread(&mut self, root: &Root, files: &[AbsolutePath]) {
        for file in files {
            let digest = root
                .read(file, LARGEST_FILE)
                .ok()
                .map(|content| Digest::of(content.bytes.expose()));
            self.0.insert(file.clone(), digest);
        }
    }

    /// The files whose content differs in the other contents. A file that is unknown to one of the
    /// two counts as missing.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<AbsolutePath> {
        let files: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        files
            .into_iter()
            .filter(|file| self.digest_of(file) != other.digest_of(file))
            .cloned()
            .collect()
    }

    fn digest_of(&self, file: &AbsolutePath) -> Option<Digest> {
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
    fn only_other_content_is_a_change() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let at = |name: &str| disk.path().join(name);
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
        let before = Contents::read(&root, &files);
        assert_eq!(before.changed(&Contents::read(&root, &files)), []);

        fs::File::open(at("touched")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::write(at("rewritten"), "rewritten").unwrap();
        fs::write(at("other"), "replaced").unwrap();
        fs::rename(at("other"), at("replaced")).unwrap();
        fs::write(at("changed"), "Changed").unwrap();
        fs::remove_file(at("removed")).unwrap();
        fs::write(at("new"), "").unwrap();
        fs::remove_file(at("linked")).unwrap();
        symlink("same", at("linked")).unwrap();
        let after = Contents::read(&root, &files);
        let expected = ["/changed", "/linked", "/new", "/removed"].map(path);
        assert_eq!(before.changed(&after), expected);
        assert_eq!(after.changed(&before), expected);
    }

    #[test]
    fn file_too_large_or_not_regular_counts_as_missing() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let files = [path("/large"), path("/dir")];
        let before = Contents::read(&root, &files);
        let large = fs::File::create(disk.path().join("large")).unwrap();
        large.set_len(LARGEST_FILE + 1).unwrap();
        fs::create_dir(disk.path().join("dir")).unwrap();
        assert_eq!(before.changed(&Contents::read(&root, &files)), []);
        large.set_len(LARGEST_FILE).unwrap();
        assert_eq!(before.changed(&Contents::read(&root, &files)), [path("/large")]);
    }

    #[test]
    fn reread_file_is_unchanged_and_others_are_not() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let files = [path("/ours"), path("/theirs")];
        let mut known = Contents::read(&root, &files);
        fs::write(disk.path().join("ours"), "new").unwrap();
        fs::write(disk.path().join("theirs"), "new").unwrap();
        known.reread(&root, &[path("/ours")]);
        assert_eq!(known.changed(&Contents::read(&root, &files)), [path("/theirs")]);
    }
}
