//! Alarms: raised by what is true at the end of a pass, cleared when it no longer is, and told
//! once.

use std::os::unix::fs::PermissionsExt;

use kubecertd::model::AlarmKind;
use serde_json::Value;

use super::common::{ECDSA, Node, RSA, STATE};
use super::harness::*;

/// The node's name is its own, whatever this machine is called.
fn named(node: Node) -> Node {
    node.write("etc/hostname", "cp1\n");
    node
}

/// What `kubecertd alarms` lists: kind and entity of each.
fn in_force(node: &Node) -> Vec<String> {
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

fn lines(daemon: &Daemon<'_>) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains(" alarm ")).map(str::to_owned).collect()
}

/// A pass, and its alarms: the status is written after the alarms are.
fn pass(daemon: &Daemon<'_>) {
    daemon.pass();
}

#[test]
fn a_healthy_renewal_raises_none() {
    for tree in [RSA, ECDSA] {
        let node = known(named(Node::fresh(tree)), NEVER);
        node.age_all(10);
        let daemon = Daemon::start(&node);
        assert_eq!(names(&daemon.pass().renewed), all(&node));
        assert_eq!(lines(&daemon), [""; 0], "{tree}");
        assert_eq!(in_force(&node), [""; 0]);
        assert_eq!(node.run(&["alarms"]).text, "No alarms.\n");
        assert!(!node.path(STATE).join("alarms.json").exists(), "there was nothing to remember");
    }
}

#[test]
fn what_is_due_and_waits_is_none_until_it_is_nearly_urgent() {
    let node = known(named(Node::due()), NEVER);
    assert_eq!(node.run(&["hold", "--until", "2100-01-01", "--reason", "upgrade"]).code, 0);
    let daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(in_force(&node), [""; 0]);
    node.age_seconds("apiserver", 3 * 86_400 + 3_600);
    pass(&daemon);
    assert_eq!(in_force(&node), ["held-too-long host=cp1"]);
    assert_eq!(node.run(&["hold", "--end"]).code, 0);
    pass(&daemon);
    assert_eq!(in_force(&node), [""; 0]);
}

#[test]
fn a_failure_is_raised_once_survives_a_restart_and_is_cleared_when_it_is_over() {
    let node = known(named(Node::due()), NEVER);
    let whole = node.read("etc/kubernetes/scheduler.conf");
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(in_force(&node), ["renewal-failed host=cp1"]);
    pass(&daemon);
    assert_eq!(lines(&daemon).len(), 1, "{}", daemon.log());
    let line = &lines(&daemon)[0];
    assert!(
        line.contains(
            "ERROR alarm renewal-failed (host=cp1), major, raised: Kubernetes \
            certificates renewal failed. scheduler.conf: "
        ),
        "{line}"
    );
    assert!(line.contains("What to do: "), "{line}");
    let shown = node.run(&["alarms"]);
    for said in [
        "MAJOR renewal-failed (250.003) on host=cp1, since ",
        "\n  Why:    scheduler.conf: ",
        "\n  To do:  ",
        "1 alarm in force.",
    ] {
        assert!(shown.text.contains(said), "{said:?} is not in:\n{}", shown.text);
    }
    let since = node.run(&["alarms", "-o", "json"]).text;
    daemon.stop();

    let daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(lines(&daemon), [""; 0], "it is known");
    assert_eq!(node.run(&["alarms", "-o", "json"]).text, since);
    node.write("etc/kubernetes/scheduler.conf", whole);
    pass(&daemon);
    assert_eq!(in_force(&node), [""; 0]);
    assert!(
        lines(&daemon)[0].contains("INFO alarm renewal-failed (host=cp1) is cleared"),
        "{:?}",
        lines(&daemon)
    );
}

/// The pass that could not be made is one thing, and that something was due in it another.
#[test]
fn a_pass_that_can_not_be_made_is_told_of() {
    let node = known(named(Node::fresh(ECDSA)), NEVER);
    let lock = node.path(STATE).join("lock");
    std::fs::create_dir(&lock).unwrap();
    let daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(in_force(&node), ["pass-failed host=cp1"], "nothing was due");
    node.age("apiserver", 10);
    pass(&daemon);
    let all = [
        "renewal-failed host=cp1",
        "expiring-soon system.certificate.apiserver",
        "pass-failed host=cp1",
    ];
    assert_eq!(in_force(&node), all);
    std::fs::remove_dir(&lock).unwrap();
    pass(&daemon);
    assert_eq!(in_force(&node), [""; 0]);
}

#[test]
fn a_configuration_that_is_refused_is_told_of_at_once() {
    let node = known(named(Node::fresh(ECDSA)), NEVER);
    let mut daemon = Daemon::start(&node);
    daemon.settled();
    node.write(CONFIG, "[schedule]\ncron = 7\n");
    daemon.signal("HUP");
    until("it is told of", || {
        (in_force(&node) == ["configuration-refused host=cp1"]).then_some(())
    });
    daemon.stop();
    let daemon = Daemon::start(&node);
    daemon.settled();
    assert_eq!(in_force(&node), ["configuration-refused host=cp1"]);
    assert_eq!(lines(&daemon), [""; 0], "it is known");
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    until("it is over", || in_force(&node).is_empty().then_some(()));
}

#[test]
fn names_authorities_and_other_renewers_are_looked_at() {
    let node = known(named(Node::fresh(ECDSA)), NEVER);
    node.shorten_authority("etc/kubernetes/pki/etcd/ca", 20);
    node.edit(
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "--advertise-address=10.200.0.1",
        "--advertise-address=10.200.0.9",
    );
    node.write("etc/cron.d/certs", "0 3 1 * * root kubeadm certs renew all\n");
    let daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(
        in_force(&node),
        [
            "expiring-soon system.certificate.etcd-ca",
            "names-differ credential=apiserver",
            "other-renewer file=/etc/cron.d/certs"
        ]
    );
    assert!(node.run(&["alarms"]).text.contains("10.200.0.9"));
    node.remove("etc/cron.d/certs");
    pass(&daemon);
    assert!(!in_force(&node).iter().any(|alarm| alarm.starts_with("other-renewer")));
}

#[test]
fn a_command_renews_by_hand_and_the_alarm_is_over() {
    let node = known(named(Node::due()), NEVER);
    let whole = node.read("etc/kubernetes/scheduler.conf");
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    assert_eq!(node.run(&["renew"]).code, 4);
    assert_eq!(in_force(&node), ["renewal-failed host=cp1"]);
    node.write("etc/kubernetes/scheduler.conf", whole);
    assert_eq!(node.run(&["renew", "--dry-run"]).code, 0);
    assert_eq!(in_force(&node), ["renewal-failed host=cp1"], "a dry run changes nothing");
    assert_eq!(node.run(&["renew"]).code, 0);
    assert_eq!(in_force(&node), [""; 0]);
}

#[test]
fn what_was_remembered_may_be_lost() {
    let node = known(named(Node::due()), NEVER);
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    let daemon = Daemon::start(&node);
    pass(&daemon);
    node.write(&format!("{STATE}/alarms.json"), "{ torn");
    let shown = node.run(&["alarms"]);
    assert!(
        shown.code == 3 && shown.text.contains("which alarms are in force is not remembered"),
        "{}",
        shown.text
    );
    pass(&daemon);
    assert_eq!(in_force(&node), ["renewal-failed host=cp1"]);
    assert!(
        daemon.log().contains("which alarms are in force is not remembered"),
        "{}",
        daemon.log()
    );
}

/// Puts a script there that is told of alarms.
fn script(node: &Node, name: &str, text: &str) -> String {
    node.write(name, format!("#!/bin/sh\ncd {}\n{text}\n", node.root().display()));
    std::fs::set_permissions(node.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    node.path(name).display().to_string()
}

fn told(node: &Node) -> Vec<String> {
    let text = std::fs::read_to_string(node.path("told")).unwrap_or_default();
    let event = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {} {}",
            told["event"].as_str().unwrap(),
            told["id"].as_str().unwrap(),
            told["host"].as_str().unwrap()
        )
    };
    text.lines().map(event).collect()
}

