//! Access with a check of the owners on the way: to files that only root can have written. And
//! where the part of a path begins that others can change.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::ownership::check_root_only;
use super::{Dir, FileContent, FileError, Ownership, Place, Root, Walk, read_regular};
use crate::model::AbsolutePath;

impl Root {
    /// Reads a regular file that only root can have written: like [`Self::read`], and refuses every
    /// other.
    ///
    /// # Errors
    /// When it can't be read, or it or a directory on the way to it belongs to another user or can
    /// be written by others.
    pub fn read_root_only(
        &self,
        path: &AbsolutePath,
        limit: u64,
    ) -> Result<FileContent, FileError> {
        let Place { dir, name } =
            Walk::new(self, path.as_path(), Ownership::RootOnly)?.finish_existing()?;
        let path = dir.path().join(&name);
        let content = read_regular(dir.open(&name)?, &path, limit)?;
        check_root_only(&content.stat, &path)?;
        Ok(content)
    }

    /// Opens a directory in which only root can have changed anything.
    ///
    /// # Errors
    /// When it is missing, or it or a directory on the way to it belongs to another user or can be
    /// written by others.
    pub fn trusted_dir(&self, path: &Path) -> Result<Dir, FileError> {
        Walk::new(self, path, Ownership::RootOnly)?.finish_dir()
    }

