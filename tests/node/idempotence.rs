//! Passes change nothing on a fresh node and do not repeat a renewal, and `check` agrees with
//! kubeadm.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{self, Snapshot};
use super::harness::{CREDENTIALS_WITHOUT_RESTART, Node, PASS_IN_PROGRESS, schedule, schedule_in};

fn kubernetes(node: &Node) -> Snapshot {
    common::Node::at(node.path("etc/kubernetes")).snapshot()
}

/// Passes by their start times and reasons.
type Passes = BTreeSet<(String, String)>;

fn record_last_pass(node: &Node, seen: &mut Passes) {
    seen.extend(
        node.status()
            .and_then(|status| status.last_pass)
            .map(|pass| (pass.began.to_string(), pass.why)),
    );
}

/// Returns the passes within this time.
fn passes_within(node: &Node, time: Duration) -> Passes {
    let (end, mut seen) = (Instant::now() + time, Passes::new());
    while Instant::now() < end {
        record_last_pass(node, &mut seen);
        std::thread::sleep(Duration::from_millis(200));
    }
    seen
}

/// Waits for this many passes and returns them.
fn wait_for_passes(node: &Node, count: usize) -> Passes {
    let mut seen = Passes::new();
    node.wait_for(&format!("{count} passes"), |node| {
        record_last_pass(node, &mut seen);
        (seen.len() >= count).then_some(())
    });
    seen
}

/// Several scheduled passes change nothing. Then, without scheduled passes, the daemon's own reads
/// cause none either; 90 s are longer than the quiet time of half a minute.
pub fn fresh_node(node: &mut Node) {
    let before = kubernetes(node);
    node.install(&schedule("*/15 * * * * *"));
    let often = wait_for_passes(node, 4);
    let unexpected: Vec<_> = often
        .iter()
        .filter(|(_, why)| why != "by schedule" && !why.contains("first start"))
        .collect();
    assert!(unexpected.is_empty(), "{often:?}");

    node.write("etc/kubecertd/kubecertd.toml", schedule_in(15));
    node.exec("systemctl reload kubecertd");
    node.wait_for("the only pass of the new schedule", |node| {
        let status = node.status()?;
        let far = common::now().plus(Duration::from_secs(3600));
        (status.next_pass > Some(far) && status.line != PASS_IN_PROGRESS).then_some(())
    });
    let still = passes_within(node, Duration::from_secs(90));
    assert_eq!(still.len(), 1, "these passes were not requested: {still:?}");
    assert_eq!(before.differences(&kubernetes(node)), Vec::<String>::new());
    assert!(!node.path("var/lib/kubecertd/backups").exists(), "there was nothing to back up");
}

pub fn ca_near_expiry(node: &mut Node) {
    node.shorten_authority("etc/kubernetes/pki/ca", 10);
    node.age_credentials_without_restart(5);
    node.install(&schedule("*/5 * * * * *"));
    node.wait_for_log("admin.conf: renewed until ");
    wait_for_passes(node, 6);
    node.request_pass();
    let journal = node.journal("kubecertd");
    let ca_expiry = kubecertd::formats::x509::certificates(&node.read("etc/kubernetes/pki/ca.crt"))
        .unwrap()
        .remove(0)
        .not_after;
    for (name, stored) in node
        .usable_credentials()
        .into_iter()
        .filter(|(name, _)| CREDENTIALS_WITHOUT_RESTART.contains(&name.as_str()))
    {
        assert_eq!(
            journal.matches(&format!("{name}: renewed until ")).count(),
            1,
            "{name}: {journal}"
        );
        let expires_with_ca = stored.certificate.not_after == ca_expiry;
        let has_other_ca = name.starts_with("etcd/")
            || ["apiserver-etcd-client", "front-proxy-client"].contains(&name.as_str());
        assert_eq!(
            expires_with_ca, !has_other_ca,
            "{name} expires at {}, the CA at {ca_expiry}",
            stored.certificate.not_after
        );
    }
}

/// The CAs that kubeadm makes.
const CA_COUNT: usize = 3;

/// A line about a certificate in the output of a tool: expiry to the minute, remaining time, CA.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: String,
    expires: String,
    left: String,
    authority: String,
    external: bool,
}

