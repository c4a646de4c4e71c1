//! Whom a file is from. What root does here is said by files, and those are believed only if nobody
//! but root can have written them: the file itself and every folder on the way to it, from the root
//! folder on.
//!
//! And how a file is reached that is in the hands of others, who may put anything on the way to it
//! at any moment.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag};

use super::dir::kind;
use super::root::MOST_LINKS;
use super::{Dir, FileContent, FileError, FileProblem, Place, Root, read_regular};
use crate::model::AbsolutePath;

/// The bits by which others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// Only who owns an entry of such a folder can take it away, whoever may write to the folder:
/// `/tmp` is one.
const STICKY: u32 = 0o1000;

/// What to think of the folders on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eye {
    /// Others than root may not have changed them.
    Strict,
    /// Others than root may have, and then no symlink is followed from there on, and no mount
    /// entered.
    Wary,
    /// Whoever they belong to.
    Blind,
}

impl Root {
    /// Reads a regular file that only root can have written: like [`Self::read`], and refuses every
    /// other.
    ///
    /// # Errors
    /// When it can't be read, or it or a folder on the way to it belongs to somebody else
    /// or can be written by others.
    pub fn read_trusted(&self, path: &AbsolutePath, limit: u64) -> Result<FileContent, FileError> {
        let (dir, name) = Walk { root: self, eye: Eye::Strict }.to_file(path.as_path())?;
        let path = dir.path().join(&name);
        let content = read_regular(dir.open(&name)?, &path, limit)?;
        trusted(&content.stat, &path)?;
        Ok(content)
    }

    /// Opens a folder in which only root can have changed anything.
    ///
    /// # Errors
    /// When it is not there, or it or a folder on the way to it belongs to somebody else
    /// or can be written by others.
    pub fn trusted_folder(&self, path: &Path) -> Result<Dir, FileError> {
        Walk { root: self, eye: Eye::Strict }.to_folder(path)
    }

    /// Opens what a path leads to, inside the root, without the help of the kernel for it.
    pub(super) fn open_by_steps(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let (dir, name) =
            Walk { root: self, eye: Eye::Blind }.to_file(path).map_err(|e| e.errno())?;
        let name = if name.is_empty() { OsStr::new(".") } else { &name };
        nix::fcntl::openat(&dir, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Reads a regular file that others than root may have in their hands: see
    /// [`Root::be_wary_of`].
    pub(super) fn read_warily(
        &self,
        path: &AbsolutePath,
        limit: u64,
    ) -> Result<FileContent, FileError> {
        let Place { dir, name } = self.locate_warily(path)?;
        let path = dir.path().join(&name);
        let content = read_regular(dir.open(&name)?, &path, limit)?;
        let names = content.stat.st_nlink;
        // Under another name it may be anybody's, where others can have given it one.
        if names > 1
            && AbsolutePath::new(&path)
                .is_ok_and(|path| self.is_in_other_hands(&path).unwrap_or(true))
        {
            return Err(FileError { path, problem: FileProblem::ManyNames(names) });
        }
        Ok(content)
    }

    /// The place of such a file, whether or not it is there.
    pub(super) fn locate_warily(&self, path: &AbsolutePath) -> Result<Place, FileError> {
        let (dir, name) = Walk { root: self, eye: Eye::Wary }.to_file(path.as_path())?;
        if name.is_empty() {
            return Err(FileError {
                path: path.as_path().to_owned(),
                problem: FileProblem::NotAFile("a folder"),
            });
        }
        Ok(Place { dir, name })
    }

    /// The folder of such a file.
    pub(super) fn folder_warily(&self, path: &Path) -> Result<Dir, FileError> {
        Walk { root: self, eye: Eye::Wary }.to_folder(path)
    }

    /// The last folder on the way to a file that nobody but root can put something else in the
    /// place of: its own folder, or the first one on the way that is in the hands of others.
    ///
    /// # Errors
    /// When there is no way.
    pub fn last_folder_of_roots(&self, path: &AbsolutePath) -> Result<PathBuf, FileError> {
        let real = self.locate_warily(path)?.dir.path().to_owned();
        let mut last = PathBuf::from("/");
        for name in names(&real).iter().rev() {
            last.push(name);
            if is_in_other_hands(&self.folder_warily(&last)?)? {
                break;
            }
        }
        Ok(last)
    }

    /// Whether others than root can do as they like in a folder on the way to this file.
    ///
    /// # Errors
    /// When there is no way.
    pub fn is_in_other_hands(&self, path: &AbsolutePath) -> Result<bool, FileError> {
        let last = self.last_folder_of_roots(path)?;
        Ok(last != Path::new("/") && is_in_other_hands(&self.folder_warily(&last)?)?)
    }

    /// Where a folder really is, with every symlink followed.
    ///
    /// # Errors
    /// When it is not there.
    pub fn real_folder(&self, path: &Path) -> Result<PathBuf, FileError> {
        Walk { root: self, eye: Eye::Blind }.to_folder(path).map(|dir| dir.path().to_owned())
    }
}

/// Whether only root, or who runs this program, can have written it.
///
/// # Errors
/// When others can: whose it is or what its mode is, and what to do.
pub(crate) fn trusted(stat: &FileStat, path: &Path) -> Result<(), FileError> {
    let untrusted = |how: String, remedy: &str| {
        let remedy = format!("{remedy} {}", path.display());
        Err(FileError { path: path.to_owned(), problem: FileProblem::NotTrusted { how, remedy } })
    };
    if !is_ours(stat) {
        return untrusted(format!("belongs to user {}", stat.st_uid), "chown root:root");
    }
    let is_link = kind(stat) == SFlag::S_IFLNK;
    let sticky_folder = kind(stat) == SFlag::S_IFDIR && stat.st_mode & STICKY != 0;
    if stat.st_mode & OTHERS_WRITE != 0 && !is_link && !sticky_folder {
        return untrusted(format!("has mode {:04o}", stat.st_mode & 0o7777), "chmod go-w");
    }
    Ok(())
}

fn is_ours(stat: &FileStat) -> bool {
    stat.st_uid == 0 || stat.st_uid == nix::unistd::geteuid().as_raw()
}

/// A walk from the root folder, one name at a time, holding each folder: what was judged is what is
/// used.
struct Walk<'r> {
    root: &'r Root,
    eye: Eye,
}

impl Walk<'_> {
    fn to_folder(&self, path: &Path) -> Result<Dir, FileError> {
        let (dir, name) = self.to_file(path)?;
        if name.is_empty() { Ok(dir) } else { self.enter(&dir, &name) }
    }

