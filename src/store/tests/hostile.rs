//! A journal that is damaged, foreign, or not a regular file: no other file is changed, no key is
//! lost, and the next change succeeds.

use super::*;

pub(super) const JOURNAL: &str = "var/lib/kubecertd/journal";

/// A change that is half renamed: the new certificate is in place, its key only in the staged file.
pub(super) fn half_renamed() -> Node {
    let node = Node::new();
    crash_after(&node, 1);
    assert_eq!(
        (node.get("etc/pki/a.crt").as_str(), node.get("etc/pki/a.key").as_str()),
        ("new crt", "old key")
    );
    node
}

/// Asserts that the new key is not lost, and that no staged file is left beside the targets.
fn assert_new_key_is_kept(node: &Node, context: &str) {
    let kept = fs::read_dir(node.at("var/lib/kubecertd/set-aside"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept
        .map(|path| {
            (fs::read_to_string(&path).unwrap(), fs::metadata(path).unwrap().mode() & 0o777)
        })
        .collect();
    let kept = kept.contains(&("new key".to_owned(), 0o600));
    assert!(kept || node.get("etc/pki/a.key") == "new key", "{context}: the key is lost");
    assert_eq!(node.dot_files(), Vec::<String>::new(), "{context}");
}

/// Asserts that a change of the present files can be made.
fn assert_change_succeeds(node: &Node, store: &mut Store<'_>, context: &str) {
    let now = [node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")];
    let files = vec![
        new_file("/etc/pki/a.crt", Some(&now[0]), "next crt"),
        new_file("/etc/pki/a.key", Some(&now[1]), "next key"),
    ];
    let done = commit(store, Change { files, ..pair() });
    assert!(done.outcomes[0].result.is_ok(), "{context}: {done:?}");
    assert_eq!(
        (node.get("etc/pki/a.crt"), node.get("etc/pki/a.key")),
        ("next crt".into(), "next key".into()),
        "{context}"
    );
}

#[test]
fn journal_with_any_bit_flipped_loses_no_key() {
    let node = half_renamed();
    let journal = fs::read(node.at(JOURNAL)).unwrap();
    let used = journal.iter().rposition(|byte| *byte != 0).unwrap();
    let staged = node.dot_files().remove(0);
    node.put("etc/pki/other.key", "other", 0o600);
    let (mut followed, mut refused) = (0, 0);
    for byte in 0..=used {
        let bit = byte % 8;
        let context = format!("bit {bit} of byte {byte}");
        node.put("etc/pki/a.crt", "new crt", 0o644);
        node.put("etc/pki/a.key", "old key", 0o600);
        node.put(&format!("etc/pki/{staged}"), "new key", 0o600);
        let _ = fs::remove_dir_all(node.at("var/lib/kubecertd/set-aside"));
        let mut flipped = journal.clone();
        flipped[byte] ^= 1 << bit;
        fs::write(node.at(JOURNAL), flipped).unwrap();
        let (_store, recovered) = node.open();
        match (node.get("etc/pki/a.key").as_str(), recovered.notes.as_slice()) {
            // A flip in the padding of the header does not change the intent.
            ("new key", []) => followed += 1,
            ("old key", [_, ..]) => refused += 1,
            other => panic!("{context}: {other:?}"),
        }
        assert_new_key_is_kept(&node, &context);
        assert_eq!(
            (node.get("etc/pki/a.crt").as_str(), node.get("etc/pki/other.key").as_str()),
            ("new crt", "other"),
            "{context}"
        );
    }
    assert!(followed > 0 && refused > 128, "{followed} {refused}");
    let (mut store, recovered) = node.open();
    assert_eq!(recovered, Recovered::default(), "it is said once");
    assert_change_succeeds(&node, &mut store, "afterwards");
}

type Damage = (&'static str, fn(&Path), &'static str);

#[test]
fn invalid_journal_is_reported_and_changes_continue() {
    let cases: &[Damage] = &[
        (
            "truncated",
            |path| fs::write(path, &fs::read(path).unwrap()[..200]).unwrap(),
            "was not completely written, or is damaged",
        ),
        (
            "another text",
            |path| fs::write(path, "x".repeat(1000)).unwrap(),
            "is not a journal; it is quarantined as journal.refused",
        ),
        ("huge", |path| fs::write(path, "x".repeat(3 << 20)).unwrap(), "is not a journal"),
        (
            "from the future",
            |path| edit(path, "kubecertd-journal 1", "kubecertd-journal 2"),
            "has format 2, and this version knows format 1",
        ),
        (
            "a symlink",
            |path| moved(path, |path, to| symlink(to, path).unwrap()),
            "is a symlink, not a journal",
        ),
        (
            "a hard link",
            |path| moved(path, |path, to| fs::hard_link(to, path).unwrap()),
            "has 2 names (hard links), not a journal",
        ),
        (
            "a directory",
            |path| moved(path, |path, _| fs::create_dir(path).unwrap()),
            "is a directory, not a journal",
        ),
        (
            "a pipe",
            |path| {
                moved(path, |path, _| {
                    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()
                })
            },
            "is a pipe, not a journal",
        ),
        (
            "a socket",
            |path| {
                moved(path, |path, _| drop(std::os::unix::net::UnixListener::bind(path).unwrap()))
            },
            "is a socket, not a journal",
        ),
    ];
    for (case, damage, says) in cases {
        let node = half_renamed();
        damage(&node.at(JOURNAL));
        let outside = fs::read(node.at("outside")).ok();
        let (mut store, recovered) = node.open();
        assert!(
            recovered.notes[0].starts_with("/var/lib/kubecertd/journal: ")
                && recovered.notes[0].contains(says),
            "{case}: {recovered:?}"
        );
        assert_new_key_is_kept(&node, case);
        assert_change_succeeds(&node, &mut store, case);
        assert_eq!(
            fs::read(node.at("outside")).ok(),
            outside,
            "{case}: written to what is not ours"
        );
        drop(store);
        assert_eq!(node.open().1, Recovered::default(), "{case}: it is said once");
    }
}

#[test]
fn empty_journal_is_accepted_without_note() {
    let node = half_renamed();
    fs::write(node.at(JOURNAL), "").unwrap();
    let (mut store, recovered) = node.open();
    assert_eq!(recovered.notes, Vec::<String>::new());
    assert_change_succeeds(&node, &mut store, "empty");
}

pub(super) fn edit(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    fs::write(path, [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()).unwrap();
}

/// Moves the journal out of the state directory and puts another entry in its place.
fn moved(path: &Path, put: fn(&Path, &Path)) {
    let outside = path.ancestors().nth(4).unwrap().join("outside");
    fs::rename(path, &outside).unwrap();
    put(path, &outside);
}

/// Writes a journal with these entries and opens the store again.
fn journaled(node: &Node, entries: Vec<journal::Entry>) -> Recovered {
    let (mut store, _) = node.open();
    store.journal.write(entries).unwrap();
    drop(store);
    node.open().1
}

pub(super) fn entry(dir: &str, name: &str, staged: &str, old: &str, new: &str) -> journal::Entry {
    journal::Entry::Replace {
        credential: CredentialName::new("a").unwrap(),
        dir: dir.into(),
        name: name.into(),
        staged: staged.into(),
        old: Some(Digest::of(old.as_bytes())),
        new: Digest::of(new.as_bytes()),
    }
}

#[test]
fn journal_renames_only_staged_files_over_managed_files() {
    let cases = [
        ("/etc", "shadow", ".shadow.kubecertd-1", "/etc/shadow, which is not managed on this node"),
        (
            "/etc/pki",
            "other.crt",
            ".other.crt.kubecertd-1",
            "/etc/pki/other.crt, which is not managed on this node",
        ),
        ("/none", "a.crt", ".a.crt.kubecertd-1", "/none/a.crt, which is not managed on this node"),
        (
            "/etc/pki",
            "a.crt",
            "planted",
            "would replace /etc/pki/a.crt by \"planted\", which kubecertd never does",
        ),
        ("/etc/pki", "a.crt", ".a.crt.kubecertd-1/../planted", "which kubecertd never does"),
        ("/etc/pki", "../shadow", ".../shadow.kubecertd-1", "which kubecertd never does"),
        ("/etc/pki/..", "shadow", ".shadow.kubecertd-1", "which is not managed on this node"),
        ("/etc/pki", "..", "...kubecertd-1", "which kubecertd never does"),
        ("/etc/pki", "", "..kubecertd-1", "which kubecertd never does"),
    ];
    for (dir, name, staged, says) in cases {
        let node = Node::new();
        node.put("etc/shadow", "old", 0o600);
        node.put("etc/pki/other.crt", "old", 0o600);
        for planted in
            ["etc/.shadow.kubecertd-1", "etc/pki/.other.crt.kubecertd-1", "etc/pki/planted"]
        {
            node.put(planted, "new", 0o600);
        }
        let recovered = journaled(
            &node,
            vec![
                entry("/etc/pki", "a.crt", ".a.crt.kubecertd-2", "old crt", "x"),
                entry(dir, name, staged, "old", "new"),
            ],
        );
        assert!(
            recovered.finished.is_empty() && recovered.dropped.is_empty(),
            "{dir} {name}: {recovered:?}"
        );
        assert!(
            recovered.notes[0].contains(says) && recovered.notes[0].ends_with("; it is not used"),
            "{dir} {name}: {recovered:?}"
        );
        assert!(
            recovered.notes[1].ends_with("its content is kept as journal.refused"),
            "{recovered:?}"
        );
        for untouched in ["etc/shadow", "etc/pki/other.crt"] {
            assert_eq!(node.get(untouched), "old", "{dir} {name}");
        }
        for untouched in
            ["etc/.shadow.kubecertd-1", "etc/pki/.other.crt.kubecertd-1", "etc/pki/planted"]
        {
            assert_eq!(node.get(untouched), "new", "{dir} {name}");
        }
        assert_eq!(node.get("etc/pki/a.crt"), "old crt", "the whole credential is refused");
        let (mut store, recovered) = node.open();
        assert_eq!(recovered, Recovered::default(), "it is said once");
        assert_change_succeeds(&node, &mut store, name);
    }
}

#[test]
fn journal_with_symlinked_directory_is_followed() {
    let node = Node::new();
    symlink("/etc/pki", node.at("certificates")).unwrap();
    let (mut store, _) = node.open();
    node.put("etc/pki/.a.crt.kubecertd-1", "new crt", 0o644);
    store
        .journal
        .write(vec![entry("/certificates", "a.crt", ".a.crt.kubecertd-1", "old crt", "new crt")])
        .unwrap();
    drop(store);
    let (_store, recovered) = node.open();
    assert_eq!(recovered.finished.len(), 1, "{recovered:?}");
    assert_eq!(node.get("etc/pki/a.crt"), "new crt");
}

#[test]
fn staged_file_is_renamed_where_quarantine_fails() {
    let node = half_renamed();
    edit(&node.at(JOURNAL), "kubecertd-journal 1", "kubecertd-journal 2");
    node.put("var/lib/kubecertd/set-aside", "in the way", 0o600);
    node.open();
    let kept = node.dot_files();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].starts_with(".kept-by-kubecertd.a.key.kubecertd-"), "{kept:?}");
    node.open();
    assert_eq!(node.dot_files(), kept);
    assert_eq!(node.get(&format!("etc/pki/{}", kept[0])), "new key");
}

#[test]
fn symlinked_backup_directory_is_not_followed() {
    let node = Node::new();
    let (mut store, _) = node.open();
    fs::create_dir(node.at("outside")).unwrap();
    symlink("/outside", node.at("var/lib/kubecertd/backups")).unwrap();
    let done = commit(&mut store, pair());
    let said = done.outcomes[0].result.as_ref().unwrap_err().to_string();
    assert!(
        said.contains("/var/lib/kubecertd/backups: is a symlink, which is not followed here"),
        "{said}"
    );
    assert_eq!(fs::read_dir(node.at("outside")).unwrap().count(), 0);
    let urgent = commit(&mut store, Change { backup: Backup::Wanted, ..pair() });
    assert!(urgent.outcomes[0].result.is_ok(), "what has no time left is replaced: {urgent:?}");
    assert_eq!(fs::read_dir(node.at("outside")).unwrap().count(), 0);
}

#[test]
fn backups_are_readable_by_root_alone() {
    let node = Node::new();
    let (mut store, _) = node.open();
    fs::create_dir(node.at("var/lib/kubecertd/backups")).unwrap();
    fs::set_permissions(node.at("var/lib/kubecertd/backups"), fs::Permissions::from_mode(0o777))
        .unwrap();
    node.put("etc/pki/a.key", "old key", 0o644);
    assert!(commit(&mut store, pair()).outcomes[0].result.is_ok());
    let mode = |path| fs::metadata(node.at(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("var/lib/kubecertd/backups"), 0o700);
    assert_eq!(mode("var/lib/kubecertd/backups/20261121T000000Z/etc"), 0o700);
    assert_eq!(mode("var/lib/kubecertd/backups/20261121T000000Z/etc/pki/a.key"), 0o600);
}

#[test]
fn change_without_old_files_makes_no_backup() {
    let node = Node::new();
    fs::remove_file(node.at("etc/pki/a.crt")).unwrap();
    fs::remove_file(node.at("etc/pki/a.key")).unwrap();
    let mut change = pair();
    change.files.iter_mut().for_each(|file| file.old = None);
    let (mut store, _) = node.open();
    assert!(commit(&mut store, change).outcomes[0].result.is_ok());
    assert_eq!(store.backups().generations(), []);
}
