use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::model::{CredentialName, Digest, Secret, Timestamp};

mod hostile;

const NOW: i64 = 1_795_219_200;

struct Node {
    folder: tempfile::TempDir,
    root: Root,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/pki")).unwrap();
        let node = Self { root: Root::open(folder.path()).unwrap(), folder };
        node.put("etc/pki/a.crt", "old crt", 0o644);
        node.put("etc/pki/a.key", "old key", 0o600);
        node
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, content: &str, mode: u32) {
        fs::write(self.at(path), content).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn open(&self) -> (Store<'_>, Recovered) {
        let state = absolute("/var/lib/kubecertd");
        Store::open(&self.root, &state, Duration::ZERO, &[absolute("/etc/pki/a.crt"), absolute("/etc/pki/a.key")]).unwrap()
    }

    fn dot_files(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("etc/pki")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }
}

fn absolute(path: &str) -> AbsolutePath {
    AbsolutePath::new(path).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn new_file(path: &str, old: Option<&str>, new: &str) -> NewFile {
    NewFile { path: absolute(path), content: secret(new), old: old.map(|old| Digest::of(old.as_bytes())), kind: Kind::Private }
}

fn pair() -> Change {
    let files = vec![new_file("/etc/pki/a.crt", Some("old crt"), "new crt"), new_file("/etc/pki/a.key", Some("old key"), "new key")];
    Change { credential: CredentialName::new("a").unwrap(), files, link: None, backup: Backup::Required }
}

fn fine(_: &[Secret]) -> Result<(), StoreError> {
    Ok(())
}

fn commit(store: &mut Store<'_>, change: Change) -> Commit {
    let checked = store.stage(change).unwrap().check(fine).unwrap();
    store.commit(vec![checked], Timestamp::from_seconds(NOW), 3)
}

#[test]
fn a_change_replaces_all_its_files_and_backs_up_the_old_ones() {
    let node = Node::new();
    let (mut store, recovered) = node.open();
    assert_eq!(recovered, Recovered::default());
    let done = commit(&mut store, pair());
    assert!(done.outcomes.iter().all(|outcome| outcome.result.is_ok()) && done.notes.is_empty(), "{done:?}");
    assert_eq!((node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")), ("new crt".into(), "new key".into()));
    assert_eq!(node.dot_files(), Vec::<String>::new());
    let backups = store.backups();
    let generations = backups.generations();
    assert_eq!(generations.iter().map(ToString::to_string).collect::<Vec<_>>(), ["20261121T000000Z"]);
    assert_eq!(backups.read(&generations[0], &absolute("/etc/pki/a.key")).unwrap(), Some(secret("old key")));
    let copy = fs::metadata(node.at("var/lib/kubecertd/backups/20261121T000000Z/etc/pki/a.crt")).unwrap();
    assert_eq!(copy.mode() & 0o777, 0o600);
}

#[test]
fn mode_owner_acl_and_attributes_stay_and_the_label_of_the_content_does_not() {
    let node = Node::new();
    let key = node.at("etc/pki/a.key");
    // u::rw- u:1234:r-- g::r-- m::r-- o::--- in the kernel's own form.
    let acl = [
        2u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255,
        255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    std::os::unix::fs::chown(&key, Some(1234), Some(4321)).unwrap();
    xattr::set(&key, "system.posix_acl_access", &acl).unwrap();
    xattr::set(&key, "user.note", b"mine").unwrap();
    let (mut store, _) = node.open();
    commit(&mut store, pair());
    let stat = fs::metadata(&key).unwrap();
    assert_eq!(node.get("etc/pki/a.key"), "new key");
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (1234, 4321, 0o640));
    assert_eq!(xattr::get(&key, "system.posix_acl_access").unwrap().as_deref(), Some(&acl[..]));
    assert_eq!(xattr::get(&key, "user.note").unwrap().as_deref(), Some(&b"mine"[..]));
}

#[test]
fn an_acl_that_the_folder_gives_to_new_files_lets_nobody_else_read() {
    let node = Node::new();
    node.put("etc/pki/a.key", "old key", 0o640);
    // u::rw- u:1234:r-- g::r-- m::r-- o::---
    let acl = [
        2u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255,
        255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    xattr::set(node.at("etc/pki"), "system.posix_acl_default", &acl).unwrap();
    let (mut store, _) = node.open();
    commit(&mut store, pair());
    let key = node.at("etc/pki/a.key");
    assert_eq!(node.get("etc/pki/a.key"), "new key");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(xattr::get(&key, "system.posix_acl_access").unwrap(), None);
}

#[test]
fn a_symlinked_target_is_replaced_where_it_points_and_the_link_stays() {
    let node = Node::new();
    fs::create_dir(node.at("srv")).unwrap();
    fs::rename(node.at("etc/pki/a.crt"), node.at("srv/real.crt")).unwrap();
    symlink("/srv/real.crt", node.at("etc/pki/a.crt")).unwrap();
    let (mut store, _) = node.open();
    commit(&mut store, pair());
    assert_eq!(fs::read_link(node.at("etc/pki/a.crt")).unwrap(), Path::new("/srv/real.crt"));
    assert_eq!(node.get("srv/real.crt"), "new crt");
}

#[test]
fn two_files_that_are_one_are_refused() {
    let node = Node::new();
    fs::remove_file(node.at("etc/pki/a.key")).unwrap();
    symlink("a.crt", node.at("etc/pki/a.key")).unwrap();
    let (store, _) = node.open();
    let files = vec![new_file("/etc/pki/a.crt", Some("old crt"), "new crt"), new_file("/etc/pki/a.key", Some("old crt"), "new key")];
    let refused = store.stage(Change { files, ..pair() });
    assert!(matches!(refused, Err(StoreError::SameFile(path)) if path == Path::new("/etc/pki/a.crt")));
    assert_eq!((node.get("etc/pki/a.crt").as_str(), node.dot_files()), ("old crt", Vec::new()));
}

#[test]
fn a_new_file_gets_the_mode_of_its_kind() {
    let node = Node::new();
    fs::remove_file(node.at("etc/pki/a.crt")).unwrap();
    fs::remove_file(node.at("etc/pki/a.key")).unwrap();
    let mut change = pair();
    change.files.iter_mut().for_each(|file| file.old = None);
    change.files[0].kind = Kind::Certificate;
    let (mut store, _) = node.open();
    commit(&mut store, change);
    let mode = |path| fs::metadata(node.at(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("etc/pki/a.crt"), mode("etc/pki/a.key")), (0o644, 0o600));
}

#[test]
fn a_failed_check_or_a_dropped_change_leaves_nothing_behind() {
    let node = Node::new();
    let (store, _) = node.open();
    let staged = store.stage(pair()).unwrap();
    assert_eq!(node.dot_files().len(), 2);
    let refused = staged.check(|contents| {
        assert_eq!(contents, [secret("new crt"), secret("new key")]);
        Err(StoreError::Changed("refused".into()))
    });
    assert!(refused.is_err());
    assert_eq!(node.dot_files(), Vec::<String>::new());
    assert_eq!(node.get("etc/pki/a.crt"), "old crt");
}

#[test]
fn what_somebody_else_changed_is_left_alone() {
    let node = Node::new();
    let (mut store, _) = node.open();
    let checked = store.stage(pair()).unwrap().check(fine).unwrap();
    node.put("etc/pki/a.key", "their key", 0o600);
    let done = store.commit(vec![checked], Timestamp::from_seconds(NOW), 3);
    assert!(matches!(done.outcomes[0].result, Err(StoreError::Changed(_))), "{done:?}");
    assert_eq!((node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")), ("old crt".into(), "their key".into()));
    assert!(matches!(store.stage(pair()), Err(StoreError::Changed(_))));
    assert_eq!(node.dot_files(), Vec::<String>::new());
}

/// Leaves the node as a crash right after the journal was written does, then `renames` of the two files made.
fn crash_after(node: &Node, renames: usize) {
    let (mut store, _) = node.open();
    let mut checked = store.stage(pair()).unwrap().check(fine).unwrap();
    store.journal.write(commit::entries(&checked)).unwrap();
    checked.keep_staged(true);
    for file in checked.files.iter().take(renames) {
        file.place.dir.rename(&file.name, &file.place.name).unwrap();
    }
}

#[test]
fn a_journaled_change_is_finished_at_the_next_start() {
    for renames in 0..=2 {
        let node = Node::new();
        crash_after(&node, renames);
        let (store, recovered) = node.open();
        assert_eq!(recovered.finished, [CredentialName::new("a").unwrap()], "after {renames} renames");
        assert_eq!((node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")), ("new crt".into(), "new key".into()));
        assert_eq!(node.dot_files(), Vec::<String>::new());
        drop(store);
        assert_eq!(node.open().1, Recovered::default(), "a second start has nothing to do");
    }
}

#[test]
fn a_journaled_change_that_was_not_begun_yields_to_somebody_elses() {
    let node = Node::new();
    crash_after(&node, 0);
    node.put("etc/pki/a.key", "their key", 0o600);
    let (_store, recovered) = node.open();
    assert_eq!((recovered.finished.len(), recovered.dropped.len()), (0, 1));
    assert_eq!((node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")), ("old crt".into(), "their key".into()));
    assert_eq!(node.dot_files(), Vec::<String>::new());
}

#[test]
fn an_unjournaled_change_is_swept_away() {
    let node = Node::new();
    node.put("etc/pki/.a.key.kubecertd-0badcafe", "left behind", 0o600);
    node.put("etc/pki/.a.key.other", "not ours", 0o600);
    let (_store, recovered) = node.open();
    assert_eq!(recovered.swept, 1);
    assert_eq!(node.dot_files(), [".a.key.other"]);
}

#[test]
fn a_journal_from_the_future_is_set_aside_aloud() {
    let node = Node::new();
    crash_after(&node, 0);
    let journal = node.at("var/lib/kubecertd/journal");
    let text = fs::read(&journal).unwrap();
    let newer = String::from_utf8_lossy(&text).replacen("kubecertd-journal 1", "kubecertd-journal 2", 1);
    fs::write(&journal, newer.as_bytes()).unwrap();
    let (mut store, recovered) = node.open();
    assert!(recovered.notes[0].contains("has format 2, and this version knows format 1"), "{recovered:?}");
    assert_eq!(node.get("etc/pki/a.crt"), "old crt");
    assert!(commit(&mut store, pair()).outcomes[0].result.is_ok(), "the renewal still happens");
}

#[test]
fn a_lock_that_is_held_is_waited_for_within_its_limit_only() {
    let node = Node::new();
    let (store, _) = node.open();
    let state = absolute("/var/lib/kubecertd");
    let busy = Store::open(&node.root, &state, Duration::from_millis(60), &[]).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy}");
    drop(store);
    assert!(Store::open(&node.root, &state, Duration::ZERO, &[]).is_ok());
}

#[test]
fn only_the_newest_backups_are_kept() {
    let node = Node::new();
    let (mut store, _) = node.open();
    let mut old = ("old crt".to_owned(), "old key".to_owned());
    for round in 0..5 {
        let mut change = pair();
        let new = (format!("crt {round}"), format!("key {round}"));
        change.files[0] = new_file("/etc/pki/a.crt", Some(&old.0), &new.0);
        change.files[1] = new_file("/etc/pki/a.key", Some(&old.1), &new.1);
        assert!(commit(&mut store, change).outcomes[0].result.is_ok());
        old = new;
    }
    let generations = store.backups().generations();
    let shown: Vec<_> = generations.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["20261121T000000Z-0004", "20261121T000000Z-0003", "20261121T000000Z-0002"]);
    assert_eq!(store.backups().read(&generations[0], &absolute("/etc/pki/a.crt")).unwrap(), Some(secret("crt 3")));
}

#[test]
fn half_a_backup_is_no_backup_and_is_swept_away() {
    let node = Node::new();
    fs::create_dir_all(node.at("var/lib/kubecertd/backups/.half/etc/pki")).unwrap();
    node.put("var/lib/kubecertd/backups/.half/etc/pki/a.crt", "old crt", 0o600);
    assert!(Backups::look(&node.root, &absolute("/var/lib/kubecertd")).generations().is_empty());
    let (_store, _) = node.open();
    assert_eq!(fs::read_dir(node.at("var/lib/kubecertd/backups")).unwrap().count(), 0);
}