    /// The folder and the name of what the path leads to, which is no symlink; no name for the root
    /// folder itself.
    fn to_file(&self, path: &Path) -> Result<(Dir, OsString), FileError> {
        // The folder that is given as the root is the operator's choice; what is judged begins in
        // it.
        let mut open = vec![self.root.top()?];
        let mut ahead = names(path);
        let mut links = 0;
        let mut dangling = None;
        loop {
            let Some(dir) = open.last() else {
                return last(open, path).map(|dir| (dir, OsString::new()));
            };
            let Some(name) = ahead.pop() else { return Ok((last(open, path)?, OsString::new())) };
            if name == ".." {
                if open.len() > 1 {
                    open.pop();
                }
                continue;
            }
            let shown = dir.path().join(&name);
            let others = self.eye == Eye::Wary && any_in_other_hands(&open)?;
            if others && dir.is_mount(&name)? {
                return Err(FileError { path: shown, problem: FileProblem::Mount });
            }
            let Some(stat) = dir.stat(&name)? else {
                if self.eye == Eye::Wary && ahead.is_empty() {
                    return Ok((last(open, path)?, name));
                }
                return Err(match dangling {
                    Some((path, target)) => {
                        FileError { path, problem: FileProblem::DanglingLink(target) }
                    }
                    None => FileError { path: shown, problem: FileProblem::NotFound },
                });
            };
            if kind(&stat) == SFlag::S_IFLNK {
                if others {
                    return Err(FileError { path: shown, problem: FileProblem::Link });
                }
                self.judge(&stat, &shown)?;
                links += 1;
                let target = dir.link_target(&name)?.unwrap_or_default();
                if links > MOST_LINKS {
                    return Err(FileError {
                        path: path.to_owned(),
                        problem: FileProblem::LinkLoop,
                    });
                }
                dangling = ahead.is_empty().then(|| (shown, target.clone()));
                if target.is_absolute() {
                    open.truncate(1);
                }
                ahead.extend(names(&target));
                continue;
            }
            if ahead.is_empty() {
                return Ok((last(open, path)?, name));
            }
            let next = self.enter(dir, &name)?;
            open.push(next);
        }
    }

    fn enter(&self, dir: &Dir, name: &OsStr) -> Result<Dir, FileError> {
        let next = dir.folder(name)?;
        let stat = next.examine()?;
        self.judge(&stat, next.path())?;
        Ok(next)
    }

    fn judge(&self, stat: &FileStat, path: &Path) -> Result<(), FileError> {
        if self.eye == Eye::Strict { trusted(stat, path) } else { Ok(()) }
    }
}

