//! Access to the files and directories below the root directory.
//!
//! Every path is resolved inside it, by the kernel (openat2 with RESOLVE_IN_ROOT) or by a
//! [`Walk`]: absolute symlinks point into it, and no `..` or hostile symlink leads out of it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode};

use super::{Dir, FileContent, FileError, FileProblem, Ownership, Place, Root, Walk, read_regular};
use crate::model::AbsolutePath;

impl Root {
    /// Restricts the way to these files to [`Ownership::NoSymlinks`], for every later read and
    /// replacement through this root, so that no other user can redirect it. A file that has a
    /// further hard link is not read either.
    pub fn restrict_symlinks<'f>(&mut self, files: impl IntoIterator<Item = &'f AbsolutePath>) {
        for file in files {
            // A real path that only root can write is reached as before under its own name.
            let others = self.is_writable_by_others(file).unwrap_or(true);
            let place = self.locate_no_symlinks(file).ok().filter(|_| others);
            let real = place.map(|place| place.path());
            for path in real.into_iter().chain([file.as_path().to_owned()]) {
                self.restricted.dirs.extend(path.parent().map(Path::to_owned));
                self.restricted.files.insert(path);
            }
        }
    }

    fn is_restricted(&self, file: &AbsolutePath) -> bool {
        self.restricted.files.contains(file.as_path())
    }

    /// Reads a whole regular file.
    ///
    /// # Errors
    /// When it does not exist, is not a regular file, is larger than `limit` bytes, or can't be
    /// read. A device or a pipe is refused without a wait.
    pub fn read(&self, path: &AbsolutePath, limit: u64) -> Result<FileContent, FileError> {
        if self.is_restricted(path) {
            return self.read_no_symlinks(path, limit);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = match self.open_at(path.as_path(), flags) {
            Ok(fd) => fd,
            Err(errno) => return Err(self.explain(path, errno)),
        };
        read_regular(File::from(fd), path.as_path(), limit)
    }

    /// Opens a directory, following symlinks inside the root.
    ///
    /// # Errors
    /// When it does not exist or is not a directory.
    pub fn open_dir(&self, path: &Path) -> Result<Dir, FileError> {
        if self.restricted.dirs.contains(path) {
            return self.open_dir_no_symlinks(path);
        }
        let fd = self
            .open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map_err(|e| FileError::from_errno(path, "open", e))?;
        Ok(Dir::new(fd, path.to_owned()))
    }

    /// Opens a directory. Where it is missing, creates it with mode 0700, and its missing parents
    /// with mode 0755.
    ///
    /// # Errors
    /// When a part of the path is not a directory, or can't be opened or created.
    pub fn create_dir(&self, path: &AbsolutePath) -> Result<Dir, FileError> {
        match self.open_dir(path.as_path()) {
            Err(e) if e.is_not_found() => {}
            result => return result,
        }
        let name = path.as_path().file_name().unwrap_or_default();
        let parent = parent_of(path.as_path());
        self.create_parents(parent)?;
        let parent = self.open_dir(parent)?;
        parent.make_dir(name, Mode::S_IRWXU)?;
        parent.sync()?;
        self.open_dir(path.as_path())
    }

    /// Creates the missing directories above a file, with mode 0755.
    ///
    /// # Errors
    /// When a part of the path is not a directory, or can't be created.
    pub fn create_parents_of(&self, path: &AbsolutePath) -> Result<(), FileError> {
        self.create_parents(parent_of(path.as_path()))
    }

    fn create_parents(&self, path: &Path) -> Result<(), FileError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        match self.open_dir(path) {
            Err(e) if e.is_not_found() => {}
            result => return result.map(drop),
        }
        self.create_parents(parent)?;
        let parent = self.open_dir(parent)?;
        parent.make_dir(name, Mode::from_bits_truncate(0o755))?;
        parent.sync()
    }

    /// Follows every symlink of a path to the place where the file is, or would be created. The
    /// file there may be replaced, so a symlink of a user other than root leads only to files of
    /// the same user.
    ///
    /// The directory keeps its path as configured, or as the last symlink named it: the journal is
    /// compared with the configuration while the directory can't be reached.
    ///
    /// # Errors
    /// When the directory does not exist, symlinks lead in a circle, or one of them belongs to
    /// another user than the file.
    pub fn locate(&self, path: &AbsolutePath) -> Result<Place, FileError> {
        if self.is_restricted(path) {
            return self.locate_no_symlinks(path);
        }
        let mut walk = Walk::new(self, path.as_path(), Ownership::Any)?;
        let mut named = path.as_path().to_owned();
        let (mut foreign, mut found) = (Vec::new(), None);
        while let Some(step) = walk.step()? {
            foreign.extend(step.foreign_link());
            if let Some(target) = step.link.filter(|_| step.is_last) {
                named = parent_of(&named).join(target);
            }
            found = step.stat;
        }
        let Place { dir, name } = walk.finish()?;
        if name.is_empty() {
            return Err(FileError { path: named, problem: FileProblem::NotAFile("a directory") });
        }
        check_foreign_links(&foreign, found.as_ref())?;
        Ok(Place { dir: dir.with_path(parent_of(&named).to_owned()), name })
    }

    /// The metadata of a file, with every symlink followed as for [`Self::locate`]; `None` where
    /// there is none.
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
        // The kernel returns EAGAIN when a rename elsewhere kept it from being sure about a `..`.
        for _ in 0..100 {
            result = nix::fcntl::openat2(&self.fd, path, how);
            if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        // Kernels before 5.6 have no openat2, and the system call filter of `RestrictSUIDSGID=`
        // refuses it.
        if matches!(result, Err(Errno::ENOSYS)) { self.open_by_steps(path, flags) } else { result }
    }

    fn explain(&self, path: &AbsolutePath, errno: Errno) -> FileError {
        let plain = FileError::from_errno(path.as_path(), "read", errno);
        if !plain.is_not_found() {
            return plain;
        }
        let link =
            path.as_path().parent().and_then(|parent| self.open_dir(parent).ok()).and_then(|dir| {
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

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Refuses a file that symlinks of other users than root lead to, unless the file is theirs.
fn check_foreign_links(
    links: &[(PathBuf, u32)],
    found: Option<&FileStat>,
) -> Result<(), FileError> {
    let foreign = links.iter().find(|(_, owner)| found.is_none_or(|stat| stat.st_uid != *owner));
    foreign.map_or(Ok(()), |(path, owner)| {
        Err(FileError { path: path.clone(), problem: FileProblem::ForeignLink(*owner) })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("etc/pki")).unwrap();
        let root = Root::open(disk.path()).unwrap();
        (disk, root)
    }

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text).unwrap()
    }

    fn read(root: &Root, file: &str) -> Result<Vec<u8>, String> {
        root.read(&path(file), 100).map(|c| c.bytes.expose().to_vec()).map_err(|e| e.to_string())
    }

    #[test]
    fn symlinks_resolve_inside_the_root() {
        let (disk, root) = root();
        fs::write(disk.path().join("etc/pki/a"), "inside").unwrap();
        symlink("/etc/pki/a", disk.path().join("etc/link")).unwrap();
        symlink("/etc/pki", disk.path().join("pki")).unwrap();
        symlink("../../../../../../etc/pki/a", disk.path().join("etc/up")).unwrap();
        for file in ["/etc/link", "/pki/a", "/etc/up"] {
            assert_eq!(read(&root, file), Ok(b"inside".to_vec()), "{file}");
        }
    }

    #[test]
    fn symlinks_are_followed_to_the_real_place() {
        let (disk, root) = root();
        fs::write(disk.path().join("etc/pki/real"), "x").unwrap();
        symlink("pki/real", disk.path().join("etc/first")).unwrap();
        symlink("/etc/first", disk.path().join("second")).unwrap();
        assert_eq!(root.locate(&path("/second")).unwrap().path(), Path::new("/etc/pki/real"));
        assert_eq!(root.locate(&path("/etc/pki/new")).unwrap().path(), Path::new("/etc/pki/new"));
    }

    #[test]
    fn foreign_symlink_leads_only_to_files_of_its_owner() {
        use std::os::unix::fs::{chown, lchown};
        let (disk, root) = root();
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        for (file, owner) in [("roots", 0), ("own", 1234), ("other", 4321)] {
            fs::write(disk.path().join("etc/pki").join(file), "x").unwrap();
            chown(disk.path().join("etc/pki").join(file), Some(owner), None).unwrap();
            symlink(format!("pki/{file}"), disk.path().join("etc").join(file)).unwrap();
            lchown(disk.path().join("etc").join(file), Some(1234), None).unwrap();
            // A link of root that leads to it changes nothing.
            symlink(format!("etc/{file}"), disk.path().join(file)).unwrap();
        }
        symlink("pki/none", disk.path().join("etc/none")).unwrap();
        lchown(disk.path().join("etc/none"), Some(1234), None).unwrap();
        let located = |file: &str| {
            root.locate(&path(file)).map(|place| place.path()).map_err(|e| e.to_string())
        };
        assert_eq!(located("/etc/own"), Ok("/etc/pki/own".into()));
        let refusal = |file: &str| {
            Err(format!(
                "{file}: is a symlink that belongs to user 1234 and leads to a file that does not: \
                 nothing is replaced through it"
            ))
        };
        for file in ["roots", "other"] {
            assert_eq!(located(&format!("/etc/{file}")), refusal(&format!("/etc/{file}")));
            assert_eq!(located(&format!("/{file}")), refusal(&format!("/etc/{file}")));
        }
        assert_eq!(located("/etc/none"), refusal("/etc/none"));
        // A symlink to a directory is one, too.
        symlink("/etc/pki", disk.path().join("etc/dir")).unwrap();
        lchown(disk.path().join("etc/dir"), Some(1234), None).unwrap();
        assert_eq!(located("/etc/dir/own"), Ok("/etc/dir/own".into()));
        assert_eq!(located("/etc/dir/roots"), refusal("/etc/dir"));
    }

    #[test]
    fn located_directory_keeps_the_path_that_names_it() {
        let (disk, root) = root();
        symlink("/etc/pki", disk.path().join("pki")).unwrap();
        symlink("../pki/../pki/real", disk.path().join("etc/link")).unwrap();
        fs::write(disk.path().join("etc/pki/real"), "x").unwrap();
        let located = |file: &str| root.locate(&path(file)).unwrap().path();
        assert_eq!(located("/pki/real"), Path::new("/pki/real"));
        assert_eq!(located("/etc/link"), Path::new("/etc/../pki/../pki/real"));
    }

    #[test]
    fn unusable_file_is_described() {
        let (disk, root) = root();
        symlink("nowhere", disk.path().join("dangling")).unwrap();
        symlink("loop", disk.path().join("loop")).unwrap();
        nix::unistd::mkfifo(&disk.path().join("pipe"), Mode::S_IRWXU).unwrap();
        fs::write(disk.path().join("large"), "x".repeat(101)).unwrap();
        let cases = [
            ("/none", "/none: does not exist"),
            ("/dangling", "/dangling: is a symlink to nowhere, which does not exist"),
            ("/loop", "/loop: is a symlink that leads in a circle"),
            ("/etc/pki", "/etc/pki: is a directory, not a file"),
            ("/pipe", "/pipe: is a pipe, not a file"),
            ("/large", "/large: is larger than 100 bytes, which no file of this kind is"),
        ];
        for (file, text) in cases {
            assert_eq!(read(&root, file), Err(text.to_owned()));
        }
    }

    #[test]
    fn created_directory_is_private_and_its_parents_are_not() {
        use std::os::unix::fs::PermissionsExt;
        let (disk, root) = root();
        root.create_dir(&path("/var/lib/kubecertd/backups")).unwrap();
        for (made, expected) in [
            ("var", 0o755),
            ("var/lib", 0o755),
            ("var/lib/kubecertd", 0o755),
            ("var/lib/kubecertd/backups", 0o700),
        ] {
            let mode = fs::metadata(disk.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{made}");
        }
    }
}
