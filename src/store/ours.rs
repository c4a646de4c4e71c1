//! Whether what lies in the state folder is root's alone. What is not, is passed over wherever it
//! is read; here it is looked for, so that somebody is told.

use nix::sys::stat::{FileStat, SFlag};

use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, Root, check_root_only};

/// As many as anybody wants to read about. There may be hundreds when it went wrong for a whole
/// tree.
const ENOUGH: usize = 5;

/// What there is in the state folder, backups included, that others than root can have written:
/// what is wrong with each, up to a number. Nothing where there is no state folder yet.
#[must_use]
pub fn not_trusted(root: &Root, state: &AbsolutePath) -> Vec<String> {
    let mut found = Vec::new();
    match root.trusted_dir(state.as_path()) {
        Ok(folder) => look(&folder, &mut found),
        Err(e) => found.extend(complaint(&e)),
    }
    found
}

fn look(folder: &Dir, found: &mut Vec<String>) {
    for name in folder.names().unwrap_or_default() {
        if found.len() >= ENOUGH {
            return;
        }
        let path = folder.path().join(&name);
        let Ok(Some(stat)) = folder.stat(&name) else { continue };
        match check_root_only(&stat, &path) {
            // What is below it counts no more than it does.
            Err(e) => found.extend(complaint(&e)),
            Ok(()) if is_folder(&stat) => {
                folder.open_dir(&name).iter().for_each(|folder| look(folder, found))
            }
            Ok(()) => {}
        }
    }
}

fn complaint(error: &FileError) -> Option<String> {
    error.is_not_trusted().then(|| error.to_string())
}

fn is_folder(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}
