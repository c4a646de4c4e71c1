//! The directories and names that lead to a file, symlinks and missing directories included.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Identity, Ownership, Root, Walk};

/// Directories at this depth (the root directory, `/etc`, `/var`) are watched only when the path
/// stops or turns there: they are not replaced on a running system, and files in them are opened
/// all the time.
const UNWATCHED_DEPTH: usize = 1;

/// The directories to be watched for some files, and the relevant names in them. The key is the
/// directory's identity, so that one that is mounted in two places is watched once (inotify would
/// report its events for one of the places only), and one that was replaced makes other targets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchTargets(BTreeMap<Identity, TargetDir>);

#[derive(Debug, PartialEq, Eq)]
struct TargetDir {
    /// Its real path, as seen from the root directory.
    path: PathBuf,
    names: BTreeSet<OsString>,
}

impl WatchTargets {
    /// Finds the targets for these files. A path is followed as far as possible; the pass reports
    /// the problems of the files.
    pub(super) fn find(root: &Root, files: &[AbsolutePath]) -> Self {
        let mut targets = Self::default();
        for file in files {
            let Ok(mut walk) = Walk::new(root, file.as_path(), Ownership::Any) else { continue };
            if targets.insert_steps(&mut walk).is_err() {
                let (dir, name) = walk.position();
                targets.insert(dir, name);
            }
        }
        targets
    }

    /// The directories.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.0.values().map(|dir| dir.path.as_path())
    }

    /// Every file, symlink and directory on the paths, existing or not.
    pub(super) fn names(&self) -> impl Iterator<Item = PathBuf> {
        self.0.values().flat_map(|dir| dir.names.iter().map(|name| dir.path.join(name)))
    }

    fn insert_steps(&mut self, walk: &mut Walk) -> Result<(), FileError> {
        while let Some(step) = walk.step()? {
            let is_deep = step.dir.path().components().count() > UNWATCHED_DEPTH + 1;
            if is_deep || step.link.is_some() || step.is_last {
                self.insert(step.dir, step.name);
            }
        }
        Ok(())
    }

    fn insert(&mut self, dir: &Dir, name: &OsStr) {
        let Ok(identity) = dir.identity() else { return };
        let target = self
            .0
            .entry(identity)
            .or_insert_with(|| TargetDir { path: dir.path().to_owned(), names: BTreeSet::new() });
        target.names.insert(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The targets for a file in a root directory made by `make`: "directory: name name".
    fn targets(file: &str, make: impl FnOnce(&Path)) -> Vec<String> {
        let disk = tempfile::tempdir().unwrap();
        make(disk.path());
        let root = Root::open(disk.path()).unwrap();
        let WatchTargets(targets) = WatchTargets::find(&root, &[AbsolutePath::new(file).unwrap()]);
        let names = |names: BTreeSet<OsString>| {
            names.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<_> = targets
            .into_values()
            .map(|dir| format!("{}: {}", dir.path.display(), names(dir.names)))
            .collect();
        lines.sort();
        lines
    }

    fn create_dirs(at: &Path, dirs: &[&str]) {
        dirs.iter().for_each(|dir| fs::create_dir_all(at.join(dir)).unwrap());
    }

    #[test]
    fn file_is_watched_in_its_directory_and_that_in_its_parent() {
        let found = targets("/etc/kubernetes/pki/etcd/server.crt", |at| {
            create_dirs(at, &["etc/kubernetes/pki/etcd"])
        });
        assert_eq!(
            found,
            [
                "/etc/kubernetes/pki/etcd: server.crt",
                "/etc/kubernetes/pki: etcd",
                "/etc/kubernetes: pki"
            ]
        );
    }

    #[test]
    fn nearest_existing_directory_is_watched_for_a_missing_one() {
        assert_eq!(
            targets("/etc/kubernetes/pki/ca.crt", |at| create_dirs(at, &["etc"])),
            ["/etc: kubernetes"]
        );
        assert_eq!(targets("/etc/kubernetes/pki/ca.crt", |_| ()), ["/: etc"]);
        assert_eq!(targets("/ca.crt", |_| ()), ["/: ca.crt"]);
        // A file in the place of a directory may become one.
        assert_eq!(
            targets("/etc/x/ca.crt", |at| (
                create_dirs(at, &["etc"]),
                fs::write(at.join("etc/x"), "").unwrap()
            )
                .1),
            ["/etc: x"]
        );
    }

    #[test]
    fn symlink_and_its_target_are_watched() {
        let found = targets("/var/lib/pki/current.pem", |at| {
            create_dirs(at, &["var/lib/pki", "srv/pki/dated"]);
            symlink("/srv/pki/../pki/dated/./a.pem", at.join("var/lib/pki/current.pem")).unwrap();
        });
        assert_eq!(
            found,
            [
                "/srv/pki/dated: a.pem",
                "/srv/pki: dated",
                "/var/lib/pki: current.pem",
                "/var/lib: pki"
            ]
        );
    }

    #[test]
    fn symlinked_directory_and_dangling_symlink_are_watched() {
        let found = targets("/etc/pki/a.crt", |at| {
            create_dirs(at, &["etc", "srv/real"]);
            symlink("../srv/real", at.join("etc/pki")).unwrap();
            symlink("../gone/a.crt", at.join("srv/real/a.crt")).unwrap();
        });
        assert_eq!(found, ["/etc: pki", "/srv/real: a.crt", "/srv: gone"]);
    }

    #[test]
    fn circle_of_symlinks_is_left() {
        let found = targets("/etc/pki/a.crt", |at| {
            create_dirs(at, &["etc/pki"]);
            symlink("b.crt", at.join("etc/pki/a.crt")).unwrap();
            symlink("a.crt", at.join("etc/pki/b.crt")).unwrap();
        });
        assert_eq!(found, ["/etc/pki: a.crt b.crt"]);
        // This one grows when it is followed, up to the limit of symlinks.
        assert_eq!(targets("/x/a", |at| symlink("x/x", at.join("x")).unwrap()), ["/: x"]);
    }

    #[test]
    fn replaced_directory_makes_other_targets() {
        let disk = tempfile::tempdir().unwrap();
        create_dirs(disk.path(), &["etc/pki"]);
        let root = Root::open(disk.path()).unwrap();
        let file = [AbsolutePath::constant("/etc/pki/a.crt")];
        let before = WatchTargets::find(&root, &file);
        assert_eq!(WatchTargets::find(&root, &file), before);
        fs::rename(disk.path().join("etc/pki"), disk.path().join("etc/old")).unwrap();
        create_dirs(disk.path(), &["etc/pki"]);
        assert_ne!(WatchTargets::find(&root, &file), before);
    }
}
