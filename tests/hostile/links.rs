//! Links that are there when it starts.

use std::os::unix::fs::{lchown, symlink};

use super::common::{Node, STATE};
use super::*;

/// Something of ours, how it is replaced, how `renew` ends, how many it renews, and what is said.
struct Case {
    file: &'static str,
    code: i32,
    renewed: usize,
    says: &'static str,
}

const HOLD: &str = "{\"format\": 1, \"until\": \"2099-01-01T00:00:00Z\", \"reason\": \"planted\"}";
const NOT_FOLLOWED: &str = "is a symlink, which is not followed here";
const NAMES: &str = "has 2 names (hard links)";

fn each(cases: &[Case], link: impl Fn(&Outside, &Node, &str)) {
    for Case { file, code, renewed, says } in cases {
        let outside = Outside::new(&[("planted", HOLD.as_bytes())]);
        let node = Node::due();
        fs::create_dir_all(node.path(file).parent().unwrap()).unwrap();
        link(&outside, &node, file);
        // A hard link has changed the number of its names.
        let outside = Outside { before: Node::at(outside.folder.path()).snapshot(), ..outside };
        let run = node.run(&["renew"]);
        assert_eq!(run.code, *code, "{file}: {}", run.text);
        assert!(run.text.contains(says), "{file}: {says}: {}", run.text);
        assert_eq!(super::renewed(&node), *renewed, "{file}: {}", run.text);
        outside.untouched(file);
        assert!(
            node.dot_files().iter().all(|path| path.ends_with(".state.json.new")),
            "{file}: {:?}",
            node.dot_files()
        );
    }
}

#[test]
fn a_symlink_in_the_place_of_a_file_of_ours_is_not_followed() {
    let state =
        |name: &str| -> &'static str { Box::leak(format!("{STATE}/{name}").into_boxed_str()) };
    let cases = [
        Case {
            file: state("journal"),
            code: 0,
            renewed: 11,
            says: "journal: is a symlink, not a journal; it is set aside as journal.refused",
        },
        Case { file: state("state.json"), code: 0, renewed: 11, says: NOT_FOLLOWED },
        Case { file: state("hold.json"), code: 0, renewed: 11, says: NOT_FOLLOWED },
        Case { file: state(".state.json.new"), code: 0, renewed: 11, says: NOT_FOLLOWED },
        Case { file: state("lock"), code: 1, renewed: 0, says: NOT_FOLLOWED },
        Case { file: state("backups"), code: 1, renewed: 0, says: NOT_FOLLOWED },
        Case { file: STATE, code: 1, renewed: 0, says: "/var/lib/kubecertd: " },
    ];
    each(&cases, |outside, node, file| {
        // Far enough up to lead out of the root folder, if it could.
        let up =
            "../".repeat(20) + outside.path("planted").to_str().unwrap().trim_start_matches('/');
        symlink(up, node.path(file)).unwrap();
    });
    each(&cases, |_, node, file| {
        node.write("srv/planted", HOLD);
        if file.ends_with("backups") || file == STATE {
            fs::remove_file(node.path("srv/planted")).unwrap();
        }
        symlink("/srv/planted", node.path(file)).unwrap();
    });
}

#[test]
fn a_symlink_inside_the_root_folder_is_neither_read_nor_written_through() {
    for (file, believed) in
        [("hold.json", "planted"), ("journal", "nothing"), ("state.json", "nothing")]
    {
        let node = Node::due();
        node.write("srv/planted", HOLD);
        fs::create_dir_all(node.path(STATE)).unwrap();
        symlink("/srv/planted", node.path(STATE).join(file)).unwrap();
        let run = node.run(&["renew"]);
        assert_eq!((run.code, renewed(&node)), (0, 11), "{file}: {}", run.text);
        assert_eq!(node.text("srv/planted"), HOLD, "{file}");
        assert!(!run.text.contains(&format!("({believed})")), "{file}: {}", run.text);
    }
}

#[test]
fn a_hard_link_in_the_place_of_a_file_of_ours_is_neither_believed_nor_written_to() {
    let state =
        |name: &str| -> &'static str { Box::leak(format!("{STATE}/{name}").into_boxed_str()) };
    let cases = [
        Case {
            file: state("journal"),
            code: 0,
            renewed: 11,
            says: "journal: has 2 names (hard links), not a journal",
        },
        Case { file: state("state.json"), code: 0, renewed: 11, says: NAMES },
        Case { file: state("hold.json"), code: 0, renewed: 11, says: NAMES },
        Case { file: state(".state.json.new"), code: 0, renewed: 11, says: NAMES },
        // Nothing is ever written to it.
        Case { file: state("lock"), code: 0, renewed: 11, says: "11 credentials renewed" },
    ];
    each(&cases, |outside, node, file| {
        fs::hard_link(outside.path("planted"), node.path(file)).unwrap()
    });
}

#[test]
fn with_the_backups_led_elsewhere_what_is_urgent_is_renewed_without() {
    let outside = Outside::new(&[]);
    let node = Node::due();
    node.age("apiserver", 1);
    node.age("scheduler.conf", -1);
    fs::create_dir_all(node.path(STATE)).unwrap();
    fs::create_dir(node.path("srv")).unwrap();
    symlink("/srv", node.path(STATE).join("backups")).unwrap();
    let run = node.run(&["renew"]);
    assert_eq!((run.code, renewed(&node)), (4, 2), "{}", run.text);
    assert!(
        run.text.contains(
            "no backup could be made; what has little or no time left is renewed without one"
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
    outside.untouched("backups");
}

/// The targets themselves may be links: of root's, to wherever he likes below the root folder. A
/// hard link's other name keeps the old content.
#[test]
fn a_hard_link_of_a_target_keeps_what_it_holds_under_its_other_name() {
    let node = Node::due();
    let outside = Outside::new(&[]);
    let files = ["apiserver.crt", "apiserver.key"];
    for file in files {
        fs::hard_link(node.path("etc/kubernetes/pki").join(file), outside.path(file)).unwrap();
    }
    let before = files.map(|file| fs::read(outside.path(file)).unwrap());
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(renewed(&node), 11);
    assert_eq!(files.map(|file| fs::read(outside.path(file)).unwrap()), before);
}

#[test]
fn somebody_who_owns_a_folder_of_certificates_can_not_have_other_files_replaced() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: files of others can only be made by root");
        return;
    }
    let node = Node::due();
    // A file that would be damaged, and repaired from a backup.
    assert_eq!(node.run(&["renew"]).code, 0);
    node.write("etc/passwd-of-the-host", "root:x:0:0");
    let key = node.path("etc/kubernetes/pki/apiserver.crt");
    fs::remove_file(&key).unwrap();
    symlink("/etc/passwd-of-the-host", &key).unwrap();
    lchown(&key, Some(1234), Some(1234)).unwrap();
    node.rest();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text
            .contains("is a symlink that belongs to user 1234 and leads to a file that does not"),
        "{}",
        run.text
    );
    let restore = node.run(&["restore", "apiserver"]);
    assert_eq!(restore.code, 1, "{}", restore.text);
    assert_eq!(node.text("etc/passwd-of-the-host"), "root:x:0:0");
}
