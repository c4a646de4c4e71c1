//! Alarms: raised and cleared by the state of the node at the end of a pass, and delivered once.

use std::os::unix::fs::PermissionsExt;

use kubecertd::model::AlarmKind;
use serde_json::Value;

use super::common::{ECDSA, Node, RSA, STATE};
use super::harness::*;

/// Sets the node's host name, so that alarms do not depend on the name of this machine.
fn with_hostname(node: Node) -> Node {
    node.write("etc/hostname", "cp1\n");
    node
}

/// Returns id and entity of each alarm that `kubecertd alarms` lists.
fn active_alarms(node: &Node) -> Vec<String> {
    let run = node.run(&["alarms", "-o", "json"]);
    let listed: Value = serde_json::from_str(&run.text).unwrap();
    let alarms = listed["alarms"].as_array().unwrap();
    assert_eq!(run.code, if alarms.is_empty() { 0 } else { 3 });
    alarms
        .iter()
        .map(|alarm| {
            format!("{} {}", alarm["id"].as_str().unwrap(), alarm["entity"].as_str().unwrap())
        })
        .collect()
}

/// Returns the lines of the log about alarms.
fn alarm_lines(daemon: &Daemon<'_>) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains(" alarm ")).map(str::to_owned).collect()
}

#[test]
fn healthy_renewal_raises_no_alarm() {
    for tree in [RSA, ECDSA] {
        let node = with_history(with_hostname(Node::fresh(tree)), NEVER);
        node.age_all(10);
        let daemon = Daemon::start(&node);
        assert_eq!(names(&daemon.request_pass().renewed), all_credentials(&node));
        assert_eq!(alarm_lines(&daemon), [""; 0], "{tree}");
        assert_eq!(active_alarms(&node), [""; 0]);
        assert_eq!(node.run(&["alarms"]).text, "No alarms.\n");
        assert!(!node.path(STATE).join("alarms.json").exists(), "there was nothing to remember");
    }
}

#[test]
fn held_renewal_raises_alarm_only_near_urgency() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    assert_eq!(node.run(&["hold", "--until", "2100-01-01", "--reason", "upgrade"]).code, 0);
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), [""; 0]);
    node.age_seconds("apiserver", 3 * 86_400 + 3_600);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), ["held-too-long host=cp1"]);
    assert_eq!(node.run(&["hold", "--end"]).code, 0);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), [""; 0]);
}

#[test]
fn failure_alarm_is_raised_once_survives_restart_and_clears() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let whole = node.read("etc/kubernetes/super-admin.conf");
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), ["renewal-failed host=cp1"]);
    daemon.request_pass();
    assert_eq!(alarm_lines(&daemon).len(), 1, "{}", daemon.log());
    let line = &alarm_lines(&daemon)[0];
    assert!(
        line.contains(
            "ERROR alarm renewal-failed (host=cp1), major, raised: Kubernetes \
            certificates renewal failed. super-admin.conf: "
        ),
        "{line}"
    );
    assert!(line.contains("What to do: "), "{line}");
    let shown = node.run(&["alarms"]);
    for expected in [
        "MAJOR renewal-failed (250.003) on host=cp1, since ",
        "\n  Why:    super-admin.conf: ",
        "\n  To do:  ",
        "1 alarm in force.",
    ] {
        assert!(shown.text.contains(expected), "{expected:?} is not in:\n{}", shown.text);
    }
    let since = node.run(&["alarms", "-o", "json"]).text;
    daemon.stop();

    let daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(alarm_lines(&daemon), [""; 0], "the alarm is known already");
    assert_eq!(node.run(&["alarms", "-o", "json"]).text, since);
    node.write("etc/kubernetes/super-admin.conf", whole);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), [""; 0]);
    assert!(
        alarm_lines(&daemon)[0].contains("INFO alarm renewal-failed (host=cp1) is cleared"),
        "{:?}",
        alarm_lines(&daemon)
    );
}

/// An impossible pass and a due credential in it are separate alarms.
#[test]
fn impossible_pass_raises_alarm() {
    let node = with_history(with_hostname(Node::fresh(ECDSA)), NEVER);
    let lock = node.path(STATE).join("lock");
    std::fs::create_dir(&lock).unwrap();
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(active_alarms(&node), ["pass-failed host=cp1"], "nothing was due");
    node.age("apiserver", 10);
    daemon.request_pass();
    let all = [
        "renewal-failed host=cp1",
        "expiring-soon system.certificate.apiserver",
        "pass-failed host=cp1",
    ];
    assert_eq!(active_alarms(&node), all);
    std::fs::remove_dir(&lock).unwrap();
    daemon.request_pass();
    assert_eq!(active_alarms(&node), [""; 0]);
}

