//! `kubecertd status --cluster`: the nodes of the cluster on one screen, by the reports that they
//! wrote into their Node objects. A report may be false: it is shown, and nothing is done by it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::Style;
use serde::Serialize;

use super::arguments::{ClusterFormat, StatusOptions};
use super::check::section;
use super::out::{self, BAD, GOOD, PLAIN, SOON, paint};
use super::words::{count, date};
use super::{Exit, Failure};
use crate::cluster::ClusterApi;
use crate::model::{AbsolutePath, NodeReport, NodeRole, ReportedNode, Timestamp};
use crate::plan::{NodeState, compare, node_state, remaining};
use crate::store::LARGEST_FILE;
use crate::sys::{Clock, Root, block_on};

/// The administrator's kubeconfig on a control-plane node.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// The most nodes of one version that are named; more are counted.
const MAX_NAMES: usize = 3;

/// The most versions that are shown.
const MAX_VERSIONS: usize = 5;

pub(super) fn run(options: &StatusOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let root = Root::open(Path::new("/")).map_err(Failure::Root)?;
    let file = kubeconfig(&root, options.kubeconfig.as_deref())?;
    let listed =
        block_on(async { ClusterApi::of_kubeconfig(&root, &file, None).await?.nodes().await });
    let nodes = listed.map_err(failed)?.map_err(failed)?.answer;
    let (text, exit) = screen(&nodes, clock.now(), options.output);
    out::print(&text);
    Ok(exit)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Cluster(error.to_string())
}

/// The kubeconfig to use: the given one, or else the one that kubectl uses.
fn kubeconfig(root: &Root, given: Option<&Path>) -> Result<AbsolutePath, Failure> {
    let wrong = |path: &Path, e: &dyn std::fmt::Display| {
        Failure::Kubeconfig(format!("--kubeconfig {}: {e}", path.display()))
    };
    let absolute = |path: &Path| {
        let full = std::path::absolute(path).map_err(|e| wrong(path, &e))?;
        AbsolutePath::new(&full).map_err(|e| wrong(path, &e))
    };
    let is_readable =
        |path: &Path| absolute(path).is_ok_and(|path| root.read(&path, LARGEST_FILE).is_ok());
    let (variable, home) = (std::env::var_os("KUBECONFIG"), std::env::var_os("HOME"));
    let path = choose(given, variable, home, &is_readable).map_err(Failure::Kubeconfig)?;
    absolute(&path)
}

fn choose(
    given: Option<&Path>,
    variable: Option<OsString>,
    home: Option<OsString>,
    is_readable: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if let Some(variable) = variable.filter(|variable| !variable.is_empty()) {
        let mut paths =
            std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
        return match (paths.next(), paths.next()) {
            (Some(path), None) => Ok(path),
            _ => Err("$KUBECONFIG names several files; name one with --kubeconfig".to_owned()),
        };
    }
    let usual = home.map(|home| Path::new(&home).join(".kube/config"));
    let candidates = [Some(PathBuf::from(ADMIN)), usual];
    let found = candidates.into_iter().flatten().find(|path| is_readable(path));
    found.ok_or_else(|| {
        format!("neither {ADMIN} nor ~/.kube/config can be read; name a file with --kubeconfig")
    })
}