/// One of them hangs, which keeps neither the pass nor the other one.
#[test]
fn commands_are_told_and_one_that_hangs_holds_up_nothing() {
    let node = known(named(Node::due()), NEVER);
    let (hangs, works) =
        (script(&node, "hangs", "touch hung; sleep 100"), script(&node, "works", "cat >>told"));
    let sinks = format!(
        "[[alarms.command]]\nname = 'hangs'\nrun = ['{hangs}']\n[[alarms.command]]\nname = \
         'works'\nrun = ['{works}']\n"
    );
    node.write(CONFIG, schedule(NEVER) + &sinks);
    let whole = node.read("etc/kubernetes/scheduler.conf");
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    pass(&daemon);
    until("the other one is told", || (told(&node) == ["raised renewal-failed cp1"]).then_some(()));
    until("the one hangs", || node.path("hung").exists().then_some(()));
    node.write("etc/kubernetes/scheduler.conf", whole);
    node.age("admin.conf", 5);
    assert_eq!(names(&daemon.pass().renewed), ["admin.conf", "scheduler.conf"], "meanwhile");
    until("it is told of the end", || {
        (told(&node)[1..] == ["cleared renewal-failed cp1"]).then_some(())
    });
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn what_was_not_told_before_the_end_is_told_after_the_start() {
    let node = known(named(Node::due()), NEVER);
    let works = script(&node, "works", "test -e well && cat >>told");
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[[alarms.command]]\nname = 'works'\nrun = ['{works}']\n"),
    );
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    let mut daemon = Daemon::start(&node);
    pass(&daemon);
    until("that is said", || {
        daemon
            .log()
            .contains(
                "WARN command/works could not be told of alarms: it ended with exit code 1; \
                it is tried again in 60 s",
            )
            .then_some(())
    });
    daemon.kill();
    node.write("well", "");
    let mut daemon = Daemon::start(&node);
    until("it is told", || (told(&node) == ["raised renewal-failed cp1"]).then_some(()));
    // One that ends between the command's end and this would tell it again: rather twice than
    // never.
    until("that is remembered", || {
        let text = node.read(&format!("{STATE}/alarms.json"));
        let told = serde_json::from_slice::<Value>(&text).unwrap()["told"]["command/works"].clone();
        told.as_array().is_some_and(|told| told.len() == 1).then_some(())
    });
    daemon.stop();
    let daemon = Daemon::start(&node);
    pass(&daemon);
    assert_eq!(told(&node).len(), 1, "once");
}

