//! Swaps a symlink: writes a new file with a new name, and renames a new link to it over the old
//! link, as kubelet does with its client certificate. The old file stays.
//!
//! Until then both have the link's dot-name beside it, so that recovery finds them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::files::{digest, random_suffix, read_all, staged_prefix};
use super::journal::Entry;
use crate::model::{AbsolutePath, CredentialName, Digest, Secret};
use crate::sys::{Dir, FileError, Root};

/// The suffix of a link that is swapped. The file it leads to has a date instead of `current`.
const CURRENT_SUFFIX: &str = "-current.pem";

/// A new file and the symlink that will lead to it.
#[derive(Debug)]
pub struct NewLink {
    /// The symlink.
    pub path: AbsolutePath,
    /// The symlink's target when the change was decided; `None` when it did not exist.
    pub old: Option<PathBuf>,
    /// The name of the new file beside it. It must not exist.
    pub name: String,
    /// The content of the new file.
    pub content: Secret,
}

impl NewLink {
    /// Whether a path is the name of a symlink that is swapped.
    #[must_use]
    pub fn is_for(path: &AbsolutePath) -> bool {
        path.as_path()
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.len() > CURRENT_SUFFIX.len() && name.ends_with(CURRENT_SUFFIX))
    }

    /// The name of the file that a link leads to, with `stamp` instead of `current`. `None` where
    /// the path is not the name of a link that is swapped.
    #[must_use]
    pub fn dated(path: &AbsolutePath, stamp: &str) -> Option<String> {
        let stem = path.as_path().file_name()?.to_str()?.strip_suffix(CURRENT_SUFFIX)?;
        Some(format!("{stem}-{stamp}.pem"))
    }
}

/// Whether a link may lead to a file of this name.
pub(super) fn may_lead_to(link: &str, name: &str) -> bool {
    let stem = link.strip_suffix(CURRENT_SUFFIX).filter(|stem| !stem.is_empty());
    let stamp =
        stem.and_then(|stem| name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".pem"));
    stamp.is_some_and(|stamp| {
        stamp.starts_with(|c: char| c.is_ascii_digit())
            && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    })
}

/// A new file and a new link beside the old link. Removed when dropped, unless they are journaled.
#[derive(Debug)]
pub(super) struct StagedLink {
    pub dir: Dir,
    /// The link's name.
    pub name: OsString,
    /// The new link's name until it replaces the old one.
    staged: OsString,
    /// The new file's name until then.
    file: OsString,
    handle: File,
    /// The new file's final name.
    dated: String,
    old: Option<PathBuf>,
    new: Digest,
    pub keep: bool,
}

impl StagedLink {
    pub fn new(root: &Root, new: &NewLink) -> Result<Self, StoreError> {
        let parent = new.path.as_path().parent().unwrap_or(Path::new("/"));
        let name = new.path.as_path().file_name().unwrap_or_default().to_owned();
        let (Some(shown), true) = (name.to_str(), parent.to_str().is_some()) else {
            return Err(StoreError::NotUtf8(new.path.as_path().to_owned()));
        };
        if !may_lead_to(shown, &new.name) {
            return Err(StoreError::NotALink(new.path.as_path().to_owned()));
        }
        let dir = root.open_dir(parent)?;
        dir.check_replaceable(&name)?;
        let staged_name = || {
            let mut staged = staged_prefix(&name);
            staged.push(random_suffix());
            staged
        };
        let (file, staged) = (staged_name(), staged_name());
        let handle = dir.create_new(&file)?;
        let (dated, old) = (new.name.clone(), new.old.clone());
        let digest = Digest::of(new.content.expose());
        let mut link =
            Self { dir, name, staged, file, handle, dated, old, new: digest, keep: false };
        link.check_unchanged()?;
        let path = link.dir.path().join(&link.file);
        link.handle
            .write_all(new.content.expose())
            .map_err(|e| FileError::from_io(&path, "write", e))?;
        link.dir.symlink(&link_target(&link.dir, &link.dated), &link.staged)?;
        Ok(link)
    }

    fn check_unchanged(&self) -> Result<(), StoreError> {
        let there = LinkEntry::read(&self.dir, &self.name)?;
        let free = self.dir.stat(OsStr::new(&self.dated))?.is_none();
        if there.is(self.old.as_deref()) && free {
            Ok(())
        } else {
            Err(StoreError::Changed(self.dir.path().join(&self.name)))
        }
    }

    pub fn read_back(&mut self) -> Result<Secret, StoreError> {
        read_all(&mut self.handle, &self.dir.path().join(&self.file))
    }

    /// Makes the new file durable. Fails if the link has changed since the change was decided.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.handle
            .sync_all()
            .map_err(|e| FileError::from_io(self.dir.path().join(&self.file), "sync", e))?;
        self.check_unchanged()
    }

    /// Renames both to their final names. On an error the link is the old one.
    pub fn swap(&self) -> Result<(), FileError> {
        let dated = OsStr::new(&self.dated);
        self.dir.rename(&self.file, dated)?;
        self.dir.rename(&self.staged, &self.name).inspect_err(|_| {
            // Recovery looks for the file under its staged name.
            let _ = self.dir.rename(dated, &self.file);
        })
    }

    pub fn entry(&self, credential: &CredentialName) -> Entry {
        // Staging refused names that are not UTF-8.
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        Entry::Link {
            credential: credential.clone(),
            dir: self.dir.path().to_owned(),
            name: text(&self.name),
            staged: text(&self.staged),
            file: text(&self.file),
            dated: self.dated.clone(),
            old: self.old.clone(),
            new: self.new,
        }
    }
}