#[test]
fn refused_configuration_raises_alarm_immediately() {
    let node = with_history(with_hostname(Node::fresh(ECDSA)), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    node.write(CONFIG, "[schedule]\ncron = 7\n");
    daemon.signal("HUP");
    wait_for("the alarm is raised", || {
        (active_alarms(&node) == ["configuration-refused host=cp1"]).then_some(())
    });
    daemon.stop();
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    assert_eq!(active_alarms(&node), ["configuration-refused host=cp1"]);
    assert_eq!(alarm_lines(&daemon), [""; 0], "the alarm is known already");
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    wait_for("the alarm is cleared", || active_alarms(&node).is_empty().then_some(()));
}

#[test]
fn names_authorities_and_other_renewers_raise_alarms() {
    let node = with_history(with_hostname(Node::fresh(ECDSA)), NEVER);
    node.shorten_authority("etc/kubernetes/pki/etcd/ca", 20);
    node.edit(
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "--advertise-address=10.200.0.1",
        "--advertise-address=10.200.0.9",
    );
    node.write("etc/cron.d/certs", "0 3 1 * * root kubeadm certs renew all\n");
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(
        active_alarms(&node),
        [
            "expiring-soon system.certificate.etcd-ca",
            "names-differ credential=apiserver",
            "other-renewer file=/etc/cron.d/certs"
        ]
    );
    assert!(node.run(&["alarms"]).text.contains("10.200.0.9"));
    node.remove("etc/cron.d/certs");
    daemon.request_pass();
    assert!(!active_alarms(&node).iter().any(|alarm| alarm.starts_with("other-renewer")));
}

#[test]
fn renew_command_clears_alarm() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let whole = node.read("etc/kubernetes/super-admin.conf");
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    assert_eq!(node.run(&["renew"]).code, 4);
    assert_eq!(active_alarms(&node), ["renewal-failed host=cp1"]);
    node.write("etc/kubernetes/super-admin.conf", whole);
    assert_eq!(node.run(&["renew", "--dry-run"]).code, 0);
    assert_eq!(active_alarms(&node), ["renewal-failed host=cp1"], "a dry run changes nothing");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(active_alarms(&node), [""; 0]);
}

#[test]
fn damaged_alarm_state_is_reported_and_rebuilt() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    node.write(&format!("{STATE}/alarms.json"), "{ torn");
    let shown = node.run(&["alarms"]);
    assert!(
        shown.code == 3 && shown.text.contains("the alarms in force are forgotten"),
        "{}",
        shown.text
    );
    daemon.request_pass();
    assert_eq!(active_alarms(&node), ["renewal-failed host=cp1"]);
    assert!(daemon.log().contains("the alarms in force are forgotten"), "{}", daemon.log());
}

/// Writes a script for an alarm command and returns its path.
fn script(node: &Node, name: &str, text: &str) -> String {
    node.write(name, format!("#!/bin/sh\ncd {}\n{text}\n", node.root().display()));
    std::fs::set_permissions(node.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    node.path(name).display().to_string()
}

/// Returns event, alarm id and host of each alarm that a script appended to the file `told`.
fn delivered(node: &Node) -> Vec<String> {
    let text = std::fs::read_to_string(node.path("told")).unwrap_or_default();
    let event = |line: &str| {
        let alarm: Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {} {}",
            alarm["event"].as_str().unwrap(),
            alarm["id"].as_str().unwrap(),
            alarm["host"].as_str().unwrap()
        )
    };
    text.lines().map(event).collect()
}

