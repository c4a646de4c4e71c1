//! What docs/operations.md tells an operator to do, done in that order: each of its commands, as it
//! stands there.

use super::harness::Node;
use super::packages;

const MANUAL: &str = include_str!("../../docs/operations.md");

/// The commands below a heading.
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

/// Does what stands below a heading. What it shows is given back, command by command.
fn follow(node: &Node, heading: &str) -> Vec<String> {
    commands(heading).into_iter().map(|command| done(node, command)).collect()
}

/// Where the API server is asked, it may take its time to come up: that is what the manual says.
fn done(node: &Node, command: &str) -> String {
    // Who types it is asked whether he means it.
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
    let looks = ["kubecertd check", "kubecertd status", "kubecertd alarms"]
        .iter()
        .any(|look| command.starts_with(look));
    let attention = looks && output.status.code() == Some(3);
    // What it says of a service that is stopped is no failure of the command.
    assert!(output.status.success() || attention, "{command}: {}\n{text}", output.status);
    text
}

/// From the first installation to the last trace; the recovery is of a node on which everything has
/// expired, and its power was gone.
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
    assert_eq!(node.serial("front-proxy-client"), old, "it only looks");

    let said = follow(node, "First look");
    assert!(said[2].contains("would renew   front-proxy-client"), "{said:#?}");
    assert!(said[4].contains("none to renew"), "{said:#?}");
    assert!(node.serial("front-proxy-client") != old && node.serial("apiserver") == other);

    let said = follow(node, "Day by day");
    assert!(
        said[0].contains("kubecertd runs since") && said[1].contains("No alarms"),
        "{}\n{}",
        said[0],
        said[1]
    );
    assert!(said[3].contains("looks after"), "{}", said[3]);

    let said = follow(node, "Tuning");
    let shown = &said[4];
    assert!(
        shown.contains("30d") && shown.contains("/etc/kubecertd/kubecertd.d/site.toml:2"),
        "{shown}"
    );
    node.wait_for_pass("asked for by a signal");

    let said = follow(node, "Going back");
    assert!(said[1].contains("restored   front-proxy-client"), "{said:#?}");
    assert_eq!(node.serial("front-proxy-client"), old);

    follow(node, "Upgrade");
    assert_eq!(node.exec("systemctl is-active kubecertd"), "active\n");
    assert!(node.path("etc/kubecertd/kubecertd.d/site.toml").exists());

    node.exec("systemctl disable --quiet --now kubecertd");
    node.age_all(-30);
    node.age("kubelet-client", -30);
    node.power_cut(|_| ());
    assert!(!node.is_ready());
    follow(node, "Recovery by hand, without kubecertd");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    node.assert_whole();

    follow(node, "Uninstall");
    assert!(!node.path("var/lib/kubecertd").exists() && !node.path("etc/kubecertd").exists());
}
