//! Absolute paths as configuration, manifests and kubeconfigs give them.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

/// A path that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPath {
    /// It does not begin with `/`.
    #[error("{0:?} is not an absolute path")]
    NotAbsolute(PathBuf),
    /// It names a directory by its end (`/`, `..`), where a file is wanted.
    #[error("{0:?} does not name a file")]
    NoFile(PathBuf),
    /// It holds a control character: the path may be one of a user, and is printed.
    #[error("{0:?} holds a control character")]
    ControlCharacter(PathBuf),
}

/// An absolute path below the root directory that is worked on, without `.`, `..` and doubled
/// slashes.
///
/// `..` is taken lexically, as Go's `filepath.Clean` does for the paths in manifests and
/// kubeconfigs. Symlinks are not followed here: that is the file system's business when the file is
/// opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// Checks and cleans the path.
    ///
    /// # Errors
    /// [`InvalidPath`], when it is relative, or ends where no file can be.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, InvalidPath> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(InvalidPath::NotAbsolute(path.to_owned()));
        }
        let mut clean = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => drop(clean.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if path.to_string_lossy().contains(char::is_control) {
            return Err(InvalidPath::ControlCharacter(path.to_owned()));
        }
        if clean.file_name().is_none() {
            return Err(InvalidPath::NoFile(path.to_owned()));
        }
        Ok(Self(clean))
    }

    /// A path that is written in this program, as it is: absolute and clean, which the tests make
    /// sure of.
    #[must_use]
    pub fn constant(path: &'static str) -> Self {
        debug_assert!(Self::new(path).is_ok_and(|clean| clean.0.as_os_str() == path), "{path:?}");
        Self(PathBuf::from(path))
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// A path beside or below this one's directory, as kubeconfigs name files: an absolute one
    /// stands for itself.
    ///
    /// # Errors
    /// [`InvalidPath::NoFile`], when the result names no file.
    pub fn sibling(&self, path: impl AsRef<Path>) -> Result<Self, InvalidPath> {
        let dir = self.0.parent().unwrap_or(Path::new("/"));
        Self::new(dir.join(path))
    }

    /// A path below this one.
    ///
    /// # Errors
    /// [`InvalidPath::NoFile`], when the result names no file.
    pub fn join(&self, path: impl AsRef<Path>) -> Result<Self, InvalidPath> {
        Self::new(self.0.join(path))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.display(), f)
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(path: &str) -> Result<String, InvalidPath> {
        AbsolutePath::new(path).map(|p| p.to_string())
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        assert_eq!(
            clean("/etc//kubernetes/./pki/../admin.conf"),
            Ok("/etc/kubernetes/admin.conf".into())
        );
        assert_eq!(clean("/../../etc/x"), Ok("/etc/x".into()));
    }

    #[test]
    fn relative_and_fileless_paths_are_refused() {
        assert!(clean("etc/x").is_err());
        assert!(clean("/").is_err());
        assert!(clean("/etc/..").is_err());
    }

    #[test]
    fn path_with_control_character_is_refused_and_escaped() {
        for path in ["/etc/a\0b", "/etc/a\nb", "/etc/\u{1b}[2Jb", "/etc/\u{9b}2Jb"] {
            let error = clean(path).unwrap_err().to_string();
            assert!(error.ends_with("holds a control character"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn siblings_resolve_like_kubeconfig_references() {
        let conf = AbsolutePath::new("/etc/kubernetes/kubelet.conf").unwrap();
        assert_eq!(conf.sibling("pki/a.pem").unwrap().to_string(), "/etc/kubernetes/pki/a.pem");
        assert_eq!(conf.sibling("/var/lib/a.pem").unwrap().to_string(), "/var/lib/a.pem");
    }
}
