//! Ways: which folders and names lead to a file, symlinks and missing folders included. Found by
//! looking; nothing here watches.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::model::AbsolutePath;
use crate::sys::{Dir, Identity, Root};

/// As many symlinks in a row as the kernel itself follows.
const MOST_LINKS: usize = 40;

/// Folders this near to the root folder (itself, and `/etc`, `/var`) are watched only when the way
/// ends or turns there: nobody replaces them on a running system, and files in them are opened all
/// the time.
const SHALLOW: usize = 1;

/// The folders to be watched for some files, and the names in them that count. A folder is known by
/// what it is, so that one that is mounted in two places is watched once (inotify would tell its
/// events for one of the places only), and one that was replaced makes different ways.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ways(BTreeMap<Identity, Folder>);

#[derive(Debug, PartialEq, Eq)]
struct Folder {
    /// Its real path, as seen from the root folder.
    path: PathBuf,
    names: BTreeSet<OsString>,
}

impl Ways {
    /// The ways to these files as they are now. Where one can't be followed any further it ends;
    /// the files' own troubles are for the pass to tell.
    pub(super) fn of(root: &Root, files: &[AbsolutePath]) -> Self {
        let mut ways = Self::default();
        for file in files {
            ways.follow(root, file);
        }
        ways
    }

    /// The folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.values().map(|folder| folder.path.as_path())
    }

    /// Every file, symlink and folder on the ways, there or not.
    pub(super) fn names(&self) -> impl Iterator<Item = PathBuf> {
        self.0.values().flat_map(|folder| folder.names.iter().map(|name| folder.path.join(name)))
    }

    fn follow(&mut self, root: &Root, file: &AbsolutePath) {
        let mut links = 0;
        let mut to_go = steps(file.as_path());
        let Ok(mut at) = root.open_dir(Path::new("/")) else { return };
        while let Some(step) = to_go.pop() {
            let next = match step {
                Step::Root => root.open_dir(Path::new("/")).ok(),
                Step::Up => root.open_dir(at.path().parent().unwrap_or(Path::new("/"))).ok(),
                Step::Name(name) => match at.link_target(&name).ok().flatten() {
                    Some(target) => {
                        self.insert(&at, &name);
                        links += 1;
                        to_go.extend(steps(&target));
                        if links <= MOST_LINKS { Some(at) } else { None }
                    }
                    None => self.descend(&at, &name, to_go.is_empty()),
                },
            };
            let Some(next) = next else { return };
            at = next;
        }
    }

    fn descend(&mut self, at: &Dir, name: &OsStr, is_last: bool) -> Option<Dir> {
        let next = if is_last { None } else { at.open_dir(name).ok() };
        if next.is_none() || at.path().components().count() > SHALLOW + 1 {
            self.insert(at, name);
        }
        next
    }

    fn insert(&mut self, at: &Dir, name: &OsStr) {
        let Ok(identity) = at.identity() else { return };
        let folder = self
            .0
            .entry(identity)
            .or_insert_with(|| Folder { path: at.path().to_owned(), names: BTreeSet::new() });
        folder.names.insert(name.to_owned());
    }
}

enum Step {
    Root,
    Up,
    Name(OsString),
}

/// The steps of a path, the last one first. `..` stays: where it leads is known only after the
/// symlinks before it.
fn steps(path: &Path) -> Vec<Step> {
    let step = |component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The ways to a file in a root folder made by `make`: "folder: name name".
    fn ways(file: &str, make: impl FnOnce(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let root = Root::open(folder.path()).unwrap();
        let Ways(ways) = Ways::of(&root, &[AbsolutePath::new(file).unwrap()]);
        let names = |names: BTreeSet<OsString>| {
            names.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<_> = ways
            .into_values()
            .map(|folder| format!("{}: {}", folder.path.display(), names(folder.names)))
            .collect();
        lines.sort();
        lines
    }

    fn folders(at: &Path, folders: &[&str]) {
        folders.iter().for_each(|folder| fs::create_dir_all(at.join(folder)).unwrap());
    }

    #[test]
    fn a_file_is_watched_in_its_folder_and_the_folder_in_its_own() {
        let found = ways("/etc/kubernetes/pki/etcd/server.crt", |at| {
            folders(at, &["etc/kubernetes/pki/etcd"])
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
    fn for_a_missing_folder_the_nearest_that_exists() {
        assert_eq!(
            ways("/etc/kubernetes/pki/ca.crt", |at| folders(at, &["etc"])),
            ["/etc: kubernetes"]
        );
        assert_eq!(ways("/etc/kubernetes/pki/ca.crt", |_| ()), ["/: etc"]);
        assert_eq!(ways("/ca.crt", |_| ()), ["/: ca.crt"]);
        // A file where a folder should be may become one.
        assert_eq!(
            ways("/etc/x/ca.crt", |at| (
                folders(at, &["etc"]),
                fs::write(at.join("etc/x"), "").unwrap()
            )
                .1),
            ["/etc: x"]
        );
    }

    #[test]
    fn both_ends_of_a_symlink() {
        let found = ways("/var/lib/pki/current.pem", |at| {
            folders(at, &["var/lib/pki", "srv/pki/dated"]);
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
    fn a_symlink_on_the_way_and_one_that_leads_nowhere() {
        let found = ways("/etc/pki/a.crt", |at| {
            folders(at, &["etc", "srv/real"]);
            symlink("../srv/real", at.join("etc/pki")).unwrap();
            symlink("../gone/a.crt", at.join("srv/real/a.crt")).unwrap();
        });
        assert_eq!(found, ["/etc: pki", "/srv/real: a.crt", "/srv: gone"]);
    }

    #[test]
    fn a_circle_ends() {
        let found = ways("/etc/pki/a.crt", |at| {
            folders(at, &["etc/pki"]);
            symlink("b.crt", at.join("etc/pki/a.crt")).unwrap();
            symlink("a.crt", at.join("etc/pki/b.crt")).unwrap();
        });
        assert_eq!(found, ["/etc/pki: a.crt b.crt"]);
        // Grows without end, where it is followed: the kernel's own limit is what stops it.
        assert_eq!(ways("/x/a", |at| symlink("x/x", at.join("x")).unwrap()), ["/: x"]);
    }

    #[test]
    fn a_folder_replaced_by_another_makes_different_ways() {
        let folder = tempfile::tempdir().unwrap();
        folders(folder.path(), &["etc/pki"]);
        let root = Root::open(folder.path()).unwrap();
        let file = [AbsolutePath::constant("/etc/pki/a.crt")];
        let before = Ways::of(&root, &file);
        assert_eq!(Ways::of(&root, &file), before);
        fs::rename(folder.path().join("etc/pki"), folder.path().join("etc/old")).unwrap();
        folders(folder.path(), &["etc/pki"]);
        assert_ne!(Ways::of(&root, &file), before);
    }
}
