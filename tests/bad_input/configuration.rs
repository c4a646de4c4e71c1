//! Invalid configurations and manifests.

use std::fs;

use super::faults::*;
use super::*;

#[test]
fn invalid_configuration_is_refused_with_file_and_line() {
    const FILE: &str = "etc/kubecertd/kubecertd.toml";
    const DROP_IN: &str = "etc/kubecertd/kubecertd.d/50-own.toml";
    let cases: [(&str, &str, &[u8], &[&str]); 9] = [
        (
            "a typo",
            FILE,
            b"# ours\n[renewal]\nrenew_befor = \"20d\"\n",
            &["/etc/kubecertd/kubecertd.toml:3:1", "renew_befor", "did you mean `renew_before`?"],
        ),
        (
            "a typo in a table",
            FILE,
            b"[renewl]\n",
            &["/etc/kubecertd/kubecertd.toml:1:", "renewl", "did you mean `renewal`?"],
        ),
        (
            "a wrong value",
            FILE,
            b"[renewal]\nrenew_before = \"soon\"\n",
            &["/etc/kubecertd/kubecertd.toml:2:", "renew_before", "soon"],
        ),
        ("no TOML", FILE, b"renew_before: 20d\n", &["/etc/kubecertd/kubecertd.toml:1:"]),
        (
            "a typo in a drop-in",
            DROP_IN,
            b"\n[backups]\nkep = 3\n",
            &["/etc/kubecertd/kubecertd.d/50-own.toml:3:1", "kep", "did you mean `keep`?"],
        ),
        (
            "a contradiction",
            FILE,
            b"[renewal]\nurgent_before = \"30d\"\n",
            &["urgent_before", "30d", "/etc/kubecertd/kubecertd.toml:2"],
        ),
        (
            "an unknown profile",
            FILE,
            b"profile = \"kubeadmin\"\n",
            &[
                "profile = \"kubeadmin\"",
                "/etc/kubecertd/kubecertd.toml:1",
                "there is no such profile",
            ],
        ),
        (
            "no text",
            FILE,
            b"profile = \"\xff\"\n",
            &["/etc/kubecertd/kubecertd.toml: is not UTF-8 text"],
        ),
        (
            "an unknown authority",
            FILE,
            b"[[credential]]\nname = \"own\"\nca = \"cq\"\nbundle = \"/etc/own.pem\"\n",
            &["/etc/kubecertd/kubecertd.toml:1", "own", "cq"],
        ),
    ];
    for (case, file, content, reported) in cases {
        let node = Node::due();
        node.write(file, content);
        assert_refused(case, &node, reported);
    }
}

#[test]
fn unreadable_configuration_is_refused() {
    for (case, damage, reason) in UNREADABLE {
        let node = Node::due();
        node.write("etc/kubecertd/kubecertd.toml", "");
        damage(&node.path("etc/kubecertd/kubecertd.toml"));
        assert_refused(case, &node, &["/etc/kubecertd/kubecertd.toml", reason]);
    }
}

fn assert_refused(case: &str, node: &Node, reported: &[&str]) {
    let before = node.snapshot();
    for command in [
        &["check"][..],
        &["renew"],
        &["renew", "--dry-run"],
        &["config", "check"],
        &["config", "show"],
    ] {
        let run = node.run(command);
        assert_eq!(run.code, CONFIGURATION, "{case}: {command:?}: {}", run.text);
        for text_part in reported {
            assert!(
                run.text.contains(text_part),
                "{case}: {command:?}: {text_part:?} is not in:\n{}",
                run.text
            );
        }
    }
    assert_unchanged(case, &before, &node.snapshot());
}

#[test]
fn unreadable_manifest_falls_back_to_default_paths() {
    const MANIFEST: &str = "etc/kubernetes/manifests/etcd.yaml";
    const NO_MANIFEST: &[Fault] = &[
        ("empty", |path| fs::write(path, "").unwrap(), "etcd.yaml"),
        ("zeros", |path| fs::write(path, [0; 600]).unwrap(), "etcd.yaml"),
        ("binary", |path| fs::write(path, [0xff; 9]).unwrap(), "etcd.yaml: is not UTF-8 text"),
        ("cut off", |path| edit_text(path, |text| text[..text.len() / 2].to_owned()), "etcd.yaml"),
    ];
    for (case, damage, reason) in UNREADABLE[1..].iter().chain(NO_MANIFEST) {
        let node = Node::due();
        damage(&node.path(MANIFEST));
        node.backdate_manifests();
        let check = node.run(&["check"]);
        assert!(
            check.text.contains("etcd.yaml") && check.text.contains(reason),
            "{case}: {}",
            check.text
        );
        Expected { code: SUCCESS, left: &[], reported: &["etcd/server"] }.assert(case, &node);
    }
}

/// The certificate is renewed on 1 November, fresh on 1 October, and expires on 31 October.
#[test]
fn schedule_that_can_miss_an_expiry_is_an_error_and_an_alarm() {
    let node = Node::fresh(common::ECDSA);
    let config = |cron: &str, renew_before: &str| {
        let text = format!(
            "[schedule]\ncron = \"{cron}\"\n[renewal]\nrenew_before = \"{renew_before}\"\n"
        );
        node.write("etc/kubecertd/kubecertd.toml", text);
        let run = node.run(&["config", "check"]);
        assert_eq!(node.run(&["renew"]).code, SUCCESS);
        let alarms = node.run(&["alarms", "-o", "json"]).text;
        assert_eq!(run.code == CONFIGURATION, alarms.contains("\"schedule-too-rare\""), "{alarms}");
        run
    };
    let run = config("0 0 0 1 * *", "15d");
    assert_eq!(run.code, CONFIGURATION);
    assert!(
        run.text.contains("schedule.cron = \"0 0 0 1 * *\" (/etc/kubecertd/kubecertd.toml:2)")
            && run.text.contains("between 2026-01-01 00:00:00 and 2026-02-01 00:00:00"),
        "{}",
        run.text
    );
    assert_eq!(config("0 0 0 1 * *", "40d").code, SUCCESS);
    assert_eq!(config("0 0 0 * * SUN", "15d").code, SUCCESS);
}
