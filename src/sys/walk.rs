//! The one careful walk of a path: from the root directory on, one entry at a time. Every directory
//! on the way is held by a descriptor, so that the directory that was checked is the one that is
//! used.
//!
//! The store follows a symlinked target with it, the watcher finds the directories to watch with
//! it, and copies in directories of other users are reached with it.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::sys::stat::{FileStat, SFlag};

use super::dir::kind;
use super::kept::{ExaminedDir, KeptDirs};
use super::ownership::{Ownership, WritableByOthers, check_root_only, is_ours};
use super::{Dir, FileError, FileProblem, Place, Root};

/// The number of symlinks that are followed for one path: as many as the kernel follows.
pub const MAX_SYMLINKS: usize = 40;

/// The number of directories that a walk may be below: each is held by a descriptor.
const MAX_DEPTH: usize = 128;

/// A walk along a path, inside the root.
#[derive(Debug)]
pub struct Walk {
    path: PathBuf,
    ownership: Ownership,
    /// The directories above the present one, each with [`Self::exposed`] as it was there; the root
    /// directory is the first.
    above: Vec<(Dir, bool)>,
    /// The present directory.
    dir: Dir,
    /// Whether others than root can add entries to the present directory or one above it, other
    /// than the root directory.
    exposed: bool,
    /// The first directory or file on the way that others than root can write.
    writable: Option<WritableByOthers>,
    /// The entry of it that was looked up last; empty at the root directory and after a `..`.
    name: OsString,
    next: Next,
    /// The names that are left, the first one last.
    ahead: Vec<OsString>,
    links: usize,
    /// The symlink that the rest of the path comes from, and its target.
    dangling: Option<(PathBuf, PathBuf)>,
    /// The directories that are kept open for all walks of an observation.
    kept: Option<Arc<KeptDirs>>,
    /// The entry that was looked up last, where it is one of them.
    kept_entry: Option<ExaminedDir>,
}

/// What the walk does with the entry that was looked up last, if there is more of the path.
#[derive(Debug)]
enum Next {
    Enter,
    Follow(PathBuf),
    Missing,
}

/// One entry on the way.
#[derive(Debug)]
pub struct Step<'w> {
    /// The directory that holds the entry.
    pub dir: &'w Dir,
    /// The name of the entry.
    pub name: &'w OsStr,
    /// Owner, mode and kind of the entry, not of a symlink's target. `None` when the last entry of
    /// the path is missing.
    pub stat: Option<FileStat>,
    /// The target, when the entry is a symlink.
    pub link: Option<PathBuf>,
    /// Whether the path has no further names. After a symlink its target's names follow.
    pub is_last: bool,
}

impl Walk {
    /// Starts at the root directory. The choice of the root directory is the operator's; checks of
    /// owners begin with its entries.
    ///
    /// # Errors
    /// When the root directory can't be opened.
    pub fn new(root: &Root, path: &Path, ownership: Ownership) -> Result<Self, FileError> {
        Ok(Self {
            path: path.to_owned(),
            ownership,
            above: Vec::new(),
            dir: root.top()?,
            exposed: false,
            writable: None,
            name: OsString::new(),
            next: Next::Enter,
            ahead: names(path),
            links: 0,
            dangling: None,
            kept: root.kept.clone(),
            kept_entry: None,
        })
    }

