//! No key is readable, at any moment, by a user who could not read the old one. The recorded calls,
//! in their order, show this. The other tests check the disk between the calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::STATE;
use crate::common::requirements::{ROOT, require};
use crate::strace::{Call, record};
use crate::tree::{ACCESS_ACL, Metadata, Tree, holds_key, target_of};

/// The known properties of a file that the program has created.
#[derive(Debug, Default)]
struct NewFile {
    mode: u64,
    owner: Option<(u64, u64)>,
    access: Option<Vec<u8>>,
    /// Whether the ACL is the target's: it was set; or the target has none, and an inherited one
    /// was removed or looked for.
    settled: bool,
    written: bool,
}

#[test]
fn key_is_never_readable_by_others() {
    require!(ROOT, "strace", "taskset");
    let tree = Tree::full();
    let copy = tree.copy();
    let root = copy.node.root();
    let calls = record(root, &["renew"]);
    let mut new_files: BTreeMap<PathBuf, NewFile> = BTreeMap::new();
    let mut keys = 0;
    for call in calls.iter().filter(|call| call.result >= 0 && call.is_below(root)) {
        match call.name.as_str() {
            "openat" if call.creates() => {
                let mode = call.number(3);
                assert_eq!(mode, 0o600, "{call:?}");
                new_files
                    .insert(call.opened.clone().unwrap(), NewFile { mode, ..NewFile::default() });
            }
            "openat2" => assert!(!call.creates(), "{call:?}"),
            "mkdirat" if call.entry(0).starts_with(root.join(STATE)) => {
                assert_eq!(call.number(2), 0o700, "{call:?}")
            }
            "fchown" | "fsetxattr" | "fremovexattr" | "fchmod" | "fgetxattr" => {
                check_change(&tree, root, call, &mut new_files)
            }
            "write" | "pwrite64" => {
                let path = call.file(0);
                if holds_key(&call.bytes(1)) {
                    keys += 1;
                    assert_may_hold_key(&tree, root, &path, &new_files);
                }
                new_files.entry(path).or_default().written = true;
            }
            _ => {}
        }
    }
    // One new key for each old one, and each old one once more in the backup.
    let private = tree.targets.values().filter(|(_, content)| holds_key(content)).count();
    assert_eq!(keys, 2 * private);
    println!("{keys} writes of keys, {} files made", new_files.len());
}

/// Asserts that mode, owner and ACL of a new file only become those of its target, and only while
/// it is empty.
fn check_change(tree: &Tree, root: &Path, call: &Call, new_files: &mut BTreeMap<PathBuf, NewFile>) {
    let path = call.file(0);
    let Some(file) = new_files.get_mut(&path) else {
        assert_eq!(call.name, "fgetxattr", "a file that is not new is changed: {call:?}");
        return;
    };
    let (target, access) =
        target_metadata(tree, root, &path).unwrap_or_else(|| panic!("no target: {call:?}"));
    assert!(!file.written, "changed when it had its content: {call:?}");
    let attribute = || String::from_utf8(call.bytes(1)).unwrap();
    match call.name.as_str() {
        "fchown" => file.owner = Some((call.number(1), call.number(2))),
        "fsetxattr" if attribute() == ACCESS_ACL => {
            assert_eq!(Some(&call.bytes(2)), access.as_ref(), "{call:?}");
            file.access = access;
            file.settled = true;
        }
        "fremovexattr" => {
            assert_eq!((attribute().as_str(), access), (ACCESS_ACL, None), "{call:?}");
            file.settled = true;
        }
        "fgetxattr" if attribute() == ACCESS_ACL => {}
        "fchmod" => {
            // Before the ACL is set, the group bits apply to the owning group, or to an ACL
            // inherited from the directory.
            assert!(
                file.settled || !target.attributes.contains_key(ACCESS_ACL.as_bytes()),
                "the mode comes before the ACL: {call:?}"
            );
            assert_eq!(call.number(1), u64::from(target.mode), "{call:?}");
            file.mode = call.number(1);
        }
        _ => {}
    }
}

fn assert_may_hold_key(
    tree: &Tree,
    root: &Path,
    path: &Path,
    new_files: &BTreeMap<PathBuf, NewFile>,
) {
    let file = new_files
        .get(path)
        .unwrap_or_else(|| panic!("a key is written to {}, which is no new file", path.display()));
    if path.starts_with(root.join(STATE)) {
        assert_eq!(file.mode, 0o600, "{}", path.display());
        return;
    }
    let (target, access) = target_metadata(tree, root, path)
        .unwrap_or_else(|| panic!("a key is written to {}", path.display()));
    assert_eq!((file.mode, &file.access), (u64::from(target.mode), &access), "{}", path.display());
    let owner = (u64::from(target.owner.0), u64::from(target.owner.1));
    assert_eq!(file.owner.unwrap_or((0, 0)), owner, "{}", path.display());
}

fn target_metadata<'t>(
    tree: &'t Tree,
    root: &Path,
    path: &Path,
) -> Option<(&'t Metadata, Option<Vec<u8>>)> {
    let (target, _) = tree.targets.get(&target_of(path.strip_prefix(root).unwrap()))?;
    Some((target, target.attributes.get(ACCESS_ACL.as_bytes()).cloned()))
}