/// A command that hangs delays neither the pass nor the other command.
#[test]
fn hanging_alarm_command_delays_nothing() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let (hangs, works) =
        (script(&node, "hangs", "touch hung; sleep 100"), script(&node, "works", "cat >>told"));
    let sinks = format!(
        "[[alarms.command]]\nname = 'hangs'\nrun = ['{hangs}']\n[[alarms.command]]\nname = \
         'works'\nrun = ['{works}']\n"
    );
    node.write(CONFIG, schedule(NEVER) + &sinks);
    let whole = node.read("etc/kubernetes/super-admin.conf");
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    daemon.request_pass();
    wait_for("the other command gets the alarm", || {
        (delivered(&node) == ["raised renewal-failed cp1"]).then_some(())
    });
    wait_for("the command hangs", || node.path("hung").exists().then_some(()));
    node.write("etc/kubernetes/super-admin.conf", whole);
    node.age("admin.conf", 5);
    assert_eq!(
        names(&daemon.request_pass().renewed),
        ["admin.conf", "super-admin.conf"],
        "meanwhile"
    );
    wait_for("the command gets the cleared alarm", || {
        (delivered(&node)[1..] == ["cleared renewal-failed cp1"]).then_some(())
    });
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn undelivered_alarm_is_delivered_after_restart() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let works = script(&node, "works", "test -e well && cat >>told");
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[[alarms.command]]\nname = 'works'\nrun = ['{works}']\n"),
    );
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    daemon.request_pass();
    wait_for("the failed delivery is logged", || {
        daemon
            .log()
            .contains(
                "WARN command/works: alarms could not be delivered: it failed with exit code 1; \
                it is retried in 60 s",
            )
            .then_some(())
    });
    daemon.kill();
    node.write("well", "");
    let mut daemon = Daemon::start(&node);
    wait_for("the alarm is delivered", || {
        (delivered(&node) == ["raised renewal-failed cp1"]).then_some(())
    });
    // A daemon that exits between the delivery and this write delivers the alarm again: at least
    // once, not at most once.
    wait_for("the delivery is recorded", || {
        let text = node.read(&format!("{STATE}/alarms.json"));
        let memory = serde_json::from_slice::<Value>(&text).unwrap();
        memory["told"]["command/works"].as_array().is_some_and(|ids| ids.len() == 1).then_some(())
    });
    daemon.stop();
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    assert_eq!(delivered(&node).len(), 1, "once");
}

/// A replacement for fmClientCli. It parses the alarm string like the original and appends each
/// call to a file.
const FM_CLIENT: &str = r####"
case $1 in
-c)
  rest=${2#'###'} count=0 set=
  while [ -n "$rest" ]; do
    field=${rest%%'###'*}
    case $rest in *'###'*) ;; *) echo "Invalid alarm string"; exit 255 ;; esac
    [ -n "$field" ] && [ ${#field} -le 254 ] || { echo "Invalid alarm string"; exit 255; }
    count=$((count + 1))
    case $count in 2 | 5) set="$set $field" ;; esac
    rest=${rest#*'###'}
  done
  [ $count = 15 ] || { echo "Invalid alarm string"; exit 255; }
  echo "set$set" >>fm ;;
-d)
  echo "clear $2" >>fm
  case $2 in *500.200*) echo "Alarm not found"; exit 255 ;; esac ;;
esac
echo Ok
echo 0cf7e1a4-9a3b-4a54-8d0b-1a1b5f0e3a55
"####;

#[test]
fn alarms_are_delivered_to_fault_management() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let client = script(&node, "fmClientCli", FM_CLIENT);
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[alarms.fm]\nenabled = true\ncommand = '{client}'\n"),
    );
    let whole = node.read("etc/kubernetes/super-admin.conf");
    let authority = node.read("etc/kubernetes/pki/etcd/ca.crt");
    node.write("etc/kubernetes/super-admin.conf", "damaged ### text");
    node.shorten_authority("etc/kubernetes/pki/etcd/ca", 20);
    let daemon = Daemon::start(&node);
    daemon.request_pass();
    let fm = || std::fs::read_to_string(node.path("fm")).unwrap_or_default();
    let set = "set 250.003 host=cp1\nset 500.200 system.certificate.etcd-ca\n";
    wait_for("the alarms are set", || (fm() == set).then_some(()));
    node.write("etc/kubernetes/super-admin.conf", whole);
    node.write("etc/kubernetes/pki/etcd/ca.crt", authority);
    daemon.request_pass();
    let cleared = format!(
        "{set}clear ###250.003###host=cp1###\nclear ###500.200###system.certificate.etcd-ca###\n"
    );
    wait_for("the alarms are cleared", || (fm() == cleared).then_some(()));
    assert!(!daemon.log().contains("could not be delivered"), "{}", daemon.log());
}

#[test]
fn run_once_delivers_each_alarm_once() {
    let node = with_history(with_hostname(Node::due()), NEVER);
    let works = script(&node, "works", "cat >>told");
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[[alarms.command]]\nname = 'works'\nrun = ['{works}']\n"),
    );
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    for _ in 0..2 {
        assert_eq!(node.run(&["run", "--once"]).code, 4);
        node.age("apiserver", 5);
    }
    assert_eq!(delivered(&node), ["raised renewal-failed cp1"]);
}

/// docs/alarms.md lists every alarm with its severity and number.
#[test]
fn every_alarm_is_documented() {
    let page = include_str!("../../docs/alarms.md");
    for kind in AlarmKind::ALL {
        let row =
            format!("| `{kind}` | {} | {} |", kind.severity(), kind.number().unwrap_or_default());
        let row = row.replace("|  |", "| |");
        assert!(page.contains(&row), "docs/alarms.md has no {row:?}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, AlarmKind::ALL.len());
}