pub fn comparison_with_kubeadm(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    for (name, days_left) in [
        ("apiserver", 10),
        ("scheduler.conf", 2),
        ("apiserver-kubelet-client", -3),
        ("etcd/peer", 700),
    ] {
        node.age(name, days_left);
    }
    node.remove("etc/kubernetes/pki/etcd/healthcheck-client.crt");
    node.remove("etc/kubernetes/pki/etcd/healthcheck-client.key");
    node.exec("mv /etc/kubernetes/pki/front-proxy-ca.key /root/");
    // Its exit code depends on the version: some call it an error that the CA's key is missing.
    // And some list nothing where a certificate of that CA has expired.
    let theirs = parse_kubeadm(&node.exec("kubeadm certs check-expiration 2>/dev/null || true"));
    let (mut ours, more) = parse_kubecertd(&node.exec("kubecertd check -o json || true"), &theirs);
    ours.sort();
    assert_eq!(theirs.len(), node.all_credentials().len() + CA_COUNT, "{theirs:?}");
    assert_eq!(ours, theirs);
    // Before 1.29 kubeadm does not know this file.
    let known = theirs.iter().any(|line| line.name == "super-admin.conf");
    assert_eq!(more.is_empty(), known, "{more:?}");
    assert!(known || more == ["super-admin.conf"], "{more:?}");
    node.exec("mv /root/front-proxy-ca.key /etc/kubernetes/pki/");
}

/// Parses lines such as `apiserver   Nov 21, 2027 22:22 UTC   364d   ca   no` and
/// `!MISSING! apiserver`. A kubeconfig has no CA in them.
fn parse_kubeadm(text: &str) -> Vec<Line> {
    let mut lines: Vec<_> = text.lines().filter_map(parse_kubeadm_line).collect();
    lines.sort();
    lines
}

fn parse_kubeadm_line(line: &str) -> Option<Line> {
    let words: Vec<_> = line.split_whitespace().collect();
    let text = |words: &[&str]| words.join(" ");
    match words.as_slice() {
        ["!MISSING!", name] => Some(Line {
            name: text(&[name]),
            expires: String::new(),
            left: "missing".to_owned(),
            authority: String::new(),
            external: false,
        }),
        [name, month, day, year, time, "UTC", left, rest @ ..] => {
            let (authority, external) = match rest {
                [authority, external] => (*authority, *external),
                [external] => ("", *external),
                _ => return None,
            };
            Some(Line {
                name: text(&[name]),
                expires: text(&[month, day, year, time]),
                left: text(&[left]),
                authority: text(&[authority]),
                external: external == "yes",
            })
        }
        _ => None,
    }
}

/// Returns the lines about certificates that kubeadm lists, and the names of the others.
fn parse_kubecertd(json: &str, theirs: &[Line]) -> (Vec<Line>, Vec<String>) {
    let json: Value = serde_json::from_str(json).unwrap();
    let all = ["certificates", "certificateAuthorities"]
        .into_iter()
        .flat_map(|list| json[list].as_array().unwrap());
    let (same, more): (Vec<_>, Vec<_>) = all.partition(|entry| line_named(theirs, entry).is_some());
    let same = same
        .into_iter()
        .map(|entry| parse_kubecertd_entry(entry, line_named(theirs, entry).unwrap()));
    let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    (same.collect(), more.into_iter().map(name).collect())
}

fn line_named<'a>(lines: &'a [Line], entry: &Value) -> Option<&'a Line> {
    lines.iter().find(|line| entry["name"] == *line.name)
}

/// Returns the line that kubeadm should print. `their` one has the form of its version: how time is
/// written, and whether a kubeconfig has a CA.
fn parse_kubecertd_entry(value: &Value, their: &Line) -> Line {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let missing = value["missing"].as_bool().unwrap();
    let seconds = value["residualTime"].as_i64().unwrap_or_default();
    let end = text("expirationDate");
    Line {
        name: text("name"),
        expires: if missing { String::new() } else { kubeadm_date(&end) },
        left: if missing {
            "missing".to_owned()
        } else if [seconds, seconds - 1].iter().any(|left| is_time_left(&their.left, *left)) {
            their.left.clone()
        } else {
            format!("{seconds} seconds")
        },
        authority: if their.authority.is_empty() { String::new() } else { text("caName") },
        external: !missing && value["externallyManaged"].as_bool().unwrap(),
    }
}

fn kubeadm_date(text: &str) -> String {
    let time: jiff::Timestamp = text.parse().unwrap();
    time.strftime("%b %d, %Y %H:%M").to_string()
}

/// Whether kubeadm may print this number of seconds so: `1y`, `364d`, `2d11h`, rounded down to the
/// last unit; `<invalid>` for negative ones.
fn is_time_left(text: &str, seconds: i64) -> bool {
    let (mut sum, mut last_unit) = (0, 0);
    for part in text.split_inclusive(char::is_alphabetic) {
        let (number, unit) = part.split_at(part.len() - 1);
        last_unit = match unit {
            "y" => 365 * 86_400,
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            _ => return text == "<invalid>" && seconds < 0,
        };
        let Ok(number) = number.parse::<i64>() else { return false };
        sum += number * last_unit;
    }
    (sum..sum + last_unit).contains(&seconds)
}