    /// Goes on to the next entry. `None` at the end of the path.
    ///
    /// # Errors
    /// When an entry on the way is missing or no directory, when the ownership forbids an entry,
    /// after [`MAX_SYMLINKS`], or when the system refuses. [`Self::position`] is the entry in
    /// question.
    pub fn step(&mut self) -> Result<Option<Step<'_>>, FileError> {
        self.follow();
        while !self.ahead.is_empty() {
            if !self.name.is_empty() {
                self.enter()?;
            }
            self.name = self.ahead.pop().unwrap_or_default();
            if self.name != ".." {
                return self.look_up().map(Some);
            }
            self.go_up();
        }
        Ok(None)
    }

    /// The entry that the walk has come to: its directory and its name.
    #[must_use]
    pub fn position(&self) -> (&Dir, &OsStr) {
        (&self.dir, &self.name)
    }

    /// The first directory or file on the way so far that others than root can write.
    pub(super) fn writable_by_others(&self) -> Option<&WritableByOthers> {
        self.writable.as_ref()
    }

    /// Whether others than root can add entries to the present directory or one above it.
    pub(super) fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// The place that the walk has come to.
    pub(super) fn into_place(self) -> Place {
        Place { dir: self.dir, name: self.name }
    }

    /// Walks to the end of the path. The entry there is no symlink, and may be missing; its name is
    /// empty where the path ends with a directory that no name was looked up for, `/` or `..`.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub(super) fn walk_to_end(&mut self) -> Result<(), FileError> {
        while self.step()?.is_some() {}
        Ok(())
    }

    /// Walks to the end of the path, where something must be.
    ///
    /// # Errors
    /// As [`Self::step`], and when nothing is there.
    pub(super) fn finish_existing(mut self) -> Result<Place, FileError> {
        self.walk_to_end()?;
        self.check_exists()?;
        Ok(self.into_place())
    }

    /// Walks to the end of the path, and opens the directory there.
    ///
    /// # Errors
    /// As [`Self::step`], and when no directory is there.
    pub(super) fn finish_dir(mut self) -> Result<Dir, FileError> {
        self.walk_to_end()?;
        self.check_exists()?;
        if !self.name.is_empty() {
            self.enter()?;
        }
        Ok(self.dir)
    }

    fn look_up(&mut self) -> Result<Step<'_>, FileError> {
        let is_last = self.ahead.is_empty();
        let kept = self.kept.as_ref().filter(|_| !self.exposed);
        self.kept_entry = kept.and_then(|kept| kept.get(&self.shown()));
        if let Some(ExaminedDir { stat, .. }) = self.kept_entry {
            self.next = Next::Enter;
            let stat = Some(stat);
            return Ok(Step { dir: &self.dir, name: &self.name, stat, link: None, is_last });
        }
        let exposed = self.ownership == Ownership::NoSymlinks && self.exposed;
        // Before a question to the mounted file system itself, which may never answer.
        if exposed && self.dir.is_mount(&self.name)? {
            return Err(self.problem(FileProblem::Mount));
        }
        let mut stat = self.dir.stat(&self.name)?;
        let mut link = None;
        self.next = match &stat {
            Some(found) if kind(found) == SFlag::S_IFLNK => {
                let (found, target) = self.dir.read_link(&self.name)?;
                self.check_link(&found, exposed)?;
                stat = Some(found);
                link = Some(target.clone());
                self.dangling = is_last.then(|| (self.shown(), target.clone()));
                Next::Follow(target)
            }
            Some(found) => {
                if self.writable.is_none() {
                    self.writable = WritableByOthers::find(found, &self.shown());
                }
                Next::Enter
            }
            None => Next::Missing,
        };
        if !is_last {
            self.check_exists()?;
        }
        Ok(Step { dir: &self.dir, name: &self.name, stat, link, is_last })
    }

    fn check_link(&mut self, stat: &FileStat, exposed: bool) -> Result<(), FileError> {
        match self.ownership {
            Ownership::RootOnly => check_root_only(stat, &self.shown())?,
            Ownership::NoSymlinks if exposed || !is_ours(stat) => {
                return Err(self.problem(FileProblem::LinkOfOthers));
            }
            Ownership::NoSymlinks | Ownership::Any => {}
        }
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            return Err(FileError { path: self.path.clone(), problem: FileProblem::LinkLoop });
        }
        Ok(())
    }

    /// Continues with the target of the symlink that was looked up last, if it was one.
    fn follow(&mut self) {
        let Next::Follow(target) = &self.next else { return };
        self.ahead.extend(names(target));
        if target.is_absolute() && !self.above.is_empty() {
            self.above.truncate(1);
            self.go_up();
        }
        self.name.clear();
        self.next = Next::Enter;
    }

    /// Opens the directory that was looked up last.
    fn enter(&mut self) -> Result<(), FileError> {
        if self.above.len() >= MAX_DEPTH {
            return Err(FileError { path: self.path.clone(), problem: FileProblem::TooDeep });
        }
        if let Some(ExaminedDir { dir, .. }) = self.kept_entry.take() {
            self.descend(dir, self.exposed);
            return Ok(());
        }
        let next = self.dir.open_dir(&self.name)?;
        let stat = next.examine()?;
        if self.ownership == Ownership::RootOnly {
            check_root_only(&stat, next.path())?;
        }
        let found = WritableByOthers::find(&stat, next.path());
        let exposed = self.exposed || found.is_some();
        if let Some(kept) = self.kept.as_ref().filter(|_| !exposed) {
            kept.keep(&ExaminedDir { dir: next.clone(), stat });
        }
        self.writable = self.writable.take().or(found);
        self.descend(next, exposed);
        Ok(())
    }

    fn descend(&mut self, next: Dir, exposed: bool) {
        let above = std::mem::replace(&mut self.dir, next);
        self.above.push((above, std::mem::replace(&mut self.exposed, exposed)));
    }

    /// Returns to the directory above; the root directory is above itself.
    fn go_up(&mut self) {
        if let Some((parent, exposed)) = self.above.pop() {
            self.dir = parent;
            self.exposed = exposed;
        }
        self.name.clear();
        self.next = Next::Enter;
    }

    pub(super) fn check_exists(&self) -> Result<(), FileError> {
        match (&self.next, &self.dangling) {
            (Next::Missing, Some((path, target))) => Err(FileError {
                path: path.clone(),
                problem: FileProblem::DanglingLink(target.clone()),
            }),
            (Next::Missing, None) => Err(self.problem(FileProblem::NotFound)),
            _ => Ok(()),
        }
    }

    fn shown(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    fn problem(&self, problem: FileProblem) -> FileError {
        FileError { path: self.shown(), problem }
    }
}

