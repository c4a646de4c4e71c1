//! Paths with `*` for a name: what there is on this node that they mean.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::model::AbsolutePath;

/// As many files as one such path may mean. There is one controller node for all of its
/// administrators.
pub const MOST_MATCHES: usize = 256;

impl Root {
    /// The files that a path with `*` in the place of whole names means, sorted; what can't be
    /// reached is among them where it is more than not there. Hidden folders are not meant, nor
    /// names that are no plain text. Never more than [`MOST_MATCHES`] and one.
    #[must_use]
    pub fn matching(&self, pattern: &AbsolutePath) -> Vec<AbsolutePath> {
        let mut found = vec![PathBuf::from("/")];
        for name in pattern.as_path().iter().skip(1) {
            found = if name == "*" {
                found
                    .iter()
                    .flat_map(|folder| {
                        self.folders_in(folder).into_iter().map(|name| folder.join(name))
                    })
                    .collect()
            } else {
                found.iter().map(|folder| folder.join(name)).collect()
            };
        }
        let paths = found.into_iter().filter_map(|path| AbsolutePath::new(path).ok());
        paths.filter(|path| self.is_there(path)).take(MOST_MATCHES + 1).collect()
    }

    fn folders_in(&self, folder: &Path) -> Vec<OsString> {
        let plain = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| !name.starts_with('.') && !name.contains(char::is_control))
        };
        self.folder_warily(folder).and_then(|folder| folder.names_that(plain)).unwrap_or_default()
    }

    fn is_there(&self, path: &AbsolutePath) -> bool {
        match self.locate_warily(path).and_then(|place| place.dir.stat(&place.name)) {
            Ok(found) => found.is_some(),
            Err(e) => !e.is_not_found() && e.errno() != Errno::ENOTDIR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_star_is_for_each_folder_that_has_the_file() {
        let disk = tempfile::tempdir().unwrap();
        let at = |path: &str| disk.path().join(path);
        for user in ["alice", "bob", "carol", ".hidden", "odd\nname", "dave"] {
            fs::create_dir_all(at("home").join(user).join(".kube")).unwrap();
            fs::write(at("home").join(user).join(".kube/config"), "x").unwrap();
        }
        fs::remove_file(at("home/bob/.kube/config")).unwrap();
        fs::remove_dir_all(at("home/carol/.kube")).unwrap();
        fs::write(at("home/file"), "x").unwrap();
        fs::create_dir_all(at("srv/erin/.kube")).unwrap();
        fs::write(at("srv/erin/.kube/config"), "x").unwrap();
        symlink("/srv/erin", at("home/erin")).unwrap();
        let root = Root::open(disk.path()).unwrap();
        let found = || {
            let found = root.matching(&AbsolutePath::constant("/home/*/.kube/config"));
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expected =
            ["/home/alice/.kube/config", "/home/dave/.kube/config", "/home/erin/.kube/config"];
        assert_eq!(found(), expected, "root's own links are followed");
        if nix::unistd::geteuid().is_root() {
            // What can't be followed is there all the same, for somebody to be told.
            fs::remove_dir_all(at("home/dave/.kube")).unwrap();
            symlink("/srv/erin/.kube", at("home/dave/.kube")).unwrap();
            chown(at("home/dave"), Some(1234), None).unwrap();
            assert_eq!(found(), expected);
        }
        assert_eq!(root.matching(&AbsolutePath::constant("/none/*/x")), []);
    }

    #[test]
    fn there_is_an_end_to_what_is_meant() {
        let disk = tempfile::tempdir().unwrap();
        (0..MOST_MATCHES + 9).for_each(|number| {
            fs::create_dir_all(disk.path().join(format!("home/u{number}/x"))).unwrap()
        });
        let found = Root::open(disk.path()).unwrap().matching(&AbsolutePath::constant("/home/*/x"));
        assert_eq!(found.len(), MOST_MATCHES + 1);
    }
}
