//! The file that node_exporter's textfile collector reads: written whole or not at all, for
//! everybody to read.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use nix::sys::stat::{Mode, fchmod};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root};

/// Writes the file. The folder is node_exporter's, and has to be there. It is written anew all the
/// time and nothing is lost with it, so the disk, which etcd shares, is not waited for.
///
/// # Errors
/// When it can't be written; what was there before stays.
pub fn write(root: &Root, file: &AbsolutePath, text: &str) -> Result<(), FileError> {
    let (folder, name) = place(root, file)?;
    let mut draft = OsString::from(".");
    draft.push(&name);
    draft.push(".new");
    // The folder may be somebody else's: what lies there under this name is never written to.
    folder.remove(&draft)?;
    let mut new = folder.create_new(&draft)?;
    let failed = |action, e| FileError::from_io(folder.path().join(&draft), action, e);
    let written = new.write_all(text.as_bytes()).map_err(|e| failed("write", e));
    let written = written.and_then(|()| {
        fchmod(&new, Mode::from_bits_truncate(0o644))
            .map_err(|e| failed("open for all to read", e.into()))
    });
    let replaced = written.and_then(|()| folder.rename(&draft, &name));
    if replaced.is_err() {
        let _ = folder.remove(&draft);
    }
    replaced
}

/// Takes the file away: one that is not written any more would go on telling what was.
///
/// # Errors
/// When it is there and can't be removed.
pub fn remove(root: &Root, file: &AbsolutePath) -> Result<(), FileError> {
    let (folder, name) = place(root, file)?;
    folder.remove(&name)
}

fn place(root: &Root, file: &AbsolutePath) -> Result<(Dir, OsString), FileError> {
    let path = file.as_path();
    let folder = root.open_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok((folder, path.file_name().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn it_is_written_whole_and_readable_and_never_through_what_lies_there() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let file = AbsolutePath::constant("/numbers/kubecertd.prom");
        let at = |name: &str| disk.path().join("numbers").join(name);
        assert!(write(&root, &file, "x 1\n").unwrap_err().is_not_found(), "the folder is not made");
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
