//! What must not happen: work where there is none, the same work again and again, or another
//! opinion than kubeadm's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{self, Snapshot};
use super::harness::{AT_WORK, Node, QUIET, in_seconds, schedule};

fn kubernetes(node: &Node) -> Snapshot {
    common::Node::at(node.path("etc/kubernetes")).snapshot()
}

/// Passes by their beginnings and reasons.
type Passes = BTreeSet<(String, String)>;

fn look(node: &Node, seen: &mut Passes) {
    seen.extend(
        node.status()
            .and_then(|status| status.last_pass)
            .map(|pass| (pass.began.to_string(), pass.why)),
    );
}

/// All passes that are seen in a while.
fn passes_within(node: &Node, time: Duration) -> Passes {
    let (end, mut seen) = (Instant::now() + time, Passes::new());
    while Instant::now() < end {
        look(node, &mut seen);
        std::thread::sleep(Duration::from_millis(200));
    }
    seen
}

/// All passes that are seen until there are so many.
fn passes(node: &Node, count: usize) -> Passes {
    let mut seen = Passes::new();
    node.until(&format!("{count} passes"), |node| {
        look(node, &mut seen);
        (seen.len() >= count).then_some(())
    });
    seen
}

/// Some passes by the schedule, and then one and a half without, in which its own reads could make
/// one: it waits for half a minute of quiet before it believes a change.
pub fn where_nothing_is_due_nothing_is_touched(node: &mut Node) {
    let before = kubernetes(node);
    node.install(&schedule("*/15 * * * * *"));
    let often = passes(node, 4);
    let unexpected: Vec<_> = often
        .iter()
        .filter(|(_, why)| why != "by schedule" && !why.contains("first start"))
        .collect();
    assert!(unexpected.is_empty(), "{often:?}");

    node.write("etc/kubecertd/kubecertd.toml", in_seconds(15));
    node.exec("systemctl reload kubecertd");
    node.until("the new schedule's only pass has ended", |node| {
        let status = node.status()?;
        let far = common::now().plus(Duration::from_secs(3600));
        (status.next_pass > Some(far) && status.line != AT_WORK).then_some(())
    });
    let still = passes_within(node, Duration::from_secs(90));
    assert_eq!(still.len(), 1, "nobody asked for these: {still:?}");
    assert_eq!(before.differences(&kubernetes(node)), Vec::<String>::new());
    assert!(!node.path("var/lib/kubecertd/backups").exists(), "there was nothing to keep");
}

pub fn an_authority_near_its_end_makes_no_loop(node: &mut Node) {
    node.shorten_authority("etc/kubernetes/pki/ca", 10);
    node.age_quiet(5);
    node.install(&schedule("*/5 * * * * *"));
    node.until_said("admin.conf: renewed until ");
    passes(node, 6);
    node.pass();
    let journal = node.journal("kubecertd");
    let end = kubecertd::formats::x509::certificates(&node.read("etc/kubernetes/pki/ca.crt"))
        .unwrap()
        .remove(0)
        .not_after;
    for (name, stored) in
        node.usable_credentials().into_iter().filter(|(name, _)| QUIET.contains(&name.as_str()))
    {
        assert_eq!(
            journal.matches(&format!("{name}: renewed until ")).count(),
            1,
            "{name}: {journal}"
        );
        let ends_with_it = stored.certificate.not_after == end;
        let of_another = name.starts_with("etcd/")
            || ["apiserver-etcd-client", "front-proxy-client"].contains(&name.as_str());
        assert_eq!(
            ends_with_it, !of_another,
            "{name} ends at {}, its authority at {end}",
            stored.certificate.not_after
        );
    }
}

/// What a tool says of a certificate: its end to the minute, how long that is, who signed it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: String,
    expires: String,
    left: String,
    authority: String,
    external: bool,
}

pub fn kubeadm_says_the_same_of_every_certificate(node: &mut Node) {
    node.install_settled();
    node.exec("systemctl stop kubecertd");
    for (name, days_left) in
        [("apiserver", 10), ("scheduler.conf", 2), ("front-proxy-client", -3), ("etcd/peer", 700)]
    {
        node.age(name, days_left);
    }
    node.remove("etc/kubernetes/pki/etcd/healthcheck-client.crt");
    node.remove("etc/kubernetes/pki/etcd/healthcheck-client.key");
    node.exec("mv /etc/kubernetes/pki/front-proxy-ca.key /root/");
    let theirs = said_by_kubeadm(&node.exec("kubeadm certs check-expiration 2>/dev/null"));
    let (mut ours, more) =
        said_by_kubecertd(&node.exec("kubecertd check -o json || true"), &theirs);
    ours.sort();
    assert_eq!(theirs.len(), 13, "{theirs:?}");
    assert_eq!(ours, theirs);
    // kubeadm 1.20 does not know it.
    assert_eq!(more, ["super-admin.conf"]);
    node.exec("mv /root/front-proxy-ca.key /etc/kubernetes/pki/");
}

/// `apiserver   Nov 21, 2027 22:22 UTC   364d   ca   no`, or `!MISSING! apiserver`. A kubeconfig's
/// authority is left out.
fn said_by_kubeadm(text: &str) -> Vec<Line> {
    let mut lines: Vec<_> = text.lines().filter_map(line_of_kubeadm).collect();
    lines.sort();
    lines
}

fn line_of_kubeadm(line: &str) -> Option<Line> {
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

/// The lines for what kubeadm speaks of, and the names of what it does not.
fn said_by_kubecertd(json: &str, theirs: &[Line]) -> (Vec<Line>, Vec<String>) {
    let json: Value = serde_json::from_str(json).unwrap();
    let all = ["certificates", "certificateAuthorities"]
        .into_iter()
        .flat_map(|list| json[list].as_array().unwrap());
    let (same, more): (Vec<_>, Vec<_>) = all
        .map(line_of_kubecertd)
        .partition(|line| theirs.iter().any(|their| their.name == line.name));
    (same, more.into_iter().map(|line| line.name).collect())
}

fn line_of_kubecertd(value: &Value) -> Line {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let missing = value["missing"].as_bool().unwrap();
    let is_kubeconfig = text("name").ends_with(".conf");
    let end = text("expirationDate");
    Line {
        name: text("name"),
        expires: if missing { String::new() } else { kubeadms_date(&end) },
        left: if missing {
            "missing".to_owned()
        } else {
            kubeadms_duration(value["residualTime"].as_i64().unwrap())
        },
        authority: if missing || is_kubeconfig { String::new() } else { text("caName") },
        external: !missing && value["externallyManaged"].as_bool().unwrap(),
    }
}

fn kubeadms_date(text: &str) -> String {
    let time: jiff::Timestamp = text.parse().unwrap();
    time.strftime("%b %d, %Y %H:%M").to_string()
}

fn kubeadms_duration(seconds: i64) -> String {
    match seconds / 86_400 {
        _ if seconds < 0 => "<invalid>".to_owned(),
        days @ 0..365 => format!("{days}d"),
        days => format!("{}y", days / 365),
    }
}