/// Formats the nodes, and says whether one of them needs attention.
fn screen(nodes: &[ReportedNode], now: Timestamp, format: ClusterFormat) -> (String, Exit) {
    let mut all: Vec<_> = nodes.iter().map(|node| (node_state(node, now), node)).collect();
    all.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.name.cmp(&other.name)));
    let differences: Vec<_> = compare(None, nodes, now)
        .differences
        .iter()
        .map(|one| format!("{}: {}", one.file.as_str(), one.text()))
        .collect();
    let attention = all.iter().filter(|(state, _)| state.needs_attention()).count();
    let exit = if attention == 0 && differences.is_empty() { Exit::Fine } else { Exit::Attention };
    if format == ClusterFormat::Json {
        return (json(&all, now), exit);
    }
    let word = match attention {
        0 => paint(GOOD.bold(), &format!("No node needs attention of {}", nodes.len())),
        number => {
            let verb = if number == 1 { "needs" } else { "need" };
            paint(
                BAD.bold(),
                &format!("{} {verb} attention of {}", count(number, "node"), nodes.len()),
            )
        }
    };
    let mut text = format!("{word}, {}\n", date(now));
    let is_listed = |state: &NodeState| format == ClusterFormat::Wide || state.needs_attention();
    let rows: Vec<_> = all
        .iter()
        .filter(|(state, _)| is_listed(state))
        .map(|(state, node)| (style(state), row(state, node, now)))
        .collect();
    if !rows.is_empty() {
        let heading = ["NODE", "ROLE", "VERSION", "LAST PASS", "NEXT EXPIRY", "STATE"];
        text += &format!("\n{}", out::columns(&heading, &rows));
    }
    text += &section("Control-plane nodes differ", &differences);
    text += &section("Nodes run different versions of kubecertd", &versions(nodes));
    let _ = writeln!(text, "\n{}", summary(&all));
    (text, exit)
}

fn style(state: &NodeState) -> Style {
    match state {
        NodeState::Fine => GOOD,
        NodeState::WorkerWithout => PLAIN,
        NodeState::Due(_) | NodeState::Without | NodeState::Unreadable(_) => SOON,
        _ => BAD,
    }
}

fn row(state: &NodeState, node: &ReportedNode, now: Timestamp) -> Vec<String> {
    let report = node.report.read();
    let of = |text: &dyn Fn(&NodeReport) -> Option<String>| {
        report.and_then(text).unwrap_or_else(|| "-".to_owned())
    };
    let next = |report: &NodeReport| {
        let next = report.next.as_ref()?;
        let name = next.name.as_ref().map_or_else(String::new, |name| format!("{name} "));
        Some(format!("{name}{}", remaining(now, next.at)))
    };
    vec![
        node.name.clone(),
        node.role.as_str().to_owned(),
        of(&|report| Some(report.version.clone())),
        of(&|report| Some(remaining(now, report.pass))),
        of(&next),
        state.words(),
    ]
}

/// Which nodes run which version, where there are several: the version of most nodes first.
fn versions(nodes: &[ReportedNode]) -> Vec<String> {
    let mut groups = BTreeMap::<&str, Vec<&str>>::new();
    for node in nodes {
        if let Some(report) = node.report.read() {
            groups.entry(&report.version).or_default().push(&node.name);
        }
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(version, names)| (Reverse(names.len()), *version));
    let more = groups.len().saturating_sub(MAX_VERSIONS);
    let phrases = groups.iter().take(MAX_VERSIONS).map(|(version, names)| {
        if names.len() > MAX_NAMES {
            format!("{version} on {}", count(names.len(), "node"))
        } else {
            format!("{version} on {}", names.join(", "))
        }
    });
    let more = (more > 0).then(|| format!("and {}", count(more, "other version")));
    vec![phrases.chain(more).collect::<Vec<_>>().join("; ")]
}

/// Counts the nodes that need no attention, by role.
fn summary(all: &[(NodeState, &ReportedNode)]) -> String {
    let mut counts = BTreeMap::<(bool, NodeRole), usize>::new();
    for (state, node) in all.iter().filter(|(state, _)| !state.needs_attention()) {
        *counts.entry((*state == NodeState::WorkerWithout, node.role)).or_default() += 1;
    }
    let phrases = counts.into_iter().map(|((without, role), number)| {
        let noun = match role {
            NodeRole::ControlPlane => "control-plane node",
            NodeRole::Worker => "worker",
        };
        let verb = if number == 1 { "is" } else { "are" };
        let state = if without { "without kubecertd" } else { "fine" };
        format!("{} {verb} {state}", count(number, noun))
    });
    let phrases: Vec<_> = phrases.collect();
    match phrases.as_slice() {
        [] => "No node is fine.".to_owned(),
        phrases => format!("{}.", phrases.join("; ")),
    }
}

#[derive(Serialize)]
struct Nodes<'n> {
    format: u32,
    nodes: Vec<NodeJson<'n>>,
}

