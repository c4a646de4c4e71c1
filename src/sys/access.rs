//! Access to the files and directories below the root directory.
//!
//! Every path is resolved inside it: absolute symlinks point into it, and no `..` or hostile
//! symlink leads out of it. The way is a [`Walk`] that no other user can redirect: root's own
//! symlinks are followed, those that others can set are not ([`Ownership::NoSymlinks`]).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode};

use super::{
    Dir, FileContent, FileError, FileProblem, Ownership, Place, Root, Walk, WritableByOthers,
    read_regular,
};
use crate::model::AbsolutePath;

impl Root {
    /// Reads a whole regular file.
    ///
    /// # Errors
    /// When it does not exist, is not a regular file, is larger than `limit` bytes, or can't be
    /// read; when others than root can have put a symlink, a mount or a further hard link there. A
    /// device or a pipe is refused without a wait.
    pub fn read(&self, path: &AbsolutePath, limit: u64) -> Result<FileContent, FileError> {
        let mut walk = Walk::new(self, path.as_path(), Ownership::NoSymlinks)?;
        walk.walk_to_end()?;
        walk.check_exists()?;
        let exposed = walk.is_exposed();
        let Place { dir, name } = named(walk.into_place(), path)?;
        let path = dir.path().join(&name);
        let content = read_regular(dir.open(&name)?, &path, limit)?;
        let links = content.stat.st_nlink;
        // Another user who can add entries here can have made a hard link to any file.
        if links > 1 && exposed {
            return Err(FileError { path, problem: FileProblem::ManyNames(links) });
        }
        Ok(content)
    }

