//! The quarantine: which staged files are copied where others can plant any number of them.

use std::os::unix::fs::chown;

use super::hostile::{JOURNAL, edit, entry, half_renamed};
use super::*;

const QUARANTINE: &str = "var/lib/kubecertd/set-aside";

/// A half renamed change in a directory of another user, and a journal of a newer format.
fn half_renamed_in_user_directory() -> Node {
    let node = half_renamed();
    chown(node.at("etc/pki"), Some(1234), None).unwrap();
    edit(&node.at(JOURNAL), "kubecertd-journal 1", "kubecertd-journal 2");
    node
}

/// The contents of the quarantined files.
fn quarantined(node: &Node) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(node.at(QUARANTINE)) else { return Vec::new() };
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn dir_contents(node: &Node) -> Vec<String> {
    node.dot_files()
        .iter()
        .filter_map(|name| fs::read_to_string(node.at(&format!("etc/pki/{name}"))).ok())
        .collect()
}

#[test]
fn only_files_that_the_journal_names_are_copied_from_user_directory() {
    require!(ROOT);
    let node = half_renamed_in_user_directory();
    for number in 0..300 {
        node.put(&format!("etc/pki/.a.key.kubecertd-{number:08x}"), "planted", 0o600);
    }
    node.put("etc/shadow", "secret", 0o600);
    symlink("/etc/shadow", node.at("etc/pki/.a.key.kubecertd-0badcafe")).unwrap();
    nix::unistd::mkfifo(
        &node.at("etc/pki/.a.key.kubecertd-0badf1f0"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let (_store, recovered) = node.open();
    assert_eq!(quarantined(&node), [b"new key"], "{recovered:?}");
    assert_eq!(recovered.swept, 3, "the copied file, the symlink and the pipe: {recovered:?}");
    assert_eq!(dir_contents(&node), vec!["planted"; 300], "they may hold a key");
    assert_eq!(
        recovered.notes[1..],
        [
            "1 staged files that the journal may have been about are kept in \
             /var/lib/kubecertd/set-aside: they may hold a key; remove them when everything works",
            "300 staged files that the journal may have been about stay in /etc/pki, as \
             .kept-by-kubecertd...: they may hold a key; remove them when everything works",
        ]
    );
    drop(_store);
    let (_store, recovered) = node.open();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(dir_contents(&node).len(), 300, "no later start removes them");
}

/// A journal that names more than is copied: 100 small files, or 20 of almost a megabyte.
#[test]
fn files_copied_from_user_directory_are_limited() {
    require!(ROOT);
    for (count, size, copied) in [(100, 10, 64), (20, 1_000_000, 16)] {
        let node = Node::new();
        drop(node.open());
        chown(node.at("etc/pki"), Some(1234), None).unwrap();
        let names: Vec<_> =
            (0..count).map(|number| format!(".a.key.kubecertd-{number:08x}")).collect();
        for name in &names {
            node.put(&format!("etc/pki/{name}"), &"x".repeat(size), 0o600);
        }
        fs::write(node.at(JOURNAL), format!("another format {names:?}")).unwrap();
        let (_store, recovered) = node.open();
        assert_eq!(quarantined(&node).len(), copied, "{recovered:?}");
        assert_eq!(dir_contents(&node).len(), count - copied, "{recovered:?}");
    }
}

/// A refused entry of an unfinished change puts other files in doubt. The owner of a directory can
/// cause one by a symlink in its place.
#[test]
fn refused_entry_copies_no_planted_files() {
    require!(ROOT);
    let node = Node::new();
    chown(node.at("etc/pki"), Some(1234), None).unwrap();
    let (mut store, _) = node.open();
    let entry = entry("/etc", "shadow", ".shadow.kubecertd-00000001", "old", "new");
    store.journal.write(vec![entry]).unwrap();
    drop(store);
    for number in 0..300 {
        node.put(&format!("etc/pki/.a.key.kubecertd-{number:08x}"), "planted", 0o600);
    }
    let (_store, recovered) = node.open();
    assert!(recovered.notes[0].contains("which is not managed on this node"), "{recovered:?}");
    assert_eq!(quarantined(&node), Vec::<Vec<u8>>::new());
    assert_eq!(dir_contents(&node).len(), 300);
}

/// Two directories, or two starts, can have staged files of the same name.
#[test]
fn quarantined_file_is_never_replaced() {
    let node = half_renamed();
    edit(&node.at(JOURNAL), "kubecertd-journal 1", "kubecertd-journal 2");
    let staged = node.dot_files().remove(0);
    let earlier = format!("{QUARANTINE}/{}", staged.trim_start_matches('.'));
    fs::create_dir(node.at(QUARANTINE)).unwrap();
    node.put(&earlier, "earlier", 0o600);
    node.put(&format!("{QUARANTINE}/.half"), "of a killed process", 0o600);
    let (_store, recovered) = node.open();
    assert_eq!(node.get(&earlier), "earlier", "{recovered:?}");
    assert_eq!(dir_contents(&node), ["new key"]);
}

/// The staged file can be neither copied nor renamed.
#[test]
fn doubt_lasts_until_staged_files_are_safe() {
    let node = half_renamed();
    edit(&node.at(JOURNAL), "kubecertd-journal 1", "kubecertd-journal 2");
    let staged = node.dot_files().remove(0);
    node.put(QUARANTINE, "in the way", 0o600);
    node.put(&format!("etc/pki/.kept-by-kubecertd{staged}"), "in the way", 0o600);
    let targets = [absolute("/etc/pki/a.crt"), absolute("/etc/pki/a.key")];
    let state = absolute("/var/lib/kubecertd");
    for _ in 0..2 {
        let failed = Store::open(&node.root, &state, Duration::ZERO, &targets).unwrap_err();
        assert!(failed.to_string().contains("/etc/pki/.kept-by-kubecertd.a.key."), "{failed}");
        assert_eq!(node.get(&format!("etc/pki/{staged}")), "new key");
        assert!(node.get(JOURNAL).starts_with("kubecertd-journal 2"));
    }
    fs::remove_file(node.at(QUARANTINE)).unwrap();
    let (_store, recovered) = node.open();
    assert_eq!(quarantined(&node), [b"new key"], "{recovered:?}");
}
