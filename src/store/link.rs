//! A symlink that is swapped: a new file under a name of its own, and the link to it put in the
//! place of the old link by a rename, as kubelet does it with the pem that it has from the cluster.
//! The old file stays where it is.
//!
//! Both lie beside the link under its own dot-name until then, so that a sweep finds them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::journal::Entry;
use super::recover::digest;
use super::stage::{random_suffix, read_all};
use super::{StoreError, staged_prefix};
use crate::model::{AbsolutePath, CredentialName, Digest, Secret};
use crate::sys::{Dir, FileError, Root};

/// What the name of a link ends with that is swapped; what it leads to has a date instead.
const CURRENT: &str = "-current.pem";

/// A new file, and the symlink that is to lead to it.
#[derive(Debug)]
pub struct NewLink {
    /// The symlink.
    pub path: AbsolutePath,
    /// Where it led when the change was decided; `None` when nothing was there.
    pub old: Option<PathBuf>,
    /// The name of the new file beside it. Nothing of that name may be there.
    pub name: String,
    /// All that the new file will hold.
    pub content: Secret,
}

impl NewLink {
    /// Whether a file of this name is reached by a symlink that is swapped.
    #[must_use]
    pub fn is_for(path: &AbsolutePath) -> bool {
        path.as_path()
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.len() > CURRENT.len() && name.ends_with(CURRENT))
    }

    /// The name of the file that a link leads to, with this in the place of `current`. `None` where
    /// no such link has this name.
    #[must_use]
    pub fn dated(path: &AbsolutePath, stamp: &str) -> Option<String> {
        let stem = path.as_path().file_name()?.to_str()?.strip_suffix(CURRENT)?;
        Some(format!("{stem}-{stamp}.pem"))
    }
}

/// Whether this is the name of a file that this link may be made to lead to.
pub(super) fn may_lead_to(link: &str, name: &str) -> bool {
    let stem = link.strip_suffix(CURRENT).filter(|stem| !stem.is_empty());
    let stamp =
        stem.and_then(|stem| name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".pem"));
    stamp.is_some_and(|stamp| {
        stamp.starts_with(|c: char| c.is_ascii_digit())
            && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    })
}

/// A new file and a new link beside the old link. Removed when dropped, unless they were handed to
/// the journal.
#[derive(Debug)]
pub(super) struct StagedLink {
    pub dir: Dir,
    /// The link's name.
    pub name: OsString,
    /// The new link's name until it takes the place of the old one.
    staged: OsString,
    /// The new file's name until then.
    file: OsString,
    handle: File,
    /// And after that.
    dated: String,
    old: Option<PathBuf>,
    new: Digest,
    pub keep: bool,
}

impl StagedLink {
    pub fn new(root: &Root, new: &NewLink) -> Result<Self, StoreError> {
        let folder = new.path.as_path().parent().unwrap_or(Path::new("/"));
        let name = new.path.as_path().file_name().unwrap_or_default().to_owned();
        let (Some(shown), true) = (name.to_str(), folder.to_str().is_some()) else {
            return Err(StoreError::NotUtf8(new.path.as_path().to_owned()));
        };
        if !may_lead_to(shown, &new.name) {
            return Err(StoreError::NotALink(new.path.as_path().to_owned()));
        }
        let dir = root.open_dir(folder)?;
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
        link.is_as_decided()?;
        let path = link.dir.path().join(&link.file);
        link.handle
            .write_all(new.content.expose())
            .map_err(|e| FileError::from_io(&path, "write", e))?;
        link.dir.symlink(&target(&link.dir, &link.dated), &link.staged)?;
        Ok(link)
    }

    fn is_as_decided(&self) -> Result<(), StoreError> {
        let there = At::look(&self.dir, &self.name)?;
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

    /// Makes the new file durable, if the link is still what the change was decided on.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.handle
            .sync_all()
            .map_err(|e| FileError::from_io(self.dir.path().join(&self.file), "sync", e))?;
        self.is_as_decided()
    }

    /// Puts both in place. `Err` means that the link is the old one.
    pub fn swap(&self) -> Result<(), FileError> {
        let dated = OsStr::new(&self.dated);
        self.dir.rename(&self.file, dated)?;
        self.dir.rename(&self.staged, &self.name).inspect_err(|_| {
            // Back to where the journal and the sweep look for it.
            let _ = self.dir.rename(dated, &self.file);
        })
    }

    pub fn entry(&self, credential: &CredentialName) -> Entry {
        // Staging refused names that are not UTF-8.
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        Entry::Link {
            credential: credential.clone(),
            folder: self.dir.path().to_owned(),
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
            // Nothing to be done about a failure here; the next sweep tries again.
            let _ = self.dir.remove(&self.file);
            let _ = self.dir.remove(&self.staged);
        }
    }
}

/// kubelet's links hold the whole path.
fn target(dir: &Dir, dated: &str) -> PathBuf {
    dir.path().join(dated)
}

/// What stands at the link's name.
#[derive(Debug, PartialEq)]
enum At {
    Nothing,
    Link(PathBuf),
    Other,
}

impl At {
    fn look(dir: &Dir, name: &OsStr) -> Result<Self, FileError> {
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

/// A journaled link, as it is found after a crash.
pub(super) struct FoundLink<'e> {
    pub dir: Dir,
    name: &'e OsStr,
    staged: &'e OsStr,
    file: &'e OsStr,
    dated: &'e OsStr,
    /// Whether the link leads to the new file already.
    pub leads: bool,
    /// Whether the new file has its name already.
    named: bool,
    /// Whether the link is still the old one.
    is_old: bool,
    /// Whether what is missing is there.
    pub possible: bool,
}

impl<'e> FoundLink<'e> {
    /// The names are those of the link, the staged link, the staged file, and the file when it has
    /// its own.
    pub fn look(
        root: &Root,
        folder: &Path,
        names: [&'e String; 4],
        old: Option<&Path>,
        new: Digest,
    ) -> Result<Self, FileError> {
        let dir = root.open_dir(folder)?;
        let [name, staged, file, dated] = names.map(OsStr::new);
        let target = dir.path().join(dated);
        let at = At::look(&dir, name)?;
        let leads = at.is(Some(&target));
        let there = digest(&dir, dated)?;
        let named = there == Some(new);
        let content = named || (there.is_none() && digest(&dir, file)? == Some(new));
        let link = leads || dir.link_target(staged)? == Some(target);
        let is_old = at.is(old);
        Ok(Self { dir, name, staged, file, dated, leads, named, is_old, possible: content && link })
    }

    pub fn is_done(&self) -> bool {
        self.leads && self.named
    }

    /// Whether somebody else has made it lead elsewhere.
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
        self.tidy()
    }

    /// Nothing is left of it: a pem that nothing leads to would only be a key that lies about.
    pub fn give_up(&self) -> Result<(), FileError> {
        if self.named && !self.leads {
            self.dir.remove(self.dated)?;
        }
        self.tidy()
    }

    fn tidy(&self) -> Result<(), FileError> {
        self.dir.remove(self.file)?;
        self.dir.remove(self.staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_only_to_files_with_a_date() {
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
    fn the_date_takes_the_place_of_current() {
        let path = AbsolutePath::new("/var/lib/kubelet/pki/kubelet-client-current.pem").unwrap();
        assert_eq!(NewLink::dated(&path, "2026").as_deref(), Some("kubelet-client-2026.pem"));
        assert!(NewLink::is_for(&path));
        assert!(!NewLink::is_for(&AbsolutePath::new("/srv/kubelet.pem").unwrap()));
    }
}