/// The names in a path, the first one last. `..` stays: where it leads is known only after the
/// symlinks before it.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;
    use crate::common::requirements::{ROOT, require};

    const ALL: [Ownership; 3] = [Ownership::RootOnly, Ownership::NoSymlinks, Ownership::Any];

    fn disk() -> (tempfile::TempDir, Root) {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("etc/pki")).unwrap();
        fs::write(disk.path().join("etc/pki/file"), "text").unwrap();
        let root = Root::open(disk.path()).unwrap();
        (disk, root)
    }

    fn end(root: &Root, path: &str, ownership: Ownership) -> Result<PathBuf, String> {
        Walk::new(root, Path::new(path), ownership)
            .and_then(Walk::finish_existing)
            .map(|place| place.path())
            .map_err(|e| e.to_string())
    }

    /// The steps of a walk: path, `>` for a symlink, `?` for a missing entry, `.` for the last.
    fn steps(root: &Root, path: &str) -> Vec<String> {
        let mut walk = Walk::new(root, Path::new(path), Ownership::Any).unwrap();
        let mut steps = Vec::new();
        while let Some(step) = walk.step().unwrap() {
            let mut text = step.dir.path().join(step.name).display().to_string();
            text.push_str(if step.link.is_some() { ">" } else { "" });
            text.push_str(if step.stat.is_none() { "?" } else { "" });
            text.push_str(if step.is_last { "." } else { "" });
            steps.push(text);
        }
        steps
    }

    #[test]
    fn links_are_followed_inside_the_root_in_every_mode() {
        let (disk, root) = disk();
        symlink("/etc/pki", disk.path().join("absolute")).unwrap();
        symlink("pki/file", disk.path().join("etc/relative")).unwrap();
        symlink("../../../../etc/pki/file", disk.path().join("etc/pki/up")).unwrap();
        for ownership in ALL {
            for path in ["/absolute/file", "/etc/relative", "/etc/pki/up", "/absolute/../pki/up"] {
                assert_eq!(
                    end(&root, path, ownership).as_deref(),
                    Ok(Path::new("/etc/pki/file")),
                    "{path} {ownership:?}"
                );
            }
        }
        assert_eq!(end(&root, "/absolute/..", Ownership::Any), Ok(PathBuf::from("/etc/")));
        assert_eq!(end(&root, "/..", Ownership::Any), Ok(PathBuf::from("/")));
    }

    #[test]
    fn each_entry_is_one_step() {
        let (disk, root) = disk();
        symlink("../etc/./pki", disk.path().join("etc/link")).unwrap();
        assert_eq!(steps(&root, "/etc/pki/file"), ["/etc", "/etc/pki", "/etc/pki/file."]);
        assert_eq!(
            steps(&root, "/etc/link/new"),
            ["/etc", "/etc/link>", "/etc", "/etc/pki", "/etc/pki/new?."]
        );
        assert_eq!(steps(&root, "/etc/link"), ["/etc", "/etc/link>.", "/etc", "/etc/pki."]);
        assert_eq!(steps(&root, "/"), Vec::<String>::new());
    }

    #[test]
    fn position_is_the_entry_that_stopped_the_walk() {
        let (_disk, root) = disk();
        for (path, stopped) in
            [("/etc/none/file", "/etc/none"), ("/etc/pki/file/below", "/etc/pki/file")]
        {
            let mut walk = Walk::new(&root, Path::new(path), Ownership::Any).unwrap();
            while walk.step().is_ok_and(|step| step.is_some()) {}
            let (dir, name) = walk.position();
            assert_eq!(dir.path().join(name), Path::new(stopped));
        }
    }

    fn text(root: &Root) -> Result<Vec<u8>, String> {
        let file = crate::model::AbsolutePath::constant("/etc/pki/file");
        let read = root.read(&file, 100).map_err(|e| e.to_string());
        read.map(|content| content.bytes.expose().to_vec())
    }

    /// Puts another directory in the place of /etc/pki.
    fn replace_pki(disk: &Path) {
        fs::rename(disk.join("etc/pki"), disk.join("etc/before")).unwrap();
        fs::create_dir(disk.join("etc/pki")).unwrap();
        fs::write(disk.join("etc/pki/file"), "other").unwrap();
    }

    #[test]
    fn kept_directory_is_that_of_the_first_walk() {
        let (disk, root) = disk();
        let kept = root.keeping_dirs();
        assert_eq!(text(&kept), Ok(b"text".to_vec()));
        replace_pki(disk.path());
        assert_eq!(text(&kept), Ok(b"text".to_vec()));
        assert_eq!(text(&root), Ok(b"other".to_vec()));
        assert_eq!(text(&root.keeping_dirs()), Ok(b"other".to_vec()));
    }

    #[test]
    fn entry_of_kept_directory_is_looked_up_again() {
        let (disk, root) = disk();
        let kept = root.keeping_dirs();
        assert_eq!(text(&kept), Ok(b"text".to_vec()));
        fs::remove_file(disk.path().join("etc/pki/file")).unwrap();
        assert_eq!(text(&kept), Err("/etc/pki/file: does not exist".to_owned()));
        symlink("../new", disk.path().join("etc/pki/file")).unwrap();
        fs::write(disk.path().join("etc/new"), "new").unwrap();
        assert_eq!(text(&kept), Ok(b"new".to_vec()));
    }

    /// Its owner may put another directory or a symlink there between two walks.
    #[test]
    fn directory_that_others_can_write_is_not_kept() {
        require!(ROOT);
        for exposed in ["etc", "etc/pki"] {
            let (disk, root) = disk();
            let kept = root.keeping_dirs();
            chown(disk.path().join(exposed), Some(1234), None).unwrap();
            assert_eq!(text(&kept), Ok(b"text".to_vec()));
            replace_pki(disk.path());
            assert_eq!(text(&kept), Ok(b"other".to_vec()), "{exposed}");
        }
        let (disk, root) = disk();
        let kept = root.keeping_dirs();
        chown(disk.path().join("etc"), Some(1234), None).unwrap();
        assert_eq!(text(&kept), Ok(b"text".to_vec()));
        fs::rename(disk.path().join("etc/pki"), disk.path().join("etc/before")).unwrap();
        symlink("before", disk.path().join("etc/pki")).unwrap();
        let error = text(&kept).unwrap_err();
        assert!(error.starts_with("/etc/pki: is a symlink that others than root"), "{error}");
    }

    #[test]
    fn foreign_link_is_refused_unless_any_owner_will_do() {
        require!(ROOT);
        let (disk, root) = disk();
        symlink("/etc/pki", disk.path().join("link")).unwrap();
        lchown(disk.path().join("link"), Some(1234), None).unwrap();
        let refused = |ownership| end(&root, "/link/file", ownership).unwrap_err();
        let error = refused(Ownership::RootOnly);
        assert!(error.starts_with("/link: belongs to user 1234"), "{error}");
        let error = refused(Ownership::NoSymlinks);
        assert!(error.starts_with("/link: is a symlink that others than root"), "{error}");
        assert_eq!(end(&root, "/link/file", Ownership::Any), Ok("/etc/pki/file".into()));
    }

    #[test]
    fn link_of_root_is_refused_below_a_directory_of_another_user() {
        require!(ROOT);
        let (disk, root) = disk();
        fs::create_dir_all(disk.path().join("home/alice/deep")).unwrap();
        chown(disk.path().join("home/alice"), Some(1234), None).unwrap();
        symlink("/etc/pki/file", disk.path().join("home/alice/deep/link")).unwrap();
        let link = "/home/alice/deep/link";
        let error = end(&root, link, Ownership::NoSymlinks).unwrap_err();
        assert!(error.starts_with("/home/alice/deep/link: is a symlink"), "{error}");
        let error = end(&root, link, Ownership::RootOnly).unwrap_err();
        assert!(error.starts_with("/home/alice: belongs to user 1234"), "{error}");
        assert_eq!(end(&root, link, Ownership::Any), Ok("/etc/pki/file".into()));
    }

    #[test]
    fn links_up_to_the_limit_are_followed_and_circles_are_not() {
        let (disk, root) = disk();
        symlink("/etc/pki/file", disk.path().join("l0")).unwrap();
        for n in 1..=MAX_SYMLINKS {
            symlink(format!("l{}", n - 1), disk.path().join(format!("l{n}"))).unwrap();
        }
        symlink("circle/circle", disk.path().join("circle")).unwrap();
        for ownership in ALL {
            let longest = format!("/l{}", MAX_SYMLINKS - 1);
            assert_eq!(end(&root, &longest, ownership), Ok("/etc/pki/file".into()));
            for path in [format!("/l{MAX_SYMLINKS}"), "/circle".to_owned()] {
                assert_eq!(
                    end(&root, &path, ownership),
                    Err(format!("{path}: is a symlink that leads in a circle"))
                );
            }
        }
    }
}
