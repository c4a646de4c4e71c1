//! Which backups are kept, and in which order.

use super::*;

const BACKUPS_DIR: &str = "var/lib/kubecertd/backups";

/// Makes changes of the certificate and the key one after the other, each of which is backed up.
fn change_repeatedly(node: &Node, store: &mut Store<'_>, times: usize) {
    for round in 0..times {
        let [crt, key] = [node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")];
        let files = vec![
            new_file("/etc/pki/a.crt", Some(&crt), &format!("crt {round}")),
            new_file("/etc/pki/a.key", Some(&key), &format!("key {round}")),
        ];
        let done = commit(store, Change { files, ..pair() });
        assert!(done.outcomes[0].result.is_ok() && done.notes.is_empty(), "{done:?}");
    }
}

fn shown(store: &Store<'_>) -> Vec<String> {
    store.backups().generations().iter().map(ToString::to_string).collect()
}

fn add_backup(node: &Node, name: &str) {
    fs::create_dir_all(node.at(&format!("{BACKUPS_DIR}/{name}/etc/pki"))).unwrap();
    node.put(&format!("{BACKUPS_DIR}/{name}/etc/pki/a.crt"), name, 0o600);
}

#[test]
fn only_newest_backups_are_kept() {
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
    assert_eq!(
        store.backups().read(&generations[0], &absolute("/etc/pki/a.crt")).unwrap(),
        Some(secret("crt 3"))
    );
}

/// The clock was two years ahead when these backups were made, and is right now.
#[test]
fn new_backup_is_newest_after_clock_was_ahead() {
    let node = Node::new();
    let (mut store, _) = node.open();
    for name in ["20281121T000000Z", "20281122T000000Z-9999", "20281122T000000Z-10000"] {
        add_backup(&node, name);
    }
    change_repeatedly(&node, &mut store, 2);
    assert_eq!(
        shown(&store),
        ["20281122T000000Z-10002", "20281122T000000Z-10001", "20281122T000000Z-10000"]
    );
    let newest = &store.backups().generations()[0];
    let content = store.backups().read(newest, &absolute("/etc/pki/a.crt")).unwrap();
    assert_eq!(content, Some(secret("crt 0")));
}

/// Whose files a change replaces, and why they count as writable by others.
#[test]
fn backup_of_files_writable_by_others_displaces_none_of_root() {
    require!(ROOT);
    type Case = (&'static str, fn(&Node));
    let cases: [Case; 5] = [
        ("owned directory", |node| chown(node, "etc/pki", 1234)),
        ("owned parent", |node| chown(node, "etc", 1234)),
        ("owned file", |node| chown(node, "etc/pki/a.key", 1234)),
        ("writable file", |node| node.put("etc/pki/a.crt", &node.get("etc/pki/a.crt"), 0o664)),
        ("shared directory", |node| {
            fs::set_permissions(node.at("etc/pki"), fs::Permissions::from_mode(0o1777)).unwrap()
        }),
    ];
    for (case, give) in cases {
        let node = Node::new();
        let (mut store, _) = node.open();
        change_repeatedly(&node, &mut store, 2);
        let own = shown(&store);
        assert!(own.len() == 2 && own.iter().all(|name| !name.ends_with("-others")), "{own:?}");
        give(&node);
        change_repeatedly(&node, &mut store, 5);
        let all = shown(&store);
        let others = &all[..all.len() - 2];
        assert_eq!(
            others,
            ["0006", "0005", "0004"].map(|count| format!("20261121T000000Z-{count}-others")),
            "{case}: {all:?}"
        );
        assert_eq!(all[3..], own, "{case}");
        let backups = store.backups();
        let newest = &backups.generations()[0];
        let key = backups.read(newest, &absolute("/etc/pki/a.key")).unwrap();
        assert_eq!(key, Some(secret("key 3")), "{case}: it can be restored from");
    }
}

fn chown(node: &Node, path: &str, owner: u32) {
    std::os::unix::fs::chown(node.at(path), Some(owner), None).unwrap();
}

#[test]
fn commit_backs_up_files_of_root_and_of_others_apart() {
    require!(ROOT);
    let node = Node::new();
    fs::create_dir(node.at("etc/theirs")).unwrap();
    node.put("etc/theirs/b.pem", "old", 0o600);
    chown(&node, "etc/theirs", 1234);
    let (mut store, _) = node.open();
    let theirs = Change {
        credential: CredentialName::constant("b"),
        files: vec![new_file("/etc/theirs/b.pem", Some("old"), "new")],
        ..pair()
    };
    let changes = [theirs, pair()].map(|change| store.stage(change).unwrap().check(fine).unwrap());
    let done = store.commit(changes.into(), Timestamp::from_seconds(NOW), 1);
    assert!(done.outcomes.iter().all(|outcome| outcome.result.is_ok()), "{done:?}");
    let made: Vec<_> = done.backups.iter().map(ToString::to_string).collect();
    assert_eq!(made, ["20261121T000000Z", "20261121T000000Z-0001-others"]);
    let files = |name: &str| {
        let dir = node.at(&format!("{BACKUPS_DIR}/{name}/etc"));
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!((files(&made[0]), files(&made[1])), (vec!["pki".into()], vec!["theirs".into()]));
}
