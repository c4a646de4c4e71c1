//! Files that users other than root can write are not used, and an alarm is raised: the
//! configuration, the state, and the backups.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use super::common::requirements::{ROOT, require};
use super::common::{Node, STATE};
use super::harness::*;

/// The user id of an unprivileged user.
const OTHER_USER: u32 = 1234;

/// A way to make a file or directory writable by users other than root.
#[derive(Clone, Copy, Debug)]
enum OpenBy {
    /// It belongs to another user.
    Owner,
    /// All users may write to it.
    Mode,
}

impl OpenBy {
    fn apply(self, node: &Node, path: &str) {
        let place = node.path(path);
        match self {
            Self::Owner => chown(place, Some(OTHER_USER), None).unwrap(),
            Self::Mode => {
                let mode = fs::metadata(&place).unwrap().permissions().mode() | 0o022;
                fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    fn revert(self, node: &Node, path: &str) {
        let place = node.path(path);
        match self {
            Self::Owner => chown(place, Some(0), None).unwrap(),
            Self::Mode => {
                let mode = fs::metadata(&place).unwrap().permissions().mode() & !0o022;
                fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    /// The error text about this path.
    fn error(self, path: &str) -> String {
        match self {
            Self::Owner => format!(
                "/{path}: belongs to user {OTHER_USER}, so others than root may have changed \
                 it: it is not used"
            ),
            Self::Mode => format!("/{path}: has mode 0"),
        }
    }

    fn remedy(self, path: &str) -> String {
        match self {
            Self::Owner => format!("chown root:root /{path}"),
            Self::Mode => format!("chmod go-w /{path}"),
        }
    }
}

/// Returns the reasons of the active alarms with this id.
fn alarms(node: &Node, id: &str) -> Vec<String> {
    let listed: serde_json::Value =
        serde_json::from_str(&node.run(&["alarms", "-o", "json"]).text).unwrap();
    let alarms = listed["alarms"].as_array().unwrap().iter();
    alarms
        .filter(|alarm| alarm["id"] == id)
        .map(|alarm| alarm["reason"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns a node on which everything is due, with each kind of configuration file.
fn configured() -> Node {
    let node = with_history(Node::due(), NEVER);
    node.write("etc/kubecertd/kubecertd.d/10-own.toml", "profile = \"own\"\n");
    node.write(
        "etc/kubecertd/profiles/own.toml",
        include_str!("../../config/profiles/kubeadm.toml"),
    );
    node
}

const CONFIGURATION: [&str; 7] = [
    "etc",
    "etc/kubecertd",
    CONFIG,
    "etc/kubecertd/kubecertd.d",
    "etc/kubecertd/kubecertd.d/10-own.toml",
    "etc/kubecertd/profiles",
    "etc/kubecertd/profiles/own.toml",
];

#[test]
fn configuration_writable_by_others_is_refused() {
    require!(ROOT);
    assert_eq!(configured().run(&["renew", "--dry-run"]).code, 0);
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        for path in CONFIGURATION {
            let node = configured();
            open_by.apply(&node, path);
            let before = node.snapshot();
            for command in [["check"].as_slice(), &["renew"], &["config", "check"]] {
                let run = node.run(command);
                assert_eq!(run.code, 78, "{open_by:?} {path} {command:?}: {}", run.text);
                assert!(
                    run.text.contains(&open_by.error(path))
                        && run.text.contains(&open_by.remedy(path)),
                    "{path}: {}",
                    run.text
                );
            }
            assert_eq!(before.differences(&node.snapshot()), Vec::<String>::new());
            open_by.revert(&node, path);
            assert_eq!(node.run(&["config", "check"]).code, 0);
        }
    }
}

#[test]
fn daemon_uses_last_good_for_writable_configuration() {
    let node = configured();
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    daemon.stop();
    node.write(CONFIG, "[renewal]\nrenew_before = \"1d\"\nurgent_before = \"1h\"\n");
    OpenBy::Mode.apply(&node, CONFIG);
    let daemon = Daemon::start(&node);
    assert_eq!(
        daemon.request_pass().renewed.len(),
        11,
        "everything is due by the last good configuration"
    );
    let reasons = alarms(&node, "configuration-refused");
    assert!(reasons.len() == 1 && reasons[0].contains(&OpenBy::Mode.remedy(CONFIG)), "{reasons:?}");
    OpenBy::Mode.revert(&node, CONFIG);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    wait_for("the alarm is cleared", || {
        alarms(&node, "configuration-refused").is_empty().then_some(())
    });
}

#[test]
fn docs_show_error_for_writable_configuration() {
    let node = configured();
    fs::set_permissions(node.path(CONFIG), Permissions::from_mode(0o664)).unwrap();
    let output = node.run(&["check"]).text;
    assert!(include_str!("../../docs/files.md").contains(output.trim()), "{output}");
}

#[test]
fn last_good_configuration_writable_by_others_is_refused() {
    require!(ROOT);
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        let node = configured();
        Daemon::start(&node).wait_until_idle();
        node.write(CONFIG, "damaged");
        let path = format!("{STATE}/last-good-configuration.json");
        open_by.apply(&node, &path);
        let mut daemon = Daemon::start(&node);
        assert_eq!(daemon.wait_for_exit().code(), Some(78));
        assert!(daemon.log().contains(&open_by.error(&path)), "{}", daemon.log());
    }
}

/// A hold without end, a recorded time a hundred years ahead, and a memory of services without any
/// restart.
#[test]
fn state_writable_by_others_is_ignored() {
    require!(ROOT);
    let far = "2126-01-01T00:00:00Z";
    let forged = [
        ("hold.json", format!("{{\"format\":1,\"until\":\"{far}\",\"reason\":\"never\"}}")),
        (
            "state.json",
            format!("{{\"format\":1,\"last_seen\":\"{far}\",\"observing_until\":\"{far}\"}}"),
        ),
        ("services.json", "{\"format\":1}".to_owned()),
    ];
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        for (file, text) in &forged {
            let path = format!("{STATE}/{file}");
            let node = with_history(Node::due(), NEVER);
            node.write(&path, text);
            open_by.apply(&node, &path);
            let daemon = Daemon::start(&node);
            daemon.wait_until_idle();
            let pass = daemon.request_pass();
            // A daemon without state is new on the node and only observes.
            assert!(
                *file == "state.json" || names(&pass.renewed) == all_credentials(&node),
                "{open_by:?} {file}: {pass:?}"
            );
            let log = daemon.log();
            assert!(
                log.contains(&open_by.error(&path)) && log.contains("alarm not-trusted"),
                "{open_by:?} {file}: {log}"
            );
            assert!(log.contains(&open_by.remedy(&path)), "{log}");
            if *file != "state.json" {
                assert!(
                    alarms(&node, "not-trusted")[0].contains(&open_by.error(&path)),
                    "the file is still there"
                );
                fs::remove_file(node.path(&path)).unwrap();
                daemon.request_pass();
            }
            assert_eq!(alarms(&node, "not-trusted"), [""; 0], "{file}: the file is a new one");
        }
    }
}

#[test]
fn state_directory_writable_by_others_raises_alarm() {
    require!(ROOT);
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        for path in [STATE, "var/lib"] {
            let node = with_history(Node::due(), NEVER);
            open_by.apply(&node, path);
            let daemon = Daemon::start(&node);
            let pass = daemon.request_pass();
            let trouble = pass.trouble.unwrap();
            assert!(
                trouble.contains(&open_by.error(path)) && trouble.contains(&open_by.remedy(path)),
                "{trouble}"
            );
            assert!(daemon.log().contains("alarm pass-failed"), "{}", daemon.log());
            open_by.revert(&node, path);
            assert_eq!(daemon.request_pass().trouble, None, "{open_by:?} {path}");
            assert_eq!(node.run(&["renew"]).code, 0);
        }
    }
}

#[test]
fn backup_writable_by_others_is_not_restored() {
    require!(ROOT);
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, 0);
    let generation = fs::read_dir(node.path(STATE).join("backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    let generation = format!("{STATE}/backups/{}", generation.to_str().unwrap());
    let places = [
        format!("{STATE}/backups"),
        generation.clone(),
        format!("{generation}/etc/kubernetes/pki"),
        format!("{generation}/etc/kubernetes/pki/apiserver.key"),
    ];
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        for path in &places {
            open_by.apply(&node, path);
            let before = node.read("etc/kubernetes/pki/apiserver.key");
            let run = node.run(&["restore", "apiserver"]);
            assert!(
                run.code != 0 && run.text.contains(&open_by.remedy(path)),
                "{open_by:?} {path}: {} {}",
                run.code,
                run.text
            );
            assert!(node.read("etc/kubernetes/pki/apiserver.key") == before, "{path}");
            let daemon = Daemon::start(&node);
            daemon.request_pass();
            assert!(alarms(&node, "not-trusted")[0].contains(&open_by.error(path)), "{path}");
            open_by.revert(&node, path);
            daemon.request_pass();
            assert_eq!(alarms(&node, "not-trusted"), [""; 0]);
        }
    }
    assert_eq!(node.run(&["restore", "apiserver"]).code, 0);
}

#[test]
fn journal_writable_by_others_is_not_replayed() {
    require!(ROOT);
    for open_by in [OpenBy::Owner, OpenBy::Mode] {
        let node = Node::due();
        assert_eq!(node.run(&["renew"]).code, 0);
        open_by.apply(&node, &format!("{STATE}/journal"));
        let run = node.run(&["renew", "--force", "apiserver"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            run.text.contains(
                "journal: can have been written by others than root; it is quarantined \
                as journal.refused"
            ),
            "{}",
            run.text
        );
    }
}
