//! Runs each command of docs/operations.md, in the order of the page.

use std::time::Instant;

use super::harness::Node;
use super::packages;
use super::services::print_figure;

const MANUAL: &str = include_str!("../../docs/operations.md");

/// Returns the commands below a heading.
fn commands(heading: &str) -> Vec<&'static str> {
    let section = MANUAL.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("docs/operations.md has no {heading:?}"));
    let mut inside = false;
    let mut found = Vec::new();
    for line in section.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => found
                .push(line.strip_prefix("# ").unwrap_or_else(|| panic!("{line:?} is no command"))),
            _ => {}
        }
    }
    found
}

/// Runs the commands below a heading and returns the output of each.
fn follow(node: &Node, heading: &str) -> Vec<String> {
    commands(heading).into_iter().map(|command| run_command(node, command)).collect()
}

/// Runs a command and returns its output. A kubectl command is retried, since the API server may
/// take a while to start, as the manual says.
fn run_command(node: &Node, command: &str) -> String {
    // apt asks for a confirmation on a terminal.
    let here = format!("cd /root && {}", command.replace("apt ", "apt --yes "));
    if command.starts_with("kubectl ") {
        return node.wait_for(command, |node| {
            let output = node.try_exec(&here);
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        });
    }
    let output = node.try_exec(&here);
    let text =
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    let is_query = ["kubecertd check", "kubecertd status", "kubecertd alarms"]
        .iter()
        .any(|query| command.starts_with(query));
    let attention = is_query && output.status.code() == Some(3);
    // Exit code 3 reports a stopped service; the command itself succeeded.
    assert!(output.status.success() || attention, "{command}: {}\n{text}", output.status);
    text
}

/// Follows the manual from the installation to the removal. The recovery is that of a node on which
/// everything has expired, after a power cut.
pub fn all_sections(node: &mut Node) {
    let package = packages::package(node, "0.1.0");
    node.exec(&format!("cp {package} /root/kubecertd_0.1.0-1_amd64.deb"));
    node.age("front-proxy-client", 10);
    let (old, other) = (node.serial("front-proxy-client"), node.serial("apiserver"));

    follow(node, "Install");
    assert_eq!(
        node.exec("systemctl is-enabled kubecertd; systemctl is-active kubecertd"),
        "enabled\nactive\n"
    );
    node.wait_for_pass("first start");
    assert_eq!(node.serial("front-proxy-client"), old, "it only observes");

    let output = follow(node, "First look");
    assert!(output[2].contains("would renew   front-proxy-client"), "{output:#?}");
    assert!(output[4].contains("none to renew"), "{output:#?}");
    assert!(node.serial("front-proxy-client") != old && node.serial("apiserver") == other);

    let output = follow(node, "Day by day");
    assert!(
        output[0].contains("kubecertd runs since") && output[1].contains("No alarms"),
        "{}\n{}",
        output[0],
        output[1]
    );
    assert!(output[3].contains("manages"), "{}", output[3]);

    let output = follow(node, "Tuning");
    let shown = &output[4];
    assert!(
        shown.contains("30d") && shown.contains("/etc/kubecertd/kubecertd.d/site.toml:2"),
        "{shown}"
    );
    node.wait_for_pass("asked for by a signal");

    let output = follow(node, "Going back");
    assert!(output[1].contains("restored   front-proxy-client"), "{output:#?}");
    assert_eq!(node.serial("front-proxy-client"), old);

    follow(node, "Upgrade");
    assert_eq!(node.exec("systemctl is-active kubecertd"), "active\n");
    assert!(node.path("etc/kubecertd/kubecertd.d/site.toml").exists());

    node.exec("systemctl disable --quiet --now kubecertd");
    node.age_all(-30);
    node.age("kubelet-client", -30);
    node.power_cut(|_| ());
    assert!(!node.is_ready());
    let began = Instant::now();
    follow(node, "Recovery by hand, without kubecertd");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    print_figure(&format!("recovered by hand in {} s", began.elapsed().as_secs()));
    node.assert_whole();

    follow(node, "Uninstall");
    assert!(!node.path("var/lib/kubecertd").exists() && !node.path("etc/kubecertd").exists());
}