    /// Reads a whole regular file through symlinks of any owner: for a comparison that discloses
    /// nothing, in a root directory that another user has filled.
    ///
    /// # Errors
    /// When it does not exist, is not a regular file, is larger than `limit` bytes, or can't be
    /// read. A device or a pipe is refused without a wait.
    pub fn read_through_any_links(
        &self,
        path: &AbsolutePath,
        limit: u64,
    ) -> Result<FileContent, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = self
            .open_at(path.as_path(), flags)
            .map_err(|e| FileError::from_errno(path.as_path(), "read", e))?;
        read_regular(File::from(fd), path.as_path(), limit)
    }

    /// Opens a directory, following root's symlinks inside the root.
    ///
    /// # Errors
    /// When it does not exist or is not a directory; when others than root can have put a symlink
    /// or a mount there.
    pub fn open_dir(&self, path: &Path) -> Result<Dir, FileError> {
        let dir = Walk::new(self, path, Ownership::NoSymlinks)?.finish_dir()?;
        Ok(dir.with_path(path.to_owned()))
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

    /// Creates the missing directories above a file, with mode 0755 whatever the umask is.
    ///
    /// # Errors
    /// When a part of the path is not a directory, or can't be created.
    pub fn create_parents_of(&self, path: &AbsolutePath) -> Result<(), FileError> {
        self.create_parents(parent_of(path.as_path()))
    }

    /// Creates the directory of a file where it is missing, with mode 0755 whatever the umask is.
    ///
    /// # Errors
    /// When the directory above it does not exist, or it can't be created.
    pub fn create_dir_of(&self, path: &AbsolutePath) -> Result<(), FileError> {
        let dir = parent_of(path.as_path());
        match self.open_dir(dir) {
            Err(e) if e.is_not_found() => {}
            result => return result.map(drop),
        }
        let above = self.open_dir(parent_of(dir))?;
        above.make_readable_dir(dir.file_name().unwrap_or_default())?;
        above.sync()
    }

    fn create_parents(&self, path: &Path) -> Result<(), FileError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        match self.open_dir(path) {
            Err(e) if e.is_not_found() => {}
            result => return result.map(drop),
        }
        self.create_parents(parent)?;
        let parent = self.open_dir(parent)?;
        parent.make_readable_dir(name)?;
        parent.sync()
    }

    /// Follows the symlinks of a path to the place where the file is, or would be created.
    ///
    /// The directory keeps its path as configured, or as the last symlink named it: the journal is
    /// compared with the configuration while the directory can't be reached.
    ///
    /// # Errors
    /// When the directory does not exist, symlinks lead in a circle, or others than root can have
    /// put a symlink or a mount there.
    pub fn locate(&self, path: &AbsolutePath) -> Result<Place, FileError> {
        self.find(path).map(|(place, _)| place)
    }

    /// The place of a file, and its metadata where it exists.
    fn find(&self, path: &AbsolutePath) -> Result<(Place, Option<FileStat>), FileError> {
        let mut stat = None;
        let mut walk = Walk::new(self, path.as_path(), Ownership::NoSymlinks)?;
        let mut named_by = path.as_path().to_owned();
        while let Some(step) = walk.step()? {
            stat = step.stat;
            if let Some(target) = step.link.filter(|_| step.is_last) {
                named_by = parent_of(&named_by).join(target);
            }
        }
        let Place { dir, name } = named(walk.into_place(), path)?;
        Ok((Place { dir: dir.with_path(parent_of(&named_by).to_owned()), name }, stat))
    }

    /// Removes a file, durably. A missing one is fine.
    ///
    /// # Errors
    /// As [`Self::locate`], and when the system refuses.
    pub fn remove_file(&self, path: &AbsolutePath) -> Result<(), FileError> {
        match self.locate(path) {
            Ok(Place { dir, name }) => dir.remove(&name).and_then(|()| dir.sync()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The first directory on the way to a file, or the file itself, that others than root own or
    /// can write; `None` where only root can have changed the file. A missing file counts as
    /// root's.
    ///
    /// # Errors
    /// As [`Self::locate`].
    pub fn writable_by_others(
        &self,
        path: &AbsolutePath,
    ) -> Result<Option<WritableByOthers>, FileError> {
        let mut walk = Walk::new(self, path.as_path(), Ownership::NoSymlinks)?;
        loop {
            let step = walk.step().map(|step| step.is_some());
            match (step, walk.writable_by_others()) {
                // Who can write there may have caused the error.
                (Ok(false) | Err(_), Some(found)) => return Ok(Some(found.clone())),
                (Ok(false), None) => return Ok(None),
                (Err(e), None) => return Err(e),
                (Ok(true), _) => {}
            }
        }
    }

    /// The metadata of a file, found as by [`Self::locate`]; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::locate`].
    pub fn stat(&self, path: &AbsolutePath) -> Result<Option<FileStat>, FileError> {
        self.find(path).map(|(_, stat)| stat)
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
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Refuses a path that ends with a directory that no name was looked up for.
fn named(place: Place, path: &AbsolutePath) -> Result<Place, FileError> {
    if place.name.is_empty() {
        let path = path.as_path().to_owned();
        return Err(FileError { path, problem: FileProblem::NotAFile("a directory") });
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::common::requirements::{ROOT, require};

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
    fn symlink_of_another_user_is_never_followed() {
        use std::os::unix::fs::{chown, lchown};
        require!(ROOT);
        let (disk, root) = root();
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
        symlink("/etc/pki", disk.path().join("etc/dir")).unwrap();
        lchown(disk.path().join("etc/dir"), Some(1234), None).unwrap();
        let refusal =
            |file: &str| format!("{file}: is a symlink that others than root may have set");
        for (file, link) in [
            ("/etc/roots", "/etc/roots"),
            ("/roots", "/etc/roots"),
            ("/etc/own", "/etc/own"),
            ("/etc/other", "/etc/other"),
            ("/etc/none", "/etc/none"),
            ("/etc/dir/own", "/etc/dir"),
        ] {
            let located = root.locate(&path(file)).unwrap_err().to_string();
            assert!(located.starts_with(&refusal(link)), "{located}");
            let error = read(&root, file).unwrap_err();
            assert!(error.starts_with(&refusal(link)), "{error}");
        }
        let error = root.open_dir(Path::new("/etc/dir")).unwrap_err().to_string();
        assert!(error.starts_with(&refusal("/etc/dir")), "{error}");
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
    fn directory_of_a_file_is_created_below_an_existing_one() {
        use std::os::unix::fs::PermissionsExt;
        let (disk, root) = root();
        root.create_dir_of(&path("/etc/pki/etcd/server.crt")).unwrap();
        let mode = |dir: &str| fs::metadata(disk.path().join(dir)).unwrap().permissions().mode();
        assert_eq!(mode("etc/pki/etcd") & 0o7777, 0o755);
        fs::set_permissions(disk.path().join("etc/pki/etcd"), fs::Permissions::from_mode(0o700))
            .unwrap();
        root.create_dir_of(&path("/etc/pki/etcd/server.crt")).unwrap();
        assert_eq!(mode("etc/pki/etcd") & 0o7777, 0o700, "it is there");
        let error = root.create_dir_of(&path("/etc/kubelet/pki/a.pem")).unwrap_err();
        assert_eq!(error.to_string(), "/etc/kubelet: does not exist");
        assert!(!disk.path().join("etc/kubelet").exists());
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