impl Drop for StagedLink {
    fn drop(&mut self) {
        if !self.keep {
            // A failure is ignored: recovery at the next start tries again.
            let _ = self.dir.remove(&self.file);
            let _ = self.dir.remove(&self.staged);
        }
    }
}

/// The target of a link: the absolute path, as in kubelet's links.
fn link_target(dir: &Dir, dated: &str) -> PathBuf {
    dir.path().join(dated)
}

/// The directory entry at the link's name.
#[derive(Debug, PartialEq)]
enum LinkEntry {
    Nothing,
    Link(PathBuf),
    Other,
}

impl LinkEntry {
    fn read(dir: &Dir, name: &OsStr) -> Result<Self, FileError> {
        Ok(match (dir.link_target(name)?, dir.stat(name)?) {
            (Some(target), _) => Self::Link(target),
            (None, None) => Self::Nothing,
            (None, Some(_)) => Self::Other,
        })
    }

    fn is(&self, old: Option<&Path>) -> bool {
        match self {
            Self::Nothing => old.is_none(),
            Self::Link(target) => old == Some(target),
            Self::Other => false,
        }
    }
}

/// The state of a journaled link after a crash.
pub(super) struct FoundLink<'e> {
    pub dir: Dir,
    name: &'e OsStr,
    staged: &'e OsStr,
    file: &'e OsStr,
    dated: &'e OsStr,
    /// Whether the link leads to the new file already.
    pub leads: bool,
    /// Whether the new file has its final name already.
    named: bool,
    /// Whether the link is still the old one.
    is_old: bool,
    /// Whether the files that are needed to complete the swap exist.
    pub possible: bool,
}

impl<'e> FoundLink<'e> {
    /// Reads the state. The names are those of the link, the staged link, the staged file, and the
    /// final name of the file.
    pub fn read(
        root: &Root,
        path: &Path,
        names: [&'e String; 4],
        old: Option<&Path>,
        new: Digest,
    ) -> Result<Self, FileError> {
        let dir = root.open_dir(path)?;
        let [name, staged, file, dated] = names.map(OsStr::new);
        let target = dir.path().join(dated);
        let entry = LinkEntry::read(&dir, name)?;
        let leads = entry.is(Some(&target));
        let there = digest(&dir, dated)?;
        let named = there == Some(new);
        let content = named || (there.is_none() && digest(&dir, file)? == Some(new));
        let link = leads || dir.link_target(staged)? == Some(target);
        let is_old = entry.is(old);
        Ok(Self { dir, name, staged, file, dated, leads, named, is_old, possible: content && link })
    }

    pub fn is_done(&self) -> bool {
        self.leads && self.named
    }

    /// Whether another program has changed the link.
    pub fn is_overtaken(&self) -> bool {
        !self.leads && !self.is_old
    }

    pub fn finish(&self) -> Result<(), FileError> {
        if !self.named {
            self.dir.rename(self.file, self.dated)?;
        }
        if !self.leads {
            self.dir.rename(self.staged, self.name)?;
        }
        self.remove_staged()
    }

    /// Removes all files of the swap: a file that no link leads to would only be a stray key.
    pub fn undo(&self) -> Result<(), FileError> {
        if self.named && !self.leads {
            self.dir.remove(self.dated)?;
        }
        self.remove_staged()
    }

    fn remove_staged(&self) -> Result<(), FileError> {
        self.dir.remove(self.file)?;
        self.dir.remove(self.staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_leads_only_to_dated_file() {
        let link = "kubelet-client-current.pem";
        assert!(may_lead_to(link, "kubelet-client-2026-11-22-05-30-00.pem"));
        for name in [
            "kubelet-client-current.pem",
            "kubelet-client-.pem",
            "kubelet-server-2026.pem",
            "kubelet-client-2026.crt",
            "ca.pem",
        ] {
            assert!(!may_lead_to(link, name), "{name}");
        }
        assert!(
            !may_lead_to("-current.pem", "-2026.pem")
                && !may_lead_to("apiserver.crt", "apiserver-2026.pem")
        );
        assert!(!may_lead_to(link, "kubelet-client-2026/../x.pem"));
    }

    #[test]
    fn current_is_replaced_by_date() {
        let path = AbsolutePath::new("/var/lib/kubelet/pki/kubelet-client-current.pem").unwrap();
        assert_eq!(NewLink::dated(&path, "2026").as_deref(), Some("kubelet-client-2026.pem"));
        assert!(NewLink::is_for(&path));
        assert!(!NewLink::is_for(&AbsolutePath::new("/srv/kubelet.pem").unwrap()));
    }
}
