//! The root folder that is worked on: `/`, or a mounted disk, or a test's folder.
//!
//! Every path is resolved inside it by the kernel (openat2 with RESOLVE_IN_ROOT): absolute symlinks
//! point into it, and no `..` or hostile symlink leads out of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use zeroize::Zeroizing;

use super::dir::kind;
use super::{Dir, FileError, FileProblem};
use crate::model::{AbsolutePath, Secret};

/// The root folder, held by a descriptor.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    shown: PathBuf,
    /// The files that others may have in their hands, and the folders of these.
    wary_of: (BTreeSet<PathBuf>, BTreeSet<PathBuf>),
}

/// A file's content, with what the system says of it.
#[derive(Debug)]
pub struct FileContent {
    /// All its bytes. Any file may hold a key, so all are treated as if they did.
    pub bytes: Secret,
    /// Size, owner, mode and times, taken from the descriptor that was read.
    pub stat: FileStat,
}

/// Where a path really leads: the folder and the name of the file itself, with every symlink
/// followed.
#[derive(Debug)]
pub struct Place {
    /// The folder that holds the file.
    pub dir: Dir,
    /// The file's name in it.
    pub name: OsString,
}

impl Place {
    /// The file's real path, as seen from the root folder that is worked on.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }
}

/// As many symlinks in a row as the kernel itself follows.
pub(super) const MOST_LINKS: usize = 40;

