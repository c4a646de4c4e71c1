//! Links that exist when the program starts.

use std::os::unix::fs::{lchown, symlink};

use super::common::requirements::{ROOT, require};
use super::common::{Node, STATE};
use super::*;

/// A file that is replaced by a link, the exit code of `renew`, the number of renewed credentials,
/// and the reported text.
struct Case {
    file: &'static str,
    code: i32,
    renewed: usize,
    reported: &'static str,
}

const PLANTED_HOLD: &str =
    "{\"format\": 1, \"until\": \"2099-01-01T00:00:00Z\", \"reason\": \"planted\"}";
const NOT_FOLLOWED: &str = "is a symlink, which is not followed here";
const HARD_LINKED: &str = "has 2 names (hard links)";

fn check_each(cases: &[Case], link: impl Fn(&OutsideDir, &Node, &str)) {
    for Case { file, code, renewed, reported } in cases {
        let outside = OutsideDir::new(&[("planted", PLANTED_HOLD.as_bytes())]);
        let node = Node::due();
        fs::create_dir_all(node.path(file).parent().unwrap()).unwrap();
        link(&outside, &node, file);
        // A hard link has changed the link count.
        let outside = OutsideDir { before: Node::at(outside.dir.path()).snapshot(), ..outside };
        let run = node.run(&["renew"]);
        assert_eq!(run.code, *code, "{file}: {}", run.text);
        assert!(run.text.contains(reported), "{file}: {reported}: {}", run.text);
        assert_eq!(count_renewed(&node), *renewed, "{file}: {}", run.text);
        outside.assert_untouched(file);
        assert!(
            node.dot_files().iter().all(|path| path.ends_with(".state.json.new")),
            "{file}: {:?}",
            node.dot_files()
        );
    }
}

#[test]
fn symlink_in_place_of_state_file_is_not_followed() {
    let state =
        |name: &str| -> &'static str { Box::leak(format!("{STATE}/{name}").into_boxed_str()) };
    let cases = [
        Case {
            file: state("journal"),
            code: 0,
            renewed: 11,
            reported: "journal: is a symlink, not a journal; it is quarantined as journal.refused",
        },
        Case { file: state("state.json"), code: 0, renewed: 11, reported: NOT_FOLLOWED },
        Case { file: state("hold.json"), code: 0, renewed: 11, reported: NOT_FOLLOWED },
        Case { file: state(".state.json.new"), code: 0, renewed: 11, reported: NOT_FOLLOWED },
        Case { file: state("lock"), code: 1, renewed: 0, reported: NOT_FOLLOWED },
        Case { file: state("backups"), code: 1, renewed: 0, reported: NOT_FOLLOWED },
        Case { file: STATE, code: 1, renewed: 0, reported: "/var/lib/kubecertd: " },
    ];
    check_each(&cases, |outside, node, file| {
        // Enough levels to leave the root directory, if that were possible.
        let up =
            "../".repeat(20) + outside.path("planted").to_str().unwrap().trim_start_matches('/');
        symlink(up, node.path(file)).unwrap();
    });
    check_each(&cases, |_, node, file| {
        node.write("srv/planted", PLANTED_HOLD);
        if file.ends_with("backups") || file == STATE {
            fs::remove_file(node.path("srv/planted")).unwrap();
        }
        symlink("/srv/planted", node.path(file)).unwrap();
    });
}

#[test]
fn symlinked_state_file_is_neither_read_nor_written() {
    for (file, reason) in
        [("hold.json", "planted"), ("journal", "nothing"), ("state.json", "nothing")]
    {
        let node = Node::due();
        node.write("srv/planted", PLANTED_HOLD);
        fs::create_dir_all(node.path(STATE)).unwrap();
        symlink("/srv/planted", node.path(STATE).join(file)).unwrap();
        let run = node.run(&["renew"]);
        assert_eq!((run.code, count_renewed(&node)), (0, 11), "{file}: {}", run.text);
        assert_eq!(node.text("srv/planted"), PLANTED_HOLD, "{file}");
        assert!(!run.text.contains(&format!("({reason})")), "{file}: {}", run.text);
    }
}

#[test]
fn hard_linked_state_file_is_neither_read_nor_written() {
    let state =
        |name: &str| -> &'static str { Box::leak(format!("{STATE}/{name}").into_boxed_str()) };
    let cases = [
        Case {
            file: state("journal"),
            code: 0,
            renewed: 11,
            reported: "journal: has 2 names (hard links), not a journal",
        },
        Case { file: state("state.json"), code: 0, renewed: 11, reported: HARD_LINKED },
        Case { file: state("hold.json"), code: 0, renewed: 11, reported: HARD_LINKED },
        Case { file: state(".state.json.new"), code: 0, renewed: 11, reported: HARD_LINKED },
        // Nothing is ever written to the lock.
        Case { file: state("lock"), code: 0, renewed: 11, reported: "11 credentials renewed" },
    ];
    check_each(&cases, |outside, node, file| {
        fs::hard_link(outside.path("planted"), node.path(file)).unwrap()
    });
}

#[test]
fn symlinked_backups_renew_only_urgent_credentials() {
    let outside = OutsideDir::new(&[]);
    let node = Node::due();
    node.age("apiserver", 1);
    node.age("scheduler.conf", -1);
    fs::create_dir_all(node.path(STATE)).unwrap();
    fs::create_dir(node.path("srv")).unwrap();
    symlink("/srv", node.path(STATE).join("backups")).unwrap();
    let run = node.run(&["renew"]);
    assert_eq!((run.code, count_renewed(&node)), (4, 2), "{}", run.text);
    assert!(
        run.text.contains(
            "no backup could be made; urgent and expired credentials are renewed without one"
        ),
        "{}",
        run.text
    );
    assert_eq!(fs::read_dir(node.path("srv")).unwrap().count(), 0);
    for arguments in [&["restore", "--list"][..], &["restore", "apiserver"]] {
        let run = node.run(arguments);
        assert!(
            run.code == 1 && run.text.contains("backups: is a symlink, which is not followed here"),
            "{}",
            run.text
        );
    }
    outside.assert_untouched("backups");
}

/// A target may be a link of root to any place below the root directory. The other name of a hard
/// link keeps the old content.
#[test]
fn hard_link_of_target_keeps_old_content() {
    let node = Node::due();
    let outside = OutsideDir::new(&[]);
    let files = ["apiserver.crt", "apiserver.key"];
    for file in files {
        fs::hard_link(node.path("etc/kubernetes/pki").join(file), outside.path(file)).unwrap();
    }
    let before = files.map(|file| fs::read(outside.path(file)).unwrap());
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(count_renewed(&node), 11);
    assert_eq!(files.map(|file| fs::read(outside.path(file)).unwrap()), before);
}

#[test]
fn user_symlink_to_root_file_is_not_replaced() {
    require!(ROOT);
    let node = Node::due();
    // A file that would count as damaged and be repaired from a backup.
    assert_eq!(node.run(&["renew"]).code, 0);
    node.write("etc/passwd-of-the-host", "root:x:0:0");
    let key = node.path("etc/kubernetes/pki/apiserver.crt");
    fs::remove_file(&key).unwrap();
    symlink("/etc/passwd-of-the-host", &key).unwrap();
    lchown(&key, Some(1234), Some(1234)).unwrap();
    node.backdate_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(run.text.contains("is a symlink that others than root may have set"), "{}", run.text);
    let restore = node.run(&["restore", "apiserver"]);
    assert_eq!(restore.code, 1, "{}", restore.text);
    assert_eq!(node.text("etc/passwd-of-the-host"), "root:x:0:0");
}
