//! What others than root can have written is not used, and somebody is told: the configuration,
//! what is remembered, and the backups.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use super::common::{Node, STATE};
use super::harness::*;

/// Some user.
const SOMEBODY: u32 = 1234;

/// How a file or folder is given away.
#[derive(Clone, Copy, Debug)]
enum Given {
    /// It belongs to somebody.
    Owner,
    /// All may write to it.
    Mode,
}

impl Given {
    fn away(self, node: &Node, path: &str) {
        let place = node.path(path);
        match self {
            Self::Owner => chown(place, Some(SOMEBODY), None).unwrap(),
            Self::Mode => {
                let mode = fs::metadata(&place).unwrap().permissions().mode() | 0o022;
                fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    fn back(self, node: &Node, path: &str) {
        let place = node.path(path);
        match self {
            Self::Owner => chown(place, Some(0), None).unwrap(),
            Self::Mode => {
                let mode = fs::metadata(&place).unwrap().permissions().mode() & !0o022;
                fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    /// What is said of it.
    fn words(self, path: &str) -> String {
        match self {
            Self::Owner => format!(
                "/{path}: belongs to user {SOMEBODY}, so that others than root can have changed \
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

/// Reasons and repairs of the alarms of this kind that are in force.
fn alarms(node: &Node, id: &str) -> Vec<String> {
    let listed: serde_json::Value =
        serde_json::from_str(&node.run(&["alarms", "-o", "json"]).text).unwrap();
    let alarms = listed["alarms"].as_array().unwrap().iter();
    alarms
        .filter(|alarm| alarm["id"] == id)
        .map(|alarm| alarm["reason"].as_str().unwrap().to_owned())
        .collect()
}

/// A node on which everything is due, with a configuration of every kind.
fn configured() -> Node {
    let node = known(Node::due(), NEVER);
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
fn a_configuration_that_others_can_write_is_refused_and_nothing_is_done() {
    assert_eq!(configured().run(&["renew", "--dry-run"]).code, 0);
    for given in [Given::Owner, Given::Mode] {
        for path in CONFIGURATION {
            let node = configured();
            given.away(&node, path);
            let before = node.snapshot();
            for command in [["check"].as_slice(), &["renew"], &["config", "check"]] {
                let run = node.run(command);
                assert_eq!(run.code, 78, "{given:?} {path} {command:?}: {}", run.text);
                assert!(
                    run.text.contains(&given.words(path)) && run.text.contains(&given.remedy(path)),
                    "{path}: {}",
                    run.text
                );
            }
            assert_eq!(before.differences(&node.snapshot()), Vec::<String>::new());
            given.back(&node, path);
            assert_eq!(node.run(&["config", "check"]).code, 0);
        }
    }
}

#[test]
fn at_the_start_of_the_daemon_the_last_good_one_takes_its_place_and_that_is_an_alarm() {
    let node = configured();
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    daemon.stop();
    node.write(CONFIG, "[renewal]\nrenew_before = \"1d\"\nurgent_before = \"1h\"\n");
    Given::Mode.away(&node, CONFIG);
    let daemon = Daemon::start(&node);
    assert_eq!(daemon.pass().renewed.len(), 11, "by the last good one all of it is due");
    let reasons = alarms(&node, "configuration-refused");
    assert!(reasons.len() == 1 && reasons[0].contains(&Given::Mode.remedy(CONFIG)), "{reasons:?}");
    Given::Mode.back(&node, CONFIG);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    until("the alarm is over", || alarms(&node, "configuration-refused").is_empty().then_some(()));
}

#[test]
fn the_readme_shows_what_is_said_of_it() {
    let node = configured();
    fs::set_permissions(node.path(CONFIG), Permissions::from_mode(0o664)).unwrap();
    let said = node.run(&["check"]).text;
    assert!(include_str!("../../README.md").contains(said.trim()), "{said}");
}

#[test]
fn a_last_good_one_that_others_can_write_takes_no_ones_place() {
    for given in [Given::Owner, Given::Mode] {
        let node = configured();
        Daemon::start(&node).settled();
        node.write(CONFIG, "damaged");
        let path = format!("{STATE}/last-good-configuration.json");
        given.away(&node, &path);
        let mut daemon = Daemon::start(&node);
        assert_eq!(daemon.ended().code(), Some(78));
        assert!(daemon.log().contains(&given.words(&path)), "{}", daemon.log());
    }
}

/// An operator's hold for ever, a clock that was seen a hundred years from now, and services that
/// took everything.
#[test]
fn what_is_remembered_is_not_believed_and_what_is_due_is_renewed() {
    let far = "2126-01-01T00:00:00Z";
    let forged = [
        ("hold.json", format!("{{\"format\":1,\"until\":\"{far}\",\"reason\":\"never\"}}")),
        (
            "state.json",
            format!("{{\"format\":1,\"last_seen\":\"{far}\",\"observing_until\":\"{far}\"}}"),
        ),
        ("services.json", "{\"format\":1}".to_owned()),
    ];
    for given in [Given::Owner, Given::Mode] {
        for (file, text) in &forged {
            let path = format!("{STATE}/{file}");
            let node = known(Node::due(), NEVER);
            node.write(&path, text);
            given.away(&node, &path);
            let daemon = Daemon::start(&node);
            daemon.settled();
            let pass = daemon.pass();
            // A daemon that takes itself for new looks only.
            assert!(
                *file == "state.json" || names(&pass.renewed) == all(&node),
                "{given:?} {file}: {pass:?}"
            );
            let log = daemon.log();
            assert!(
                log.contains(&given.words(&path)) && log.contains("alarm not-trusted"),
                "{given:?} {file}: {log}"
            );
            assert!(log.contains(&given.remedy(&path)), "{log}");
            if *file != "state.json" {
                assert!(
                    alarms(&node, "not-trusted")[0].contains(&given.words(&path)),
                    "it is there still"
                );
                fs::remove_file(node.path(&path)).unwrap();
                daemon.pass();
            }
            assert_eq!(alarms(&node, "not-trusted"), [""; 0], "{file}: there is a new one");
        }
    }
}

#[test]
fn without_a_state_folder_of_its_own_there_is_no_pass_and_that_is_an_alarm() {
    for given in [Given::Owner, Given::Mode] {
        for path in [STATE, "var/lib"] {
            let node = known(Node::due(), NEVER);
            given.away(&node, path);
            let daemon = Daemon::start(&node);
            let pass = daemon.pass();
            let trouble = pass.trouble.unwrap();
            assert!(
                trouble.contains(&given.words(path)) && trouble.contains(&given.remedy(path)),
                "{trouble}"
            );
            assert!(daemon.log().contains("alarm pass-failed"), "{}", daemon.log());
            given.back(&node, path);
            assert_eq!(daemon.pass().trouble, None, "{given:?} {path}");
            assert_eq!(node.run(&["renew"]).code, 0);
        }
    }
}

#[test]
fn a_backup_that_others_can_write_is_not_restored_from() {
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
    for given in [Given::Owner, Given::Mode] {
        for path in &places {
            given.away(&node, path);
            let before = node.read("etc/kubernetes/pki/apiserver.key");
            let run = node.run(&["restore", "apiserver"]);
            assert!(
                run.code != 0 && run.text.contains(&given.remedy(path)),
                "{given:?} {path}: {} {}",
                run.code,
                run.text
            );
            assert!(node.read("etc/kubernetes/pki/apiserver.key") == before, "{path}");
            let daemon = Daemon::start(&node);
            daemon.pass();
            assert!(alarms(&node, "not-trusted")[0].contains(&given.words(path)), "{path}");
            given.back(&node, path);
            daemon.pass();
            assert_eq!(alarms(&node, "not-trusted"), [""; 0]);
        }
    }
    assert_eq!(node.run(&["restore", "apiserver"]).code, 0);
}

#[test]
fn a_journal_that_others_can_write_is_not_followed() {
    for given in [Given::Owner, Given::Mode] {
        let node = Node::due();
        assert_eq!(node.run(&["renew"]).code, 0);
        given.away(&node, &format!("{STATE}/journal"));
        let run = node.run(&["renew", "--force", "apiserver"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            run.text.contains(
                "journal: can have been written by others than root; it is set aside \
                as journal.refused"
            ),
            "{}",
            run.text
        );
    }
}