impl Root {
    /// Opens a folder as the root.
    ///
    /// # Errors
    /// When it is not a folder or can't be opened.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(folder, flags, Mode::empty())
            .map_err(|e| FileError::from_errno(folder, "open", e))?;
        Ok(Self { fd, shown: folder.to_owned(), wary_of: Default::default() })
    }

    /// The same root folder once more, as wary as this one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn again(&self) -> Result<Self, FileError> {
        Ok(Self { wary_of: self.wary_of.clone(), ..Self::open(&self.shown)? })
    }

    /// From now on, whoever reads or replaces one of these files through this root reaches it in a
    /// way that nobody can lead astray who has the file in his hands: from the first folder on that
    /// others than root can put something into, no symlink is followed, no mount entered, and no
    /// file read that has another name besides.
    pub fn be_wary_of<'f>(&mut self, files: impl IntoIterator<Item = &'f AbsolutePath>) {
        for file in files {
            // Where root's own links lead to what is root's own, that is reached as ever under its
            // own name.
            let others = self.is_in_other_hands(file).unwrap_or(true);
            let real = self.locate_warily(file).ok().filter(|_| others).map(|place| place.path());
            for path in real.into_iter().chain([file.as_path().to_owned()]) {
                self.wary_of.1.extend(path.parent().map(Path::to_owned));
                self.wary_of.0.insert(path);
            }
        }
    }

    fn is_wary_of(&self, file: &AbsolutePath) -> bool {
        self.wary_of.0.contains(file.as_path())
    }

    /// The folder, as the operator named it.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Whether this is the running system's own root folder.
    #[must_use]
    pub fn is_host(&self) -> bool {
        let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
        match (nix::sys::stat::fstat(&self.fd), nix::sys::stat::stat("/")) {
            (Ok(own), Ok(host)) => identity(own) == identity(host),
            _ => false,
        }
    }

    /// Reads a whole regular file.
    ///
    /// # Errors
    /// When it does not exist, is not a regular file, is larger than `limit` bytes, or
    /// can't be read. A device or a pipe is refused without being waited for.
    pub fn read(&self, path: &AbsolutePath, limit: u64) -> Result<FileContent, FileError> {
        if self.is_wary_of(path) {
            return self.read_warily(path, limit);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = match self.open_at(path.as_path(), flags) {
            Ok(fd) => fd,
            Err(errno) => return Err(self.explain(path, errno)),
        };
        read_regular(File::from(fd), path.as_path(), limit)
    }

    /// Opens a folder, following symlinks inside the root.
    ///
    /// # Errors
    /// When it does not exist or is not a folder.
    pub fn folder(&self, path: &Path) -> Result<Dir, FileError> {
        if self.wary_of.1.contains(path) {
            return self.folder_warily(path);
        }
        let fd = self
            .open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map_err(|e| FileError::from_errno(path, "open", e))?;
        Ok(Dir::new(fd, path.to_owned()))
    }

    /// Opens a folder, making it first, for its owner alone, where it is missing, and its missing
    /// parents for all to pass.
    ///
    /// # Errors
    /// When a part of the path is not a folder, or can't be opened or created.
    pub fn create_folder(&self, path: &AbsolutePath) -> Result<Dir, FileError> {
        match self.folder(path.as_path()) {
            Err(e) if e.is_not_found() => {}
            result => return result,
        }
        let name = path.as_path().file_name().unwrap_or_default();
        let parent = path.as_path().parent().unwrap_or(Path::new("/"));
        self.make_parents(parent)?;
        let parent = self.folder(parent)?;
        parent.make_folder(name, Mode::S_IRWXU)?;
        parent.sync()?;
        self.folder(path.as_path())
    }

    /// Makes the missing folders above a file, for all to pass.
    ///
    /// # Errors
    /// When a part of the path is not a folder, or can't be created.
    pub fn make_parents_of(&self, path: &AbsolutePath) -> Result<(), FileError> {
        self.make_parents(path.as_path().parent().unwrap_or(Path::new("/")))
    }

    fn make_parents(&self, path: &Path) -> Result<(), FileError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        match self.folder(path) {
            Err(e) if e.is_not_found() => {}
            result => return result.map(drop),
        }
        self.make_parents(parent)?;
        let parent = self.folder(parent)?;
        parent.make_folder(name, Mode::from_bits_truncate(0o755))?;
        parent.sync()
    }

    /// Follows every symlink of a path to the place where the file is, or would be created. What is
    /// there may be replaced: so somebody who is not root, and may make symlinks in a folder of
    /// his, leads us to files of his own only.
    ///
    /// # Errors
    /// When the folder does not exist, symlinks lead in a circle, or one of them belongs
    /// to somebody else than the file.
    pub fn locate(&self, path: &AbsolutePath) -> Result<Place, FileError> {
        if self.is_wary_of(path) {
            return self.locate_warily(path);
        }
        let mut path = path.as_path().to_owned();
        let mut strangers = Vec::new();
        for _ in 0..MOST_LINKS {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            let name = path.file_name().unwrap_or_default().to_owned();
            let dir = self.folder(&folder)?;
            let stat = dir.stat(&name)?;
            match dir.link_target(&name)? {
                None => {
                    return by_strangers(&strangers, stat.as_ref()).map(|()| Place { dir, name });
                }
                // Not cleaned: the kernel resolves `..` after the symlinks before it.
                Some(target) => {
                    let owner = stat
                        .map(|stat| stat.st_uid)
                        .filter(|owner| *owner != 0 && *owner != nix::unistd::geteuid().as_raw());
                    strangers.extend(owner.map(|owner| (path, owner)));
                    path = folder.join(target);
                }
            }
            if path.file_name().is_none() {
                return Err(FileError { path, problem: FileProblem::NotAFile("a folder") });
            }
        }
        Err(FileError { path, problem: FileProblem::LinkLoop })
    }

    /// What the system says of a file, with every symlink followed as for [`Self::locate`]; `None`
    /// where there is none.
    ///
    /// # Errors
    /// As [`Self::locate`].
    pub fn stat(&self, path: &AbsolutePath) -> Result<Option<FileStat>, FileError> {
        let place = self.locate(path)?;
        place.dir.stat(&place.name)
    }

    pub(super) fn open_at(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how =
            OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let mut result = Err(Errno::EAGAIN);
        // The kernel asks to try again when a rename elsewhere kept it from being sure about a
        // `..`.
        for _ in 0..100 {
            result = nix::fcntl::openat2(&self.fd, path, how);
            if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        // Not in kernels before 5.6, nor where a filter of system calls can't see what would be
        // asked for: `RestrictSUIDSGID=`.
        if matches!(result, Err(Errno::ENOSYS)) { self.open_by_steps(path, flags) } else { result }
    }

    /// The root folder itself.
    pub(super) fn top(&self) -> Result<Dir, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|e| FileError::from_errno("/", "open", e))?;
        Ok(Dir::new(fd, PathBuf::from("/")))
    }

    fn explain(&self, path: &AbsolutePath, errno: Errno) -> FileError {
        let plain = FileError::from_errno(path.as_path(), "read", errno);
        if !plain.is_not_found() {
            return plain;
        }
        let link =
            path.as_path().parent().and_then(|parent| self.folder(parent).ok()).and_then(|dir| {
                let name = path.as_path().file_name()?;
                dir.link_target(name).ok().flatten()
            });
        match link {
            Some(target) => FileError {
                path: path.as_path().to_owned(),
                problem: FileProblem::DanglingLink(target),
            },
            None => plain,
        }
    }
}

/// Refuses a file that symlinks of others than us and root lead to, unless it is theirs.
fn by_strangers(links: &[(PathBuf, u32)], found: Option<&FileStat>) -> Result<(), FileError> {
    let foreign = links.iter().find(|(_, owner)| found.is_none_or(|stat| stat.st_uid != *owner));
    foreign.map_or(Ok(()), |(path, owner)| {
        Err(FileError { path: path.clone(), problem: FileProblem::ForeignLink(*owner) })
    })
}

/// Reads an open file to its end, if it is a regular one and not larger than `limit`.
pub(crate) fn read_regular(
    mut file: File,
    path: &Path,
    limit: u64,
) -> Result<FileContent, FileError> {
    let problem = |problem| FileError { path: path.to_owned(), problem };
    let stat =
        nix::sys::stat::fstat(&file).map_err(|e| FileError::from_errno(path, "examine", e))?;
    if let Some(other) = not_a_file(&stat) {
        return Err(problem(FileProblem::NotAFile(other)));
    }
    // One allocation of the right size: growing would leave copies of keys behind. The limit also
    // holds for a file that grows while it is read.
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(problem(FileProblem::TooLarge { limit }));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.by_ref()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| FileError::from_io(path, "read", e))?;
    if bytes.len() as u64 > limit {
        return Err(problem(FileProblem::TooLarge { limit }));
    }
    Ok(FileContent { bytes: Secret::new(std::mem::take(&mut *bytes)), stat })
}