/// A stand-in for fmClientCli: it takes a string apart as that does, and keeps what is set in a
/// file.
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
fn fault_management_is_told() {
    let node = known(named(Node::due()), NEVER);
    let client = script(&node, "fmClientCli", FM_CLIENT);
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[alarms.fm]\nenabled = true\ncommand = '{client}'\n"),
    );
    let whole = node.read("etc/kubernetes/scheduler.conf");
    let authority = node.read("etc/kubernetes/pki/etcd/ca.crt");
    node.write("etc/kubernetes/scheduler.conf", "damaged ### text");
    node.shorten_authority("etc/kubernetes/pki/etcd/ca", 20);
    let daemon = Daemon::start(&node);
    pass(&daemon);
    let fm = || std::fs::read_to_string(node.path("fm")).unwrap_or_default();
    let set = "set 250.003 host=cp1\nset 500.200 system.certificate.etcd-ca\n";
    until("they are set", || (fm() == set).then_some(()));
    node.write("etc/kubernetes/scheduler.conf", whole);
    node.write("etc/kubernetes/pki/etcd/ca.crt", authority);
    pass(&daemon);
    let cleared = format!(
        "{set}clear ###250.003###host=cp1###\nclear ###500.200###system.certificate.etcd-ca###\n"
    );
    until("they are cleared", || (fm() == cleared).then_some(()));
    assert!(!daemon.log().contains("could not be told"), "{}", daemon.log());
}

#[test]
fn without_a_daemon_everybody_is_told_once() {
    let node = known(named(Node::due()), NEVER);
    let works = script(&node, "works", "cat >>told");
    node.write(
        CONFIG,
        schedule(NEVER) + &format!("[[alarms.command]]\nname = 'works'\nrun = ['{works}']\n"),
    );
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    for _ in 0..2 {
        assert_eq!(node.run(&["run", "--once"]).code, 4);
        node.age("apiserver", 5);
    }
    assert_eq!(told(&node), ["raised renewal-failed cp1"]);
}

/// The page that explains alarms knows them all, as they are.
#[test]
fn every_alarm_is_explained() {
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