    /// Opens what a path leads to inside the root, where the kernel can't resolve it.
    pub(super) fn open_by_steps(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let place = Walk::new(self, path, Ownership::Any)
            .and_then(Walk::finish_existing)
            .map_err(|e| e.errno())?;
        let name = if place.name.is_empty() { OsStr::new(".") } else { &place.name };
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&place.dir, name, flags, Mode::empty())
    }

    /// The last directory on the way to a file that only root can replace: the file's own
    /// directory, or the first one on the way that others own or can write.
    ///
    /// # Errors
    /// When the directory of the file can't be reached.
    pub fn last_root_only_dir(&self, path: &AbsolutePath) -> Result<PathBuf, FileError> {
        let mut walk = Walk::new(self, path.as_path(), Ownership::NoSymlinks)?;
        walk.walk_to_end()?;
        let (dir, name) = walk.position();
        let writable = walk.writable_by_others().map(|found| found.path.as_path());
        let writable_dir = writable.filter(|found| *found != dir.path().join(name));
        Ok(writable_dir.unwrap_or(dir.path()).to_owned())
    }

    /// Whether others than root own or can write this file or a directory on the way to it.
    ///
    /// # Errors
    /// When the directory of the file can't be reached.
    pub fn is_writable_by_others(&self, path: &AbsolutePath) -> Result<bool, FileError> {
        Ok(self.writable_by_others(path)?.is_some())
    }

    /// The path of a directory without symlinks.
    ///
    /// # Errors
    /// When it is missing.
    pub fn real_dir(&self, path: &Path) -> Result<PathBuf, FileError> {
        Walk::new(self, path, Ownership::Any)?.finish_dir().map(|dir| dir.path().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;
    use crate::common::requirements::{ROOT, require};

    fn disk() -> (tempfile::TempDir, Root) {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("etc/own")).unwrap();
        fs::write(disk.path().join("etc/own/file"), "text").unwrap();
        let root = Root::open(disk.path()).unwrap();
        (disk, root)
    }

    fn read(root: &Root, path: &str) -> Result<String, String> {
        let content = root
            .read_root_only(&AbsolutePath::new(path).unwrap(), 100)
            .map_err(|e| e.to_string())?;
        Ok(String::from_utf8(content.bytes.expose().to_vec()).unwrap())
    }

    fn mode(disk: &tempfile::TempDir, path: &str, mode: u32) {
        fs::set_permissions(disk.path().join(path), Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn path_writable_by_others_is_refused_with_a_remedy() {
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
                        "{shown}: has mode {bad:04o}, so others than root may have changed it: it \
                         is not used; check its content, then chmod go-w {shown}"
                    )
                );
            }
        }
    }

    #[test]
    fn path_of_another_user_is_refused() {
        require!(ROOT);
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
    fn sticky_directory_is_accepted_and_its_entries_are_checked() {
        require!(ROOT);
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
    fn symlinks_are_followed_inside_the_root_and_targets_checked() {
        let (disk, root) = disk();
        symlink("/etc/own", disk.path().join("absolute")).unwrap();
        symlink("../../../etc/own/../own/file", disk.path().join("etc/up")).unwrap();
        symlink("nowhere", disk.path().join("etc/dangling")).unwrap();
        symlink("loop", disk.path().join("loop")).unwrap();
        assert_eq!(read(&root, "/absolute/file").as_deref(), Ok("text"));
        assert_eq!(read(&root, "/etc/up").as_deref(), Ok("text"));
        assert_eq!(root.real_dir(Path::new("/absolute")).unwrap(), Path::new("/etc/own"));
        assert_eq!(root.real_dir(Path::new("/")).unwrap(), Path::new("/"));
        assert_eq!(
            read(&root, "/etc/dangling").unwrap_err(),
            "/etc/dangling: is a symlink to nowhere, which does not exist"
        );
        assert_eq!(read(&root, "/loop").unwrap_err(), "/loop: is a symlink that leads in a circle");
        assert!(
            root.read_root_only(&AbsolutePath::constant("/etc/none"), 9)
                .unwrap_err()
                .is_not_found()
        );
        assert_eq!(read(&root, "/etc/own").unwrap_err(), "/etc/own: is a directory, not a file");
        mode(&disk, "etc/own", 0o777);
        for path in ["/absolute/file", "/etc/up"] {
            assert!(read(&root, path).unwrap_err().starts_with("/etc/own: has mode 0777"));
        }
    }

    #[test]
    fn who_can_write_is_known_where_the_end_is_out_of_reach() {
        require!(ROOT);
        let (disk, root) = disk();
        fs::create_dir_all(disk.path().join("home/alice")).unwrap();
        chown(disk.path().join("home/alice"), Some(1234), None).unwrap();
        symlink("/etc/own", disk.path().join("home/alice/link")).unwrap();
        for file in ["link", "link/file", "missing/file"] {
            let file = AbsolutePath::new(format!("/home/alice/{file}")).unwrap();
            let found = root.writable_by_others(&file).unwrap().unwrap();
            assert_eq!(found.to_string(), "/home/alice belongs to user 1234", "{file}");
        }
        assert!(root.writable_by_others(&AbsolutePath::constant("/etc/none/file")).is_err());
    }

    /// For kernels that do not resolve paths inside a root.
    #[test]
    fn walk_and_kernel_resolve_paths_alike() {
        let (disk, root) = disk();
        fs::write(disk.path().join("secret"), "inside").unwrap();
        symlink("/secret", disk.path().join("etc/absolute")).unwrap();
        symlink("../../../../secret", disk.path().join("etc/own/up")).unwrap();
        symlink("etc/own", disk.path().join("linked")).unwrap();
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
            "/linked/file",
            "/linked/up",
            "/linked",
            "/",
            "/none",
            "/dangling",
            "/loop",
        ];
        for path in cases.iter().chain(&[
            "/etc/own/file/below",
            "/secret/..",
            "/none/../secret",
            "/linked/../absolute",
        ]) {
            let by = |open: fn(&Root, &Path, OFlag) -> Result<OwnedFd, Errno>| {
                text(open(&root, Path::new(path), OFlag::O_RDONLY))
            };
            assert_eq!(by(Root::open_by_steps), by(Root::open_at), "{path}");
        }
        for path in ["/", "/linked", "/etc/own", "/etc/own/file", "/dangling"] {
            let by = |open: fn(&Root, &Path, OFlag) -> Result<OwnedFd, Errno>| {
                open(&root, Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(drop)
            };
            assert_eq!(by(Root::open_by_steps), by(Root::open_at), "{path}");
        }
    }

    #[test]
    fn file_is_read_through_links_of_root_only() {
        require!(ROOT);
        let (disk, root) = disk();
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
            assert_eq!(root.last_root_only_dir(&file).unwrap(), Path::new(last), "{file}");
            assert_eq!(root.is_writable_by_others(&file).unwrap(), others, "{file}");
            assert_eq!(root.read(&file, 9).unwrap().bytes.expose(), b"text", "{file}");
            assert!(root.stat(&file).unwrap().is_some(), "{file}");
        }
        for (file, says) in [
            ("/home/alice/link", "is a symlink that others than root may have set"),
            ("/tmp/link", "is a symlink that others than root may have set"),
            ("/home/alice/hard", "has 3 names (hard links)"),
        ] {
            let file = AbsolutePath::new(file).unwrap();
            let error = root.read(&file, 9).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        // The directory of such a file is reached in the same way.
        assert!(root.open_dir(Path::new("/home/alice/deep")).is_ok());
        fs::rename(at("home/alice/deep"), at("home/alice/away")).unwrap();
        symlink("/etc/own", at("home/alice/deep")).unwrap();
        assert!(
            root.open_dir(Path::new("/home/alice/deep"))
                .unwrap_err()
                .to_string()
                .contains("is a symlink")
        );
    }
}
