//! The files on this node that match a path with `*` for a name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::model::AbsolutePath;

/// The number of files that one such path may match. All administrators of a cluster share one
/// control-plane node.
pub const MAX_MATCHES: usize = 256;

impl Root {
    /// The files that match a path with `*` in the place of whole names, sorted, at most
    /// [`MAX_MATCHES`] and one. A file that can't be reached is among them, unless it is missing.
    /// `*` matches no hidden directory, and no name that is not plain text.
    #[must_use]
    pub fn matching(&self, pattern: &AbsolutePath) -> Vec<AbsolutePath> {
        let mut found = vec![PathBuf::from("/")];
        for name in pattern.as_path().iter().skip(1) {
            found = if name == "*" {
                found
                    .iter()
                    .flat_map(|dir| self.names_in(dir).into_iter().map(|name| dir.join(name)))
                    .collect()
            } else {
                found.iter().map(|dir| dir.join(name)).collect()
            };
        }
        let paths = found.into_iter().filter_map(|path| AbsolutePath::new(path).ok());
        paths.filter(|path| self.exists(path)).take(MAX_MATCHES + 1).collect()
    }

    fn names_in(&self, dir: &Path) -> Vec<OsString> {
        let plain = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| !name.starts_with('.') && !name.contains(char::is_control))
        };
        self.open_dir(dir).and_then(|dir| dir.names_matching(plain)).unwrap_or_default()
    }

    /// Whether a file is there. One that can't be reached counts, unless it is missing.
    #[must_use]
    pub fn exists(&self, path: &AbsolutePath) -> bool {
        match self.stat(path) {
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
    fn star_matches_each_directory_that_has_the_file() {
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
            // A symlink that is not followed still matches, so that it is reported.
            fs::remove_dir_all(at("home/dave/.kube")).unwrap();
            symlink("/srv/erin/.kube", at("home/dave/.kube")).unwrap();
            chown(at("home/dave"), Some(1234), None).unwrap();
            assert_eq!(found(), expected);
        }
        assert_eq!(root.matching(&AbsolutePath::constant("/none/*/x")), []);
    }

    #[test]
    fn matches_are_limited() {
        let disk = tempfile::tempdir().unwrap();
        (0..MAX_MATCHES + 9).for_each(|number| {
            fs::create_dir_all(disk.path().join(format!("home/u{number}/x"))).unwrap()
        });
        let found = Root::open(disk.path()).unwrap().matching(&AbsolutePath::constant("/home/*/x"));
        assert_eq!(found.len(), MAX_MATCHES + 1);
    }
}
