//! No key is readable by anybody who could not read the old one, at no moment: shown by what the
//! program calls, in the order in which it calls it. What the disk looks like between the calls is
//! looked at in the other tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::STATE;
use crate::strace::{Call, record};
use crate::tree::{ACCESS, Traits, Tree, holds_key, target_of};

/// What is known of a file that the program has made.
#[derive(Debug, Default)]
struct Made {
    mode: u64,
    owner: Option<(u64, u64)>,
    access: Option<Vec<u8>>,
    /// The ACL is known to be the target's: set, or none is there and an inherited one was removed
    /// or looked for.
    settled: bool,
    written: bool,
}

#[test]
fn no_key_can_be_read_by_others_at_any_moment() {
    let tree = Tree::full();
    let copy = tree.copy();
    let root = copy.node.root();
    let calls = record(root, &["renew"]);
    let mut made: BTreeMap<PathBuf, Made> = BTreeMap::new();
    let mut keys = 0;
    for call in calls.iter().filter(|call| call.result >= 0 && call.is_below(root)) {
        match call.name.as_str() {
            "openat" if call.creates() => {
                let mode = call.number(3);
                assert_eq!(mode, 0o600, "{call:?}");
                made.insert(call.opened.clone().unwrap(), Made { mode, ..Made::default() });
            }
            "openat2" => assert!(!call.creates(), "{call:?}"),
            "mkdirat" if call.entry(0).starts_with(root.join(STATE)) => {
                assert_eq!(call.number(2), 0o700, "{call:?}")
            }
            "fchown" | "fsetxattr" | "fremovexattr" | "fchmod" | "fgetxattr" => {
                change(&tree, root, call, &mut made)
            }
            "write" | "pwrite64" => {
                let path = call.file(0);
                if holds_key(&call.bytes(1)) {
                    keys += 1;
                    may_hold_a_key(&tree, root, &path, &made);
                }
                made.entry(path).or_default().written = true;
            }
            _ => {}
        }
    }
    // In the place of each old one a new one, and each old one once more in the backup.
    let private = tree.targets.values().filter(|(_, content)| holds_key(content)).count();
    assert_eq!(keys, 2 * private);
    println!("{keys} writes of keys, {} files made", made.len());
}

/// Mode, owner and ACL of a new file only ever become those of its target, while it is empty.
fn change(tree: &Tree, root: &Path, call: &Call, made: &mut BTreeMap<PathBuf, Made>) {
    let path = call.file(0);
    let Some(file) = made.get_mut(&path) else {
        assert_eq!(call.name, "fgetxattr", "a file that is not new is changed: {call:?}");
        return;
    };
    let (target, access) =
        traits(tree, root, &path).unwrap_or_else(|| panic!("no target: {call:?}"));
    assert!(!file.written, "changed when it had its content: {call:?}");
    let attribute = || String::from_utf8(call.bytes(1)).unwrap();
    match call.name.as_str() {
        "fchown" => file.owner = Some((call.number(1), call.number(2))),
        "fsetxattr" if attribute() == ACCESS => {
            assert_eq!(Some(&call.bytes(2)), access.as_ref(), "{call:?}");
            file.access = access;
            file.settled = true;
        }
        "fremovexattr" => {
            assert_eq!((attribute().as_str(), access), (ACCESS, None), "{call:?}");
            file.settled = true;
        }
        "fgetxattr" if attribute() == ACCESS => {}
        "fchmod" => {
            // Where it comes first, the group bits are the owning group's, or those of an ACL that
            // the folder gave.
            assert!(
                file.settled || !target.attributes.contains_key(ACCESS.as_bytes()),
                "the mode comes before the ACL: {call:?}"
            );
            assert_eq!(call.number(1), u64::from(target.mode), "{call:?}");
            file.mode = call.number(1);
        }
        _ => {}
    }
}

fn may_hold_a_key(tree: &Tree, root: &Path, path: &Path, made: &BTreeMap<PathBuf, Made>) {
    let file = made
        .get(path)
        .unwrap_or_else(|| panic!("a key is written to {}, which is no new file", path.display()));
    if path.starts_with(root.join(STATE)) {
        assert_eq!(file.mode, 0o600, "{}", path.display());
        return;
    }
    let (target, access) = traits(tree, root, path)
        .unwrap_or_else(|| panic!("a key is written to {}", path.display()));
    assert_eq!((file.mode, &file.access), (u64::from(target.mode), &access), "{}", path.display());
    let owner = (u64::from(target.owner.0), u64::from(target.owner.1));
    assert_eq!(file.owner.unwrap_or((0, 0)), owner, "{}", path.display());
}

fn traits<'t>(tree: &'t Tree, root: &Path, path: &Path) -> Option<(&'t Traits, Option<Vec<u8>>)> {
    let (target, _) = tree.targets.get(&target_of(path.strip_prefix(root).unwrap()))?;
    Some((target, target.attributes.get(ACCESS.as_bytes()).cloned()))
}