fn any_in_other_hands(open: &[Dir]) -> Result<bool, FileError> {
    // The first is the root folder that was given, which is the operator's choice.
    for dir in open.iter().skip(1) {
        if is_in_other_hands(dir)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether others than root can put something into it, be it a folder where each can take away only
/// what is his own.
fn is_in_other_hands(dir: &Dir) -> Result<bool, FileError> {
    let stat = dir.examine()?;
    Ok(!is_ours(&stat) || stat.st_mode & OTHERS_WRITE != 0)
}

/// The folder that the walk has come to. It always stands somewhere: at least in the root folder.
fn last(mut open: Vec<Dir>, path: &Path) -> Result<Dir, FileError> {
    open.pop().ok_or_else(|| FileError { path: path.to_owned(), problem: FileProblem::NotFound })
}

/// The names in a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    fn disk() -> (tempfile::TempDir, Root) {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("etc/own")).unwrap();
        fs::write(disk.path().join("etc/own/file"), "text").unwrap();
        let root = Root::open(disk.path()).unwrap();
        (disk, root)
    }

    fn read(root: &Root, path: &str) -> Result<String, String> {
        let content =
            root.read_trusted(&AbsolutePath::new(path).unwrap(), 100).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(content.bytes.expose().to_vec()).unwrap())
    }

    fn mode(disk: &tempfile::TempDir, path: &str, mode: u32) {
        fs::set_permissions(disk.path().join(path), Permissions::from_mode(mode)).unwrap();
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn what_others_can_write_is_refused_wherever_on_the_way_and_the_remedy_is_said() {
        for (place, shown) in
            [("etc", "/etc"), ("etc/own", "/etc/own"), ("etc/own/file", "/etc/own/file")]
        {
            for bad in [0o775, 0o757, 0o772] {
                let (disk, root) = disk();
                assert_eq!(read(&root, "/etc/own/file").as_deref(), Ok("text"));
                mode(&disk, place, bad);
                let error = read(&root, "/etc/own/file").unwrap_err();
                assert_eq!(
                    error,
                    format!(
                        "{shown}: has mode {bad:04o}, so that others than root can have changed \
                         it: it is not used; see that all is right there, then chmod go-w {shown}"
                    )
                );
            }
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !is_root() {
            return;
        }
        for (place, shown) in
            [("etc", "/etc"), ("etc/own", "/etc/own"), ("etc/own/file", "/etc/own/file")]
        {
            let (disk, root) = disk();
            chown(disk.path().join(place), Some(1234), None).unwrap();
            let error = read(&root, "/etc/own/file").unwrap_err();
            assert!(error.starts_with(&format!("{shown}: belongs to user 1234, so")), "{error}");
            assert!(error.ends_with(&format!("then chown root:root {shown}")), "{error}");
        }
    }

    #[test]
    fn a_sticky_folder_is_as_good_as_its_entries() {
        if !is_root() {
            return;
        }
        let (disk, root) = disk();
        mode(&disk, "etc", 0o1777);
        assert_eq!(read(&root, "/etc/own/file").as_deref(), Ok("text"));
        symlink("own/file", disk.path().join("etc/link")).unwrap();
        assert_eq!(read(&root, "/etc/link").as_deref(), Ok("text"));
        lchown(disk.path().join("etc/link"), Some(1234), None).unwrap();
        assert!(
            read(&root, "/etc/link").unwrap_err().starts_with("/etc/link: belongs to user 1234")
        );
    }

    #[test]
    fn symlinks_are_followed_inside_the_root_and_judged_where_they_lead() {
        let (disk, root) = disk();
        symlink("/etc/own", disk.path().join("absolute")).unwrap();
        symlink("../../../etc/own/../own/file", disk.path().join("etc/up")).unwrap();
        symlink("nowhere", disk.path().join("etc/dangling")).unwrap();
        symlink("loop", disk.path().join("loop")).unwrap();
        assert_eq!(read(&root, "/absolute/file").as_deref(), Ok("text"));
        assert_eq!(read(&root, "/etc/up").as_deref(), Ok("text"));
        assert_eq!(root.real_folder(Path::new("/absolute")).unwrap(), Path::new("/etc/own"));
        assert_eq!(root.real_folder(Path::new("/")).unwrap(), Path::new("/"));
        assert_eq!(
            read(&root, "/etc/dangling").unwrap_err(),
            "/etc/dangling: is a symlink to nowhere, which does not exist"
        );
        assert_eq!(read(&root, "/loop").unwrap_err(), "/loop: is a symlink that leads in a circle");
        assert!(
            root.read_trusted(&AbsolutePath::constant("/etc/none"), 9).unwrap_err().is_not_found()
        );
        assert_eq!(read(&root, "/etc/own").unwrap_err(), "/etc/own: is a folder, not a file");
        mode(&disk, "etc/own", 0o777);
        for path in ["/absolute/file", "/etc/up"] {
            assert!(read(&root, path).unwrap_err().starts_with("/etc/own: has mode 0777"));
        }
    }

    /// Where the kernel does not resolve paths inside a root, it comes to the same.
    #[test]
    fn step_by_step_a_path_leads_where_the_kernel_finds_it() {
        let (disk, root) = disk();
        fs::write(disk.path().join("secret"), "inside").unwrap();
        symlink("/secret", disk.path().join("etc/absolute")).unwrap();
        symlink("../../../../secret", disk.path().join("etc/own/up")).unwrap();
        symlink("etc/own", disk.path().join("folder")).unwrap();
        symlink("nowhere", disk.path().join("dangling")).unwrap();
        symlink("loop", disk.path().join("loop")).unwrap();
        let text = |fd: Result<OwnedFd, Errno>| {
            let mut text = String::new();
            fd.map(|fd| {
                File::from(fd).read_to_string(&mut text).map_or(Err(Errno::EISDIR), |_| Ok(text))
            })?
        };
        let cases = [
            "/etc/own/file",
            "/etc/absolute",
            "/etc/own/up",
            "/folder/file",
            "/folder/up",
            "/folder",
            "/",
            "/none",
            "/dangling",
            "/loop",
        ];
        for path in cases.iter().chain(&[
            "/etc/own/file/below",
            "/secret/..",
            "/none/../secret",
            "/folder/../absolute",
        ]) {
            let by = |open: fn(&Root, &Path, OFlag) -> Result<OwnedFd, Errno>| {
                text(open(&root, Path::new(path), OFlag::O_RDONLY))
            };
            assert_eq!(by(Root::open_by_steps), by(Root::open_at), "{path}");
        }
        for path in ["/", "/folder", "/etc/own", "/etc/own/file", "/dangling"] {
            let by = |open: fn(&Root, &Path, OFlag) -> Result<OwnedFd, Errno>| {
                open(&root, Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(drop)
            };
            assert_eq!(by(Root::open_by_steps), by(Root::open_at), "{path}");
        }
    }

    #[test]
    fn warily_roots_own_links_are_followed_until_others_have_a_say() {
        if !is_root() {
            return;
        }
        let (disk, mut root) = disk();
        let at = |path: &str| disk.path().join(path);
        fs::create_dir_all(at("home/alice/deep")).unwrap();
        fs::create_dir_all(at("tmp")).unwrap();
        chown(at("home/alice"), Some(1234), None).unwrap();
        mode(&disk, "tmp", 0o1777);
        for path in ["home/alice/deep/file", "tmp/file"] {
            fs::write(at(path), "text").unwrap();
        }
        symlink("/etc/own", at("etc/roots")).unwrap();
        symlink("/home/alice/deep/file", at("etc/leads-there")).unwrap();
        symlink("/etc/own/file", at("home/alice/link")).unwrap();
        symlink("file", at("tmp/link")).unwrap();
        fs::hard_link(at("etc/own/file"), at("home/alice/hard")).unwrap();
        fs::hard_link(at("etc/own/file"), at("etc/hard")).unwrap();
        let files = [
            ("/etc/roots/file", "/etc/own", false),
            ("/etc/hard", "/etc", false),
            ("/etc/leads-there", "/home/alice", true),
            ("/home/alice/deep/file", "/home/alice", true),
            ("/tmp/file", "/tmp", true),
        ];
        for (file, last, others) in files {
            let file = AbsolutePath::new(file).unwrap();
            root.be_wary_of([&file]);
            assert_eq!(root.last_folder_of_roots(&file).unwrap(), Path::new(last), "{file}");
            assert_eq!(root.is_in_other_hands(&file).unwrap(), others, "{file}");
            assert_eq!(root.read(&file, 9).unwrap().bytes.expose(), b"text", "{file}");
            assert!(root.stat(&file).unwrap().is_some(), "{file}");
        }
        for (file, says) in [
            ("/home/alice/link", "is a symlink, which is not followed here"),
            ("/tmp/link", "is a symlink, which is not followed here"),
            ("/home/alice/hard", "has 3 names (hard links)"),
        ] {
            let file = AbsolutePath::new(file).unwrap();
            assert!(
                root.read(&file, 9).is_ok(),
                "{file}: nobody has said that it is in anybody's hands"
            );
            root.be_wary_of([&file]);
            for wary in [&root, &root.again().unwrap()] {
                let error = wary.read(&file, 9).unwrap_err().to_string();
                assert!(error.contains(says), "{error}");
            }
        }
        // The folder of such a file is reached in the same way.
        assert!(root.folder(Path::new("/home/alice/deep")).is_ok());
        fs::rename(at("home/alice/deep"), at("home/alice/away")).unwrap();
        symlink("/etc/own", at("home/alice/deep")).unwrap();
        assert!(
            root.folder(Path::new("/home/alice/deep"))
                .unwrap_err()
                .to_string()
                .contains("is a symlink")
        );
    }
}
