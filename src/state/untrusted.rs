//! Finds files in the state directory that others than root can have written. Readers ignore such
//! files; this check reports them.

use nix::sys::stat::{FileStat, SFlag};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root, check_root_only};

/// The most problems that are reported. A whole tree may have the wrong owner.
const MAX_REPORTED: usize = 5;

/// Lists what is wrong with the files in the state directory, backups included, that others than
/// root can have written, up to a limit. Empty where there is no state directory yet.
#[must_use]
pub fn untrusted_files(root: &Root, state: &AbsolutePath) -> Vec<String> {
    let mut found = Vec::new();
    match root.trusted_dir(state.as_path()) {
        Ok(dir) => search(&dir, &mut found),
        Err(e) => found.extend(problem(&e)),
    }
    found
}

fn search(dir: &Dir, found: &mut Vec<String>) {
    for name in dir.names().unwrap_or_default() {
        if found.len() >= MAX_REPORTED {
            return;
        }
        let path = dir.path().join(&name);
        let Ok(Some(stat)) = dir.stat(&name) else { continue };
        match check_root_only(&stat, &path) {
            // The entries of an untrusted directory are not reported as well.
            Err(e) => found.extend(problem(&e)),
            Ok(()) if is_dir(&stat) => {
                dir.open_dir(&name).iter().for_each(|dir| search(dir, found));
            }
            Ok(()) => {}
        }
    }
}

fn problem(error: &FileError) -> Option<String> {
    error.is_not_trusted().then(|| error.to_string())
}

fn is_dir(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}
