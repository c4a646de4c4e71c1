//! The shipped alert rules.

use std::path::Path;
use std::process::Command;

use super::common::requirements::require;

fn promtool(arguments: &[&str]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/alerts");
    let run = Command::new("promtool").args(arguments).current_dir(dir).output().unwrap();
    let output = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(run.status.success(), "{output}");
    println!("{output}");
}

#[test]
fn alert_rules_are_valid_and_pass_their_tests() {
    require!("promtool");
    promtool(&["check", "rules", "kubecertd.rules.yml"]);
    promtool(&["test", "rules", "kubecertd.test.yml"]);
}

/// Each rule is raised in at least one test.
#[test]
fn every_alert_rule_has_a_test() {
    let (rules, tests) = (
        include_str!("../../packaging/alerts/kubecertd.rules.yml"),
        include_str!("../../packaging/alerts/kubecertd.test.yml"),
    );
    let names: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 5);
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:\n")), "{name}");
    }
}
