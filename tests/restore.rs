//! `kubecertd restore`: replaced files are restored whole, or refused with a clear message.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::process::Command;

use common::requirements::{ROOT, require};
use common::{ECDSA, Node, STATE, now};

const CERTIFICATE: &str = "etc/kubernetes/pki/apiserver.crt";
const KEY: &str = "etc/kubernetes/pki/apiserver.key";
const SCHEDULER: &str = "etc/kubernetes/scheduler.conf";

/// Makes a node on which everything was due and is renewed.
fn renewed_node() -> Node {
    let node = Node::due();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    node
}

/// Returns the names of the backups, newest first.
fn backup_names(node: &Node) -> Vec<String> {
    let found = fs::read_dir(node.path(STATE).join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn read_pair(node: &Node) -> [Vec<u8>; 2] {
    [node.read(CERTIFICATE), node.read(KEY)]
}

#[test]
fn restore_is_byte_exact_and_reversible() {
    let node = Node::due();
    let old = (read_pair(&node), node.read(SCHEDULER));
    assert_eq!(node.run(&["renew"]).code, 0);
    let new = (read_pair(&node), node.read(SCHEDULER));
    let run = node.run(&["restore", "apiserver", "scheduler.conf"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!((read_pair(&node), node.read(SCHEDULER)), old);
    assert!(
        run.text.contains("2 credentials restored; the replaced files are in the backup "),
        "{}",
        run.text
    );
    assert!(
        run.text.contains("kube-scheduler reads scheduler.conf only when it starts: restart it."),
        "{}",
        run.text
    );
    assert!(run.text.contains("within 15 days: the next pass renews it again."), "{}", run.text);
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
    // The replaced files are the newest backup now.
    let newest = &backup_names(&node)[0];
    let back = node.run(&["restore", "--from", newest]);
    assert_eq!(back.code, 0, "{}", back.text);
    assert!(back.text.contains("2 credentials restored"), "{}", back.text);
    assert_eq!((read_pair(&node), node.read(SCHEDULER)), new);
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn restore_keeps_current_mode_and_symlink() {
    let node = Node::due();
    let old = node.read(KEY);
    assert_eq!(node.run(&["renew"]).code, 0);
    fs::create_dir(node.path("srv")).unwrap();
    fs::rename(node.path(KEY), node.path("srv/real.key")).unwrap();
    symlink("/srv/real.key", node.path(KEY)).unwrap();
    fs::set_permissions(node.path("srv/real.key"), PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(node.run(&["restore", "apiserver"]).code, 0);
    assert!(node.path(KEY).is_symlink());
    assert_eq!(node.read("srv/real.key"), old);
    assert_eq!(fs::metadata(node.path("srv/real.key")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn restore_recreates_missing_files_with_safe_modes() {
    let node = renewed_node();
    fs::remove_dir_all(node.path("etc/kubernetes/pki/etcd")).unwrap();
    node.remove("etc/kubernetes/admin.conf");
    let status = Command::new("sh")
        .args(["-c", "umask 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_kubecertd"), "--root"])
        .arg(node.root())
        .args(["restore", "etcd/server", "admin.conf"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(0), "{text}");
    assert!(text.contains("/etc/kubernetes/admin.conf was missing; it is made again"), "{text}");
    let mode = |file: &str| fs::metadata(node.path(file)).unwrap().mode() & 0o7777;
    let modes = [
        "etc/kubernetes/pki/etcd/server.crt",
        "etc/kubernetes/pki/etcd/server.key",
        "etc/kubernetes/admin.conf",
    ]
    .map(mode);
    assert_eq!(modes, [0o644, 0o600, 0o600]);
    assert_eq!(mode("etc/kubernetes/pki/etcd"), 0o755);
    assert_eq!(
        node.usable_credentials().len(),
        9,
        "all but the two of etcd that were not asked for"
    );
}

#[test]
fn restore_without_valid_names_changes_nothing() {
    let node = renewed_node();
    let before = node.snapshot();
    let cases: [(&[&str], &str); 4] = [
        (&["restore"], "name what to restore: kubecertd restore --list lists the backups"),
        (&["restore", "--force"], "name what to restore"),
        (
            &["restore", "apisever"],
            "there is no credential \"apisever\"; the credentials are apiserver",
        ),
        (
            &["restore", "--from", "20200101T000000Z"],
            "there is no backup \"20200101T000000Z\"; see kubecertd restore --list",
        ),
    ];
    for (arguments, reported) in cases {
        let run = node.run(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.text);
        assert!(run.text.contains(reported), "{arguments:?}: {}", run.text);
    }
    assert_eq!(node.snapshot(), before);
    let fresh = Node::fresh(ECDSA);
    let run = fresh.run(&["restore", "apiserver"]);
    assert_eq!(run.code, 1);
    assert!(
        run.text.contains("no backup holds it") && run.text.contains("Nothing was replaced."),
        "{}",
        run.text
    );
}

#[test]
fn restore_list_shows_newest_backup_first() {
    let node = Node::due();
    let old = node.certificate("apiserver");
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
    let renewed = node.certificate("apiserver");
    assert_eq!(node.run(&["renew", "--force", "apiserver", "scheduler.conf"]).code, 0);
    let run = node.run(&["restore", "--list"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let lines: Vec<Vec<&str>> =
        run.text.lines().map(|line| line.split_whitespace().collect()).collect();
    let names = backup_names(&node);
    assert_eq!(lines[0], ["BACKUP", "CREDENTIAL", "SERIAL", "EXPIRES", "STATE"]);
    assert_eq!(
        lines[1][..3],
        [names[0].as_str(), "apiserver", renewed.serial.to_string().as_str()]
    );
    assert_eq!(lines[2][0], "scheduler.conf", "the backup is named once");
    assert_eq!(lines[3][..3], [names[1].as_str(), "apiserver", old.serial.to_string().as_str()]);
    assert!(lines[1..].iter().all(|line| line.last() == Some(&"whole")), "{}", run.text);
    assert_eq!(lines.len(), 4, "{}", run.text);
    let columns: Vec<_> = run
        .text
        .lines()
        .map(|line| {
            line.find("EXPIRES")
                .or_else(|| line.find("202").filter(|at| *at > 20))
                .unwrap_or_else(|| line.rfind("20").unwrap())
        })
        .collect();
    assert!(columns.len() == 4, "{columns:?}");
    let one = node.run(&["restore", "--list", "scheduler.conf"]);
    assert_eq!(one.text.lines().count(), 2, "{}", one.text);
    let from = node.run(&["restore", "--list", "--from", &names[1]]);
    assert_eq!(from.text.lines().count(), 2, "{}", from.text);
    let none = Node::fresh(ECDSA).run(&["restore", "--list"]);
    assert_eq!(
        (none.code, none.text.as_str()),
        (0, "There is no such backup in /var/lib/kubecertd.\n")
    );
}

/// The user who owns etcd's directory, for example.
#[test]
fn files_writable_by_others_are_backed_up_apart_and_restored() {
    require!(ROOT);
    let node = Node::due();
    node.write("etc/kubecertd/kubecertd.toml", "[backups]\nkeep = 1\n");
    let old = (read_pair(&node), node.read(SCHEDULER));
    std::os::unix::fs::chown(node.path(KEY), Some(1234), None).unwrap();
    assert_eq!(node.run(&["renew", "apiserver", "scheduler.conf"]).code, 0);
    let names = backup_names(&node);
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].ends_with("Z-0001-others") && names[1].ends_with('Z'), "{names:?}");
    let list = node.run(&["restore", "--list"]).text;
    let lines: Vec<Vec<&str>> =
        list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..2], [names[0].as_str(), "apiserver"], "{list}");
    assert_eq!(lines[2][..2], [names[1].as_str(), "scheduler.conf"], "{list}");
    let run = node.run(&["restore", "apiserver", "scheduler.conf"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(
        run.text.contains("2 credentials restored; the replaced files are in the backups "),
        "{}",
        run.text
    );
    assert_eq!((read_pair(&node), node.read(SCHEDULER)), old);
    assert_eq!(fs::metadata(node.path(KEY)).unwrap().uid(), 1234);
}

#[test]
fn restore_uses_newest_whole_backup() {
    let node = Node::due();
    let first = read_pair(&node);
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
    // A pair that does not fit is renewed too, but its backup is useless.
    fs::copy(node.path("etc/kubernetes/pki/front-proxy-client.key"), node.path(KEY)).unwrap();
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
    let run = node.run(&["restore", "--list", "apiserver"]);
    assert!(
        run.text.lines().nth(1).unwrap().ends_with("not whole")
            && run.text.contains("the key does not fit the certificate"),
        "{}",
        run.text
    );
    let newest = backup_names(&node)[0].clone();
    let refused = node.run(&["restore", "apiserver", "--from", &newest, "--force"]);
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(
        refused.text.contains(
            "does not hold it completely: /etc/kubernetes/pki/apiserver.key: the key does not fit"
        ),
        "{}",
        refused.text
    );
    assert_eq!(node.run(&["restore", "apiserver"]).code, 0);
    assert_eq!(read_pair(&node), first);
    let other = node.run(&["restore", "scheduler.conf", "--from", &newest]);
    assert!(
        other.code == 1 && other.text.contains(&format!("the backup {newest} does not hold it")),
        "{}",
        other.text
    );
}

#[test]
fn expired_or_foreign_backup_needs_force() {
    let node = Node::due();
    node.age("apiserver", -3);
    assert_eq!(node.run(&["renew"]).code, 0);
    let after = read_pair(&node);
    let run = node.run(&["restore", "apiserver", "scheduler.conf"]);
    assert_eq!(run.code, 4, "{}", run.text);
    assert!(
        run.text.contains(
            "expired 2 days ago and is not accepted any more; --force restores it anyway"
        ),
        "{}",
        run.text
    );
    assert_eq!(read_pair(&node), after);
    let forced = node.run(&["restore", "--force", "apiserver"]);
    assert_eq!(forced.code, 0, "{}", forced.text);
    assert!(
        forced.text.contains("apiserver expired 2 days ago: the next pass renews it again."),
        "{}",
        forced.text
    );
    assert!(node.certificate("apiserver").not_after < now());

    // The CA is replaced: the backups are of the old one.
    let node = renewed_node();
    for file in ["ca.crt", "ca.key"] {
        fs::copy(
            node.path("etc/kubernetes/pki/etcd").join(file),
            node.path("etc/kubernetes/pki").join(file),
        )
        .unwrap();
    }
    let run = node.run(&["restore", "apiserver"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text.contains(
            "was not signed by the present CA ca: programs that trust only this CA refuse it"
        ),
        "{}",
        run.text
    );
    assert!(node.run(&["restore", "--list", "apiserver"]).text.contains("foreign issuer"));
    assert_eq!(node.run(&["restore", "--force", "apiserver"]).code, 0);
}

#[test]
fn identical_files_are_not_replaced() {
    let node = renewed_node();
    assert_eq!(node.run(&["restore", "apiserver"]).code, 0);
    let from = backup_names(&node)[1].clone();
    let before = node.snapshot();
    let run = node.run(&["restore", "apiserver", "--from", &from]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(
        run.text.contains("the same") && run.text.contains("Nothing was replaced."),
        "{}",
        run.text
    );
    assert!(
        before
            .differences(&node.snapshot())
            .iter()
            .all(|one| !one.starts_with("etc/") || !one.contains("inode")),
        "nothing is replaced"
    );
    assert_eq!(backup_names(&node).len(), 2);
}

#[test]
fn starlingx_node_restores_nothing() {
    let node = renewed_node();
    node.write("etc/platform/platform.conf", "nodetype=controller\n");
    let run = node.run(&["restore", "apiserver"]);
    assert_eq!(run.code, 78, "{}", run.text);
}

/// As with a renewal, the next start completes or removes an interrupted transaction.
#[test]
fn restore_killed_at_any_rename_or_sync_keeps_pairs_whole() {
    require!("strace");
    for call in ["renameat", "fsync", "fdatasync"] {
        let mut points = 0;
        for number in 1.. {
            let node = renewed_node();
            let status = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args([
                    "-e",
                    &format!("inject={call}:signal=KILL:when={number}"),
                    env!("CARGO_BIN_EXE_kubecertd"),
                    "--root",
                ])
                .arg(node.root())
                .args(["restore", "apiserver", "scheduler.conf"])
                .output()
                .unwrap()
                .status;
            if status.code() == Some(0) {
                break;
            }
            points += 1;
            assert_eq!(node.run(&["renew"]).code, 0, "{call} {number}");
            assert_eq!(node.usable_credentials().len(), 11, "{call} {number}");
            assert!(node.dot_files().is_empty(), "{call} {number}: {:?}", node.dot_files());
        }
        println!("{call}: {points} points");
        assert!(points > 0, "{call}");
    }
}

#[test]
fn backups_are_pruned_and_private_to_root() {
    let node = Node::due();
    node.write("etc/kubecertd/kubecertd.toml", "[backups]\nkeep = 3\n");
    for (round, umask) in ["000", "022", "077", "027", "000"].into_iter().enumerate() {
        fs::set_permissions(node.path(KEY), PermissionsExt::from_mode(0o644)).unwrap();
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("umask {umask}; exec \"$@\""),
                "sh",
                env!("CARGO_BIN_EXE_kubecertd"),
                "--root",
            ])
            .arg(node.root())
            .args(["renew", "--force", "apiserver", "admin.conf"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(backup_names(&node).len(), (round + 1).min(3));
        let mut copies = 0;
        common::walk(&node.path(STATE), &mut |path| {
            let stat = fs::symlink_metadata(path).unwrap();
            let expected = if stat.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(stat.mode() & 0o7777, expected, "umask {umask}: {}", path.display());
            copies += usize::from(stat.is_file());
        });
        assert!(copies >= 3);
    }
    // The oldest content is pruned.
    assert!(!node.backups().contains(&Node::files_due()[KEY]));
}

#[test]
fn state_directory_read_by_component_is_refused() {
    for (state, reported) in [
        ("/etc/kubernetes/manifests/backups", "kubelet runs every file there"),
        ("/etc/kubernetes/pki/kubecertd", "which holds the certificate of ca and which pods mount"),
        ("/etc/kubernetes/pki/etcd/x", "which pods mount"),
    ] {
        let node = Node::due();
        node.write("etc/kubecertd/kubecertd.toml", format!("[paths]\nstate = \"{state}\"\n"));
        let before = node.snapshot();
        for command in ["renew", "check", "config"] {
            let arguments: &[&str] =
                if command == "config" { &["config", "check"] } else { &[command] };
            let run = node.run(arguments);
            assert_eq!(run.code, 78, "{}", run.text);
            assert!(
                run.text.contains(reported) && run.text.contains("/etc/kubecertd/kubecertd.toml:2"),
                "{}",
                run.text
            );
        }
        assert_eq!(node.snapshot(), before);
    }
}

/// Masks what differs between runs: times, serial numbers and the names of backups, including the
/// number that distinguishes two of one second.
fn mask_varying(text: &str) -> String {
    let mask = |word: &str| match word {
        word if word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            "SERIAL".to_owned()
        }
        word => word
            .split(|c: char| c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("0")
            .replace("Z-0", "Z"),
    };
    text.lines()
        .map(|line| line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

#[test]
fn docs_show_current_restore_output() {
    let node = Node::due();
    assert_eq!(node.run(&["renew", "apiserver", "scheduler.conf"]).code, 0);
    let list = node.run(&["restore", "--list"]).text;
    let restored = node.run(&["restore", "scheduler.conf"]).text.replace(
        "restart it.",
        "the next scheduled pass refreshes it, kubecertd renew does so at \
            once.",
    );
    let page = mask_varying(include_str!("../docs/cli.md"));
    for (command, output) in
        [("# kubecertd restore --list", &list), ("# kubecertd restore scheduler.conf", &restored)]
    {
        let expected = format!("{command}\n{}", mask_varying(output));
        assert!(page.contains(&expected), "not in docs/cli.md:\n{command}\n{output}");
    }
}