#[derive(Serialize)]
struct NodeJson<'n> {
    name: &'n str,
    role: NodeRole,
    state: &'static str,
    text: String,
    attention: bool,
    /// For how many seconds no report was made.
    age: Option<i64>,
    report: Option<&'n NodeReport>,
}

fn json(all: &[(NodeState, &ReportedNode)], now: Timestamp) -> String {
    let nodes = all.iter().map(|(state, node)| NodeJson {
        name: &node.name,
        role: node.role,
        state: state.as_str(),
        text: state.words(),
        attention: state.needs_attention(),
        age: node.report.read().map(|report| now.seconds_since(report.at)),
        report: node.report.read(),
    });
    serde_json::to_string_pretty(&Nodes { format: 1, nodes: nodes.collect() })
        .map_or_else(|e| format!("{{\"error\": {:?}}}\n", e.to_string()), |json| json + "\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{
        AlarmCounts, CredentialName, Digest, Fingerprints, FoundReport, NextExpiry,
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn report() -> NodeReport {
        let next = NextExpiry {
            at: NOW.plus(Duration::from_secs(864_000)),
            name: Some(CredentialName::constant("apiserver")),
        };
        let pass = NOW.minus(Duration::from_secs(10_800));
        NodeReport { pass, next: Some(next), ..NodeReport::fine(NOW) }
    }

    fn node(name: &str, role: NodeRole, report: Option<NodeReport>) -> ReportedNode {
        let report = report.map_or(FoundReport::Absent, |one| FoundReport::Read(Box::new(one)));
        ReportedNode { name: name.to_owned(), role, report }
    }

    fn shown(nodes: &[ReportedNode], format: ClusterFormat) -> (String, Exit) {
        let (text, exit) = screen(nodes, NOW, format);
        (anstream::adapter::strip_str(&text).to_string(), exit)
    }

    fn cluster() -> Vec<ReportedNode> {
        use NodeRole::{ControlPlane, Worker};
        let worst = Some("It failed.".to_owned());
        let alarms = AlarmCounts { major: 1, worst, ..AlarmCounts::default() };
        let earlier = NOW.minus(Duration::from_secs(100 * 3_600));
        vec![
            node("cp1", ControlPlane, Some(report())),
            node("cp2", ControlPlane, Some(NodeReport { alarms, ..report() })),
            node("cp3", ControlPlane, None),
            node("w1", Worker, Some(NodeReport { at: earlier, pass: earlier, ..report() })),
            node("w2", Worker, Some(NodeReport { stale: 1, due: 1, ..report() })),
            node("w3", Worker, Some(NodeReport { due: 2, next: None, ..report() })),
            node("w4", Worker, Some(report())),
            node("w5", Worker, Some(report())),
            node("w6", Worker, None),
        ]
    }

    #[test]
    fn nodes_that_need_attention_are_listed_and_others_counted() {
        let (text, exit) = shown(&cluster(), ClusterFormat::Table);
        assert_eq!(exit, Exit::Attention);
        assert_eq!(
            text,
            "\
5 nodes need attention of 9, 2027-01-15 08:00 UTC

NODE   ROLE            VERSION   LAST PASS     NEXT EXPIRY            STATE
cp2    control-plane   0.1.0     3 hours ago   apiserver in 10 days   1 alarm: It failed.
w2     worker          0.1.0     3 hours ago   apiserver in 10 days   1 stale
w1     worker          0.1.0     4 days ago    apiserver in 10 days   silent for more than 26 hours
cp3    control-plane   -         -             -                      without kubecertd
w3     worker          0.1.0     3 hours ago   -                      2 due

1 control-plane node is fine; 2 workers are fine; 1 worker is without kubecertd.
"
        );
        assert!(include_str!("../../docs/cluster.md").contains(&text), "it is the one of the page");
    }

    #[test]
    fn screen_of_500_healthy_nodes_is_short_and_wide_has_all() {
        let nodes: Vec<_> = (0..500)
            .map(|number| node(&format!("w{number}"), NodeRole::Worker, Some(report())))
            .collect();
        let (text, exit) = shown(&nodes, ClusterFormat::Table);
        assert_eq!(exit, Exit::Fine);
        assert_eq!(
            text,
            "No node needs attention of 500, 2027-01-15 08:00 UTC\n\n500 workers are fine.\n"
        );
        let (text, _) = shown(&nodes, ClusterFormat::Wide);
        assert_eq!(text.lines().filter(|line| line.ends_with("fine")).count(), 500);
    }

    #[test]
    fn differing_control_plane_nodes_are_shown() {
        let with = |name: &str, ca: &[u8]| {
            let ca = Some(Digest::of(ca).into());
            let fingerprints = Fingerprints { ca, ..Fingerprints::default() };
            node(name, NodeRole::ControlPlane, Some(NodeReport { fingerprints, ..report() }))
        };
        let (text, exit) = shown(&[with("cp1", b"a"), with("cp2", b"b")], ClusterFormat::Table);
        assert_eq!(exit, Exit::Attention);
        let part = "Control-plane nodes differ\n  ca.crt: 3e23e8160039594a33894f6564e1b134 on cp2";
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn versions_are_shown_where_nodes_differ() {
        let with = |name: &str, version: &str| {
            let version = version.to_owned();
            node(name, NodeRole::Worker, Some(NodeReport { version, ..report() }))
        };
        let title = "Nodes run different versions of kubecertd";
        let mut nodes = vec![with("w1", "0.1.0"), with("w2", "0.2.0"), with("w3", "0.2.0")];
        let (text, exit) = shown(&nodes, ClusterFormat::Table);
        assert_eq!(exit, Exit::Fine, "an upgrade of one node after the other is no fault");
        assert!(text.contains(&format!("{title}\n  0.2.0 on w2, w3; 0.1.0 on w1\n")), "{text}");
        nodes.extend((4..=6).map(|number| with(&format!("w{number}"), "0.1.0")));
        nodes.push(node("w7", NodeRole::Worker, None));
        let (text, _) = shown(&nodes, ClusterFormat::Table);
        assert!(text.contains("\n  0.1.0 on 4 nodes; 0.2.0 on w2, w3\n"), "{text}");
        nodes.extend((1..=9).map(|number| with(&format!("x{number}"), &format!("9.{number}"))));
        let (text, _) = shown(&nodes, ClusterFormat::Table);
        assert!(text.contains("; 9.3 on x3; and 6 other versions\n"), "{text}");
        let (text, _) = shown(&nodes[1..3], ClusterFormat::Table);
        assert!(!text.contains(title), "{text}");
    }

    #[test]
    fn json_has_every_node_with_state_and_report() {
        let (text, exit) = shown(&cluster(), ClusterFormat::Json);
        assert_eq!(exit, Exit::Attention);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["format"], 1);
        let nodes = value["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 9);
        assert_eq!((&nodes[0]["name"], &nodes[0]["state"]), (&"cp2".into(), &"alarms".into()));
        assert_eq!(nodes[0]["report"]["next"]["name"], "apiserver");
        assert_eq!((&nodes[2]["state"], &nodes[2]["age"]), (&"silent".into(), &360_000.into()));
        assert!(nodes[3]["report"].is_null());
    }

    #[test]
    fn kubeconfig_is_the_one_that_kubectl_uses() {
        let chosen = |given: Option<&str>, variable: Option<&str>, readable: &[&str]| {
            let is_readable = |path: &Path| readable.iter().any(|one| Path::new(one) == path);
            let home = Some("/home/a".into());
            choose(given.map(Path::new), variable.map(Into::into), home, &is_readable)
                .map(|path| path.display().to_string())
        };
        let user = "/home/a/.kube/config";
        assert_eq!(chosen(Some("x"), Some("/y"), &[ADMIN]).as_deref(), Ok("x"));
        assert_eq!(chosen(None, Some("/y"), &[ADMIN]).as_deref(), Ok("/y"));
        assert_eq!(chosen(None, Some(""), &[ADMIN, user]).as_deref(), Ok(ADMIN));
        assert_eq!(chosen(None, None, &[user]).as_deref(), Ok(user));
        assert!(chosen(None, Some("/y:/z"), &[]).unwrap_err().contains("--kubeconfig"));
        assert!(chosen(None, None, &[]).unwrap_err().contains("--kubeconfig"));
    }
}
