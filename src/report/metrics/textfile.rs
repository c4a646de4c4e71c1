//! The file for node_exporter's textfile collector: written completely or not at all, readable for
//! all users.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use nix::sys::stat::{Mode, fchmod};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root};

/// Writes the file. The directory is node_exporter's and must exist. The file is not synced: it is
/// rewritten often, and etcd shares the disk.
///
/// # Errors
/// When it can't be written; the file before it stays.
pub fn write(root: &Root, file: &AbsolutePath, text: &str) -> Result<(), FileError> {
    let (dir, name) = place(root, file)?;
    let mut draft = OsString::from(".");
    draft.push(&name);
    draft.push(".new");
    // Another user may own the directory: a file of that name is never written to.
    dir.remove(&draft)?;
    let mut new = dir.create_new(&draft)?;
    let failed = |action, e| FileError::from_io(dir.path().join(&draft), action, e);
    let written = new.write_all(text.as_bytes()).map_err(|e| failed("write", e));
    let written = written.and_then(|()| {
        fchmod(&new, Mode::from_bits_truncate(0o644))
            .map_err(|e| failed("open for all to read", e.into()))
    });
    let replaced = written.and_then(|()| dir.rename(&draft, &name));
    if replaced.is_err() {
        let _ = dir.remove(&draft);
    }
    replaced
}

/// Removes the file: one that is not written any more would show outdated values.
///
/// # Errors
/// When it exists and can't be removed.
pub fn remove(root: &Root, file: &AbsolutePath) -> Result<(), FileError> {
    let (dir, name) = place(root, file)?;
    dir.remove(&name)
}

fn place(root: &Root, file: &AbsolutePath) -> Result<(Dir, OsString), FileError> {
    let path = file.as_path();
    let dir = root.open_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok((dir, path.file_name().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn file_is_replaced_readable_without_following_links() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let file = AbsolutePath::constant("/numbers/kubecertd.prom");
        let at = |name: &str| disk.path().join("numbers").join(name);
        assert!(
            write(&root, &file, "x 1\n").unwrap_err().is_not_found(),
            "the directory is not made"
        );
        std::fs::create_dir(disk.path().join("numbers")).unwrap();
        std::fs::File::create(disk.path().join("other")).unwrap();
        symlink("../other", at("kubecertd.prom")).unwrap();
        symlink("../other", at(".kubecertd.prom.new")).unwrap();
        write(&root, &file, "x 1\n").unwrap();
        let read = |path| std::io::read_to_string(std::fs::File::open(path).unwrap()).unwrap();
        assert_eq!(read(at("kubecertd.prom")), "x 1\n");
        assert_eq!(read(disk.path().join("other")), "");
        assert_eq!(
            std::fs::symlink_metadata(at("kubecertd.prom")).unwrap().permissions().mode(),
            0o100_644
        );
        assert_eq!(
            std::fs::read_dir(disk.path().join("numbers")).unwrap().count(),
            1,
            "no draft is left"
        );
        remove(&root, &file).unwrap();
        remove(&root, &file).unwrap();
        assert!(!at("kubecertd.prom").exists());
    }
}