fn not_a_file(stat: &FileStat) -> Option<&'static str> {
    match kind(stat) {
        SFlag::S_IFREG => None,
        SFlag::S_IFDIR => Some("a folder"),
        SFlag::S_IFIFO => Some("a pipe"),
        SFlag::S_IFSOCK => Some("a socket"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/pki")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text).unwrap()
    }

    fn read(root: &Root, file: &str) -> Result<Vec<u8>, String> {
        root.read(&path(file), 100).map(|c| c.bytes.expose().to_vec()).map_err(|e| e.to_string())
    }

    #[test]
    fn absolute_symlinks_resolve_inside_the_root() {
        let (folder, root) = root();
        fs::write(folder.path().join("etc/pki/a"), "inside").unwrap();
        symlink("/etc/pki/a", folder.path().join("etc/link")).unwrap();
        symlink("/etc/pki", folder.path().join("pki")).unwrap();
        symlink("../../../../../../etc/pki/a", folder.path().join("etc/up")).unwrap();
        for file in ["/etc/link", "/pki/a", "/etc/up"] {
            assert_eq!(read(&root, file), Ok(b"inside".to_vec()), "{file}");
        }
    }

    #[test]
    fn a_symlink_is_followed_to_the_real_place() {
        let (folder, root) = root();
        fs::write(folder.path().join("etc/pki/real"), "x").unwrap();
        symlink("pki/real", folder.path().join("etc/first")).unwrap();
        symlink("/etc/first", folder.path().join("second")).unwrap();
        assert_eq!(root.locate(&path("/second")).unwrap().path(), Path::new("/etc/pki/real"));
        assert_eq!(root.locate(&path("/etc/pki/new")).unwrap().path(), Path::new("/etc/pki/new"));
    }

    #[test]
    fn a_symlink_of_somebody_else_leads_only_to_files_of_his_own() {
        use std::os::unix::fs::{chown, lchown};
        let (folder, root) = root();
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        for (file, owner) in [("roots", 0), ("his", 1234), ("anothers", 4321)] {
            fs::write(folder.path().join("etc/pki").join(file), "x").unwrap();
            chown(folder.path().join("etc/pki").join(file), Some(owner), None).unwrap();
            symlink(format!("pki/{file}"), folder.path().join("etc").join(file)).unwrap();
            lchown(folder.path().join("etc").join(file), Some(1234), None).unwrap();
            // A link of root's own behind it changes nothing.
            symlink(format!("etc/{file}"), folder.path().join(file)).unwrap();
        }
        symlink("pki/none", folder.path().join("etc/none")).unwrap();
        lchown(folder.path().join("etc/none"), Some(1234), None).unwrap();
        let located = |file: &str| {
            root.locate(&path(file)).map(|place| place.path()).map_err(|e| e.to_string())
        };
        assert_eq!(located("/etc/his"), Ok("/etc/pki/his".into()));
        let refusal = |file: &str| {
            Err(format!(
                "{file}: is a symlink that belongs to user 1234 and leads to a file that does not: \
                 nothing is replaced through it"
            ))
        };
        for file in ["roots", "anothers"] {
            assert_eq!(located(&format!("/etc/{file}")), refusal(&format!("/etc/{file}")));
            assert_eq!(located(&format!("/{file}")), refusal(&format!("/etc/{file}")));
        }
        assert_eq!(located("/etc/none"), refusal("/etc/none"));
    }

    #[test]
    fn what_is_not_a_file_is_named() {
        let (folder, root) = root();
        symlink("nowhere", folder.path().join("dangling")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), Mode::S_IRWXU).unwrap();
        fs::write(folder.path().join("large"), "x".repeat(101)).unwrap();
        let cases = [
            ("/none", "/none: does not exist"),
            ("/dangling", "/dangling: is a symlink to nowhere, which does not exist"),
            ("/loop", "/loop: is a symlink that leads in a circle"),
            ("/etc/pki", "/etc/pki: is a folder, not a file"),
            ("/pipe", "/pipe: is a pipe, not a file"),
            ("/large", "/large: is larger than 100 bytes, which no file of this kind is"),
        ];
        for (file, text) in cases {
            assert_eq!(read(&root, file), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_made_folder_is_its_owners_and_its_parents_are_passable() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, root) = root();
        root.create_folder(&path("/var/lib/kubecertd/backups")).unwrap();
        for (made, expected) in [
            ("var", 0o755),
            ("var/lib", 0o755),
            ("var/lib/kubecertd", 0o755),
            ("var/lib/kubecertd/backups", 0o700),
        ] {
            let mode = fs::metadata(folder.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{made}");
        }
    }
}
