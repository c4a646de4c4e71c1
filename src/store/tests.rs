use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::common::requirements::{ROOT, require};
use crate::model::{AbsolutePath, CredentialName, Digest, Secret, Timestamp};
use crate::sys::Root;

mod backups;
mod hostile;
mod quarantine;

const NOW: i64 = 1_795_219_200;

struct Node {
    disk: tempfile::TempDir,
    root: Root,
}

impl Node {
    fn new() -> Self {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("etc/pki")).unwrap();
        let node = Self { root: Root::open(disk.path()).unwrap(), disk };
        node.put("etc/pki/a.crt", "old crt", 0o644);
        node.put("etc/pki/a.key", "old key", 0o600);
        node
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.disk.path().join(path)
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
        Store::open(
            &self.root,
            &state,
            Duration::ZERO,
            &[absolute("/etc/pki/a.crt"), absolute("/etc/pki/a.key")],
        )
        .unwrap()
    }

    fn dot_files(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("etc/pki"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
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
    NewFile {
        path: absolute(path),
        content: secret(new),
        old: old.map(|old| Digest::of(old.as_bytes())),
        kind: Kind::Private,
    }
}

fn pair() -> Change {
    let files = vec![
        new_file("/etc/pki/a.crt", Some("old crt"), "new crt"),
        new_file("/etc/pki/a.key", Some("old key"), "new key"),
    ];
    Change {
        credential: CredentialName::new("a").unwrap(),
        files,
        link: None,
        backup: Backup::Required,
    }
}

fn fine(_: &[Secret]) -> Result<(), StoreError> {
    Ok(())
}

fn commit(store: &mut Store<'_>, change: Change) -> Commit {
    let checked = store.stage(change).unwrap().check(fine).unwrap();
    store.commit(vec![checked], Timestamp::from_seconds(NOW), 3)
}

#[test]
fn change_replaces_and_backs_up_all_its_files() {
    let node = Node::new();
    let (mut store, recovered) = node.open();
    assert_eq!(recovered, Recovered::default());
    let done = commit(&mut store, pair());
    assert!(
        done.outcomes.iter().all(|outcome| outcome.result.is_ok()) && done.notes.is_empty(),
        "{done:?}"
    );
    assert_eq!(
        (node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
        ("new crt".into(), "new key".into())
    );
    assert_eq!(node.dot_files(), Vec::<String>::new());
    let backups = store.backups();
    let generations = backups.generations();
    assert_eq!(
        generations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["20261121T000000Z"]
    );
    assert_eq!(
        backups.read(&generations[0], &absolute("/etc/pki/a.key")).unwrap(),
        Some(secret("old key"))
    );
    let copy =
        fs::metadata(node.at("var/lib/kubecertd/backups/20261121T000000Z/etc/pki/a.crt")).unwrap();
    assert_eq!(copy.mode() & 0o777, 0o600);
}

#[test]
fn mode_owner_acl_and_attributes_are_preserved() {
    require!(ROOT);
    let node = Node::new();
    let key = node.at("etc/pki/a.key");
    // u::rw- u:1234:r-- g::r-- m::r-- o::--- in the kernel's own form.
    let acl = [
        2u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
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
fn inherited_acl_of_directory_is_removed() {
    let node = Node::new();
    node.put("etc/pki/a.key", "old key", 0o640);
    // u::rw- u:1234:r-- g::r-- m::r-- o::---
    let acl = [
        2u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
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
fn symlinked_target_is_replaced_and_link_stays() {
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
fn two_paths_to_same_file_are_refused() {
    let node = Node::new();
    fs::remove_file(node.at("etc/pki/a.key")).unwrap();
    symlink("a.crt", node.at("etc/pki/a.key")).unwrap();
    let (store, _) = node.open();
    let files = vec![
        new_file("/etc/pki/a.crt", Some("old crt"), "new crt"),
        new_file("/etc/pki/a.key", Some("old crt"), "new key"),
    ];
    let refused = store.stage(Change { files, ..pair() });
    assert!(
        matches!(refused, Err(StoreError::SameFile(path)) if path == Path::new("/etc/pki/a.crt"))
    );
    assert_eq!((node.get("etc/pki/a.crt").as_str(), node.dot_files()), ("old crt", Vec::new()));
}

#[test]
fn new_file_gets_mode_of_its_kind() {
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
fn failed_check_leaves_no_staged_files() {
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
fn file_changed_by_other_program_is_not_replaced() {
    let node = Node::new();
    let (mut store, _) = node.open();
    let checked = store.stage(pair()).unwrap().check(fine).unwrap();
    node.put("etc/pki/a.key", "their key", 0o600);
    let done = store.commit(vec![checked], Timestamp::from_seconds(NOW), 3);
    assert!(matches!(done.outcomes[0].result, Err(StoreError::Changed(_))), "{done:?}");
    assert_eq!(
        (node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
        ("old crt".into(), "their key".into())
    );
    assert!(matches!(store.stage(pair()), Err(StoreError::Changed(_))));
    assert_eq!(node.dot_files(), Vec::<String>::new());
}

/// Leaves the node in the state of a crash after the journal was written and `renames` of the two
/// files were renamed.
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
fn journaled_change_is_completed_at_next_start() {
    for renames in 0..=2 {
        let node = Node::new();
        crash_after(&node, renames);
        let (store, recovered) = node.open();
        assert_eq!(
            recovered.finished,
            [CredentialName::new("a").unwrap()],
            "after {renames} renames"
        );
        assert_eq!(
            (node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
            ("new crt".into(), "new key".into())
        );
        assert_eq!(node.dot_files(), Vec::<String>::new());
        drop(store);
        assert_eq!(node.open().1, Recovered::default(), "a second start has nothing to do");
    }
}

#[test]
fn journaled_change_not_begun_is_dropped_after_other_change() {
    let node = Node::new();
    crash_after(&node, 0);
    node.put("etc/pki/a.key", "their key", 0o600);
    let (_store, recovered) = node.open();
    assert_eq!((recovered.finished.len(), recovered.dropped.len()), (0, 1));
    assert_eq!(
        (node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
        ("old crt".into(), "their key".into())
    );
    assert_eq!(node.dot_files(), Vec::<String>::new());
}

#[test]
fn staged_file_without_journal_is_removed() {
    let node = Node::new();
    node.put("etc/pki/.a.key.kubecertd-0badcafe", "left behind", 0o600);
    node.put("etc/pki/.a.key.other", "not ours", 0o600);
    let (_store, recovered) = node.open();
    assert_eq!(recovered.swept, 1);
    assert_eq!(node.dot_files(), [".a.key.other"]);
}

#[test]
fn journal_of_newer_format_is_quarantined_and_reported() {
    let node = Node::new();
    crash_after(&node, 0);
    let journal = node.at("var/lib/kubecertd/journal");
    let text = fs::read(&journal).unwrap();
    let newer =
        String::from_utf8_lossy(&text).replacen("kubecertd-journal 1", "kubecertd-journal 2", 1);
    fs::write(&journal, newer.as_bytes()).unwrap();
    let (mut store, recovered) = node.open();
    assert!(
        recovered.notes[0].contains("has format 2, and this version knows format 1"),
        "{recovered:?}"
    );
    assert_eq!(node.get("etc/pki/a.crt"), "old crt");
    assert!(commit(&mut store, pair()).outcomes[0].result.is_ok(), "the renewal still happens");
}

#[test]
fn held_lock_is_waited_for_until_timeout() {
    let node = Node::new();
    let (store, _) = node.open();
    let state = absolute("/var/lib/kubecertd");
    let busy = Store::open(&node.root, &state, Duration::from_millis(60), &[]).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy}");
    drop(store);
    assert!(Store::open(&node.root, &state, Duration::ZERO, &[]).is_ok());
}

#[test]
fn incomplete_backup_is_ignored_and_removed() {
    let node = Node::new();
    fs::create_dir_all(node.at("var/lib/kubecertd/backups/.half/etc/pki")).unwrap();
    node.put("var/lib/kubecertd/backups/.half/etc/pki/a.crt", "old crt", 0o600);
    assert!(
        Backups::open_or_empty(&node.root, &absolute("/var/lib/kubecertd"))
            .generations()
            .is_empty()
    );
    let (_store, _) = node.open();
    assert_eq!(fs::read_dir(node.at("var/lib/kubecertd/backups")).unwrap().count(), 0);
}

// ---- a symlink that is swapped ----

const LINK: &str = "etc/pki/client-current.pem";
const OLD: &str = "client-2025-01-01-00-00-00.pem";
const NEW: &str = "client-2026-11-21-00-00-00.pem";

/// The link, its old file, and a kubeconfig that changes with it.
fn linked() -> Node {
    let node = Node::new();
    node.put(&format!("etc/pki/{OLD}"), "old pem", 0o600);
    node.put("etc/pki/conf", "embeds", 0o600);
    symlink(format!("/etc/pki/{OLD}"), node.at(LINK)).unwrap();
    node
}

fn open_linked(node: &Node) -> (Store<'_>, Recovered) {
    let targets = [absolute("/etc/pki/client-current.pem"), absolute("/etc/pki/conf")];
    Store::open(&node.root, &absolute("/var/lib/kubecertd"), Duration::ZERO, &targets).unwrap()
}

fn swap() -> Change {
    let old = Some(format!("/etc/pki/{OLD}").into());
    let link = NewLink {
        path: absolute("/etc/pki/client-current.pem"),
        old,
        name: NEW.to_owned(),
        content: secret("new pem"),
    };
    let files = vec![new_file("/etc/pki/conf", Some("embeds"), "points")];
    Change {
        credential: CredentialName::new("own").unwrap(),
        files,
        link: Some(link),
        backup: Backup::Required,
    }
}

/// The content of the file that the link leads to, below the node's root.
fn pem(node: &Node) -> String {
    node.get(leads(node).trim_start_matches('/'))
}

fn leads(node: &Node) -> String {
    fs::read_link(node.at(LINK)).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn link_is_swapped_and_old_file_stays() {
    let node = linked();
    let (mut store, _) = open_linked(&node);
    let staged = store.stage(swap()).unwrap();
    let mut seen = Vec::new();
    let checked = staged.check(|contents| {
        seen.extend(
            contents.iter().map(|content| String::from_utf8(content.expose().to_vec()).unwrap()),
        );
        Ok::<_, StoreError>(())
    });
    assert_eq!(seen, ["new pem", "points"], "the link's comes first");
    let done = store.commit(vec![checked.unwrap()], Timestamp::from_seconds(NOW), 3);
    assert!(done.outcomes[0].result.is_ok() && done.notes.is_empty(), "{done:?}");
    assert_eq!(leads(&node), format!("/etc/pki/{NEW}"), "the whole path, as kubelet has it");
    assert_eq!(
        (pem(&node), node.get(&format!("etc/pki/{OLD}")), node.get("etc/pki/conf")),
        ("new pem".into(), "old pem".into(), "points".into())
    );
    assert_eq!(fs::metadata(node.at(&format!("etc/pki/{NEW}"))).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(node.dot_files(), Vec::<String>::new());
    drop(store);
    assert_eq!(open_linked(&node).1, Recovered::default());
}

#[test]
fn link_changed_by_other_program_is_not_swapped() {
    let node = linked();
    let (mut store, _) = open_linked(&node);
    let checked = store.stage(swap()).unwrap().check(fine).unwrap();
    node.put("etc/pki/client-2026-02-02-00-00-00.pem", "kubelet's own", 0o600);
    fs::remove_file(node.at(LINK)).unwrap();
    symlink("/etc/pki/client-2026-02-02-00-00-00.pem", node.at(LINK)).unwrap();
    let done = store.commit(vec![checked], Timestamp::from_seconds(NOW), 3);
    assert!(matches!(done.outcomes[0].result, Err(StoreError::Changed(_))), "{done:?}");
    assert_eq!((pem(&node), node.get("etc/pki/conf")), ("kubelet's own".into(), "embeds".into()));
    drop(done);
    assert_eq!(node.dot_files(), Vec::<String>::new());
    assert!(!node.at(&format!("etc/pki/{NEW}")).exists());
    let elsewhere = store.stage(swap());
    assert!(matches!(elsewhere, Err(StoreError::Changed(_))), "{elsewhere:?}");
    let taken = store.stage(Change {
        link: Some(NewLink {
            name: "client-2026-02-02-00-00-00.pem".into(),
            ..swap().link.unwrap()
        }),
        ..swap()
    });
    assert!(taken.is_err());
    let other = store.stage(Change {
        link: Some(NewLink { name: "passwd".into(), ..swap().link.unwrap() }),
        ..swap()
    });
    assert!(matches!(other, Err(StoreError::NotALink(_))), "{other:?}");
}

#[test]
fn missing_link_is_created() {
    let node = linked();
    fs::remove_file(node.at(LINK)).unwrap();
    let (mut store, _) = open_linked(&node);
    let change = Change { link: Some(NewLink { old: None, ..swap().link.unwrap() }), ..swap() };
    let done = commit(&mut store, change);
    assert!(done.outcomes[0].result.is_ok(), "{done:?}");
    assert_eq!(pem(&node), "new pem");
}

/// The journal is written, and the power is lost after each of the following steps.
#[test]
fn interrupted_swap_is_completed_after_any_step() {
    for steps in 0..=3 {
        let node = linked();
        let (mut store, _) = open_linked(&node);
        let mut checked = store.stage(swap()).unwrap().check(fine).unwrap();
        store.journal.write(commit::entries(&checked)).unwrap();
        checked.keep_staged(true);
        let staged = |content: &str, link: bool| {
            let name = node.dot_files().into_iter().find(|name| {
                let path = node.at(&format!("etc/pki/{name}"));
                fs::read_link(&path).is_ok() == link
                    && (link || fs::read_to_string(&path).unwrap() == content)
            });
            node.at(&format!("etc/pki/{}", name.unwrap()))
        };
        if steps > 0 {
            fs::rename(staged("new pem", false), node.at(&format!("etc/pki/{NEW}"))).unwrap();
        }
        if steps > 1 {
            fs::rename(staged("", true), node.at(LINK)).unwrap();
        }
        if steps > 2 {
            fs::rename(staged("points", false), node.at("etc/pki/conf")).unwrap();
        }
        drop((checked, store));
        let (store, recovered) = open_linked(&node);
        assert_eq!(recovered.finished.len(), 1, "{steps}: {recovered:?}");
        assert_eq!(
            (leads(&node), pem(&node), node.get("etc/pki/conf")),
            (format!("/etc/pki/{NEW}"), "new pem".into(), "points".into()),
            "{steps}"
        );
        assert_eq!(node.dot_files(), Vec::<String>::new(), "{steps}");
        drop(store);
        assert_eq!(open_linked(&node).1, Recovered::default(), "{steps}");
    }
}

/// kubelet changed the link first: no file of the change is left, and no stray key.
#[test]
fn overtaken_swap_leaves_no_files() {
    for named in [false, true] {
        let node = linked();
        let (mut store, _) = open_linked(&node);
        let mut checked = store.stage(swap()).unwrap().check(fine).unwrap();
        store.journal.write(commit::entries(&checked)).unwrap();
        checked.keep_staged(true);
        if named {
            let file = node.dot_files().into_iter().find(|name| {
                fs::read_to_string(node.at(&format!("etc/pki/{name}")))
                    .is_ok_and(|text| text == "new pem")
            });
            fs::rename(
                node.at(&format!("etc/pki/{}", file.unwrap())),
                node.at(&format!("etc/pki/{NEW}")),
            )
            .unwrap();
        }
        node.put("etc/pki/client-2026-02-02-00-00-00.pem", "kubelet's own", 0o600);
        fs::remove_file(node.at(LINK)).unwrap();
        symlink("/etc/pki/client-2026-02-02-00-00-00.pem", node.at(LINK)).unwrap();
        drop((checked, store));
        let (_store, recovered) = open_linked(&node);
        assert_eq!(recovered.dropped.len(), 1, "{recovered:?}");
        assert_eq!(
            (pem(&node), node.get("etc/pki/conf")),
            ("kubelet's own".into(), "embeds".into())
        );
        assert!(
            !node.at(&format!("etc/pki/{NEW}")).exists() && node.dot_files().is_empty(),
            "{:?}",
            node.dot_files()
        );
    }
}

#[test]
fn staged_link_without_journal_is_removed() {
    let node = linked();
    let (store, _) = open_linked(&node);
    let mut checked = store.stage(swap()).unwrap().check(fine).unwrap();
    checked.keep_staged(true);
    drop((checked, store));
    assert_eq!(node.dot_files().len(), 3);
    let (_store, recovered) = open_linked(&node);
    assert_eq!(
        (recovered.swept, node.dot_files().len(), leads(&node)),
        (3, 0, format!("/etc/pki/{OLD}"))
    );
}

#[test]
fn journal_with_hostile_link_target_is_not_followed() {
    let entry = |name: &str, dated: &str, file: &str| journal::Entry::Link {
        credential: CredentialName::new("own").unwrap(),
        dir: "/etc/pki".into(),
        name: name.into(),
        staged: format!(".{name}.kubecertd-1"),
        file: file.into(),
        dated: dated.into(),
        old: None,
        new: Digest::of(b"x"),
    };
    let current = "client-current.pem";
    let staged = ".client-current.pem.kubecertd-2";
    for hostile in [
        entry(current, "../../passwd", staged),
        entry(current, "a.crt", staged),
        entry("other-current.pem", "other-2026.pem", ".other-current.pem.kubecertd-2"),
        entry(current, NEW, "a.key"),
    ] {
        let node = linked();
        let (mut store, _) = open_linked(&node);
        store.journal.write(vec![hostile]).unwrap();
        drop(store);
        let (_store, recovered) = open_linked(&node);
        assert!(
            recovered.finished.is_empty() && recovered.notes[0].contains("it is not used"),
            "{recovered:?}"
        );
        assert_eq!(
            (leads(&node), node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
            (format!("/etc/pki/{OLD}"), "old crt".into(), "old key".into())
        );
    }
}
