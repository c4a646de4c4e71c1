//! The whole screen, in each state of a rotation.

mod picture;

use std::time::Duration;

use super::*;
use crate::formats::x509::{
    Certificate, DistinguishedName, KeyAlgorithm, NamePart, NewRoot, RootLifetime, Terms, new_root,
    random_serial, renew_root,
};
use crate::model::{NodeProgress, days};
use RotationLevel::{Clients, Distrusted, Renewed, Rest, Servers, Staged, Trusted};

/// 2027-01-15 08:00:00 UTC.
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

const GENERATION: u64 = 7;

fn minutes_ago(minutes: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(minutes * 60))
}

fn root(name: &str, years: u64) -> NewRoot {
    let name = DistinguishedName::from_parts(&[(NamePart::CommonName, name)]).unwrap();
    let lifetime = RootLifetime { now: NOW, tolerated_skew: days(0), validity: days(365 * years) };
    new_root(&name, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap()
}

fn intent(from: RotationLevel, to: RotationLevel, goal: RotationLevel) -> RotationIntent {
    RotationIntent {
        cluster: "1e5b".to_owned(),
        old: root("kubernetes", 1).certificate,
        new: root("kubernetes-2", 10).certificate,
        bridge: None,
        bridge_back: None,
        others: Vec::new(),
        front_proxy: None,
        agreement: Agreement { generation: GENERATION, from, to },
        goal,
        is_stepwise: false,
        paused: None,
        without: Vec::new(),
        started: minutes_ago(180),
        operator: "root@cp1".to_owned(),
    }
}

fn renewal() -> RotationIntent {
    let NewRoot { certificate: old, key } = root("kubernetes", 1);
    let terms = Terms {
        serial: random_serial().unwrap(),
        not_before: NOW,
        not_after: NOW.plus(days(3_650)),
    };
    let new = Certificate::from_der(&renew_root(&old, &key, &terms).unwrap()).unwrap();
    RotationIntent { old, new, ..intent(Rest, Renewed, Renewed) }
}

/// A node that reported by the present agreement so many minutes ago. The name of a worker begins
/// with w.
fn node(name: &str, is_done: bool, minutes: u64) -> NodeStanding {
    let role = if name.starts_with('w') { NodeRole::Worker } else { NodeRole::ControlPlane };
    NodeStanding {
        node: name.to_owned(),
        role,
        progress: Some(NodeProgress { generation: GENERATION, is_done }),
        reported: Some(minutes_ago(minutes)),
        waits: None,
        held: None,
    }
}

fn standing(intent: RotationIntent, nodes: Vec<NodeStanding>) -> Standing {
    Standing { intent, nodes, objects: Vec::new() }
}

fn shown(standing: &Standing) -> String {
    anstream::adapter::strip_str(&screen(standing, NOW)).to_string()
}

fn done(names: &[&str]) -> Vec<NodeStanding> {
    names.iter().map(|name| node(name, true, 5)).collect()
}

#[test]
fn node_on_the_way_is_named_with_what_it_waits_for() {
    let mut nodes = done(&["cp1", "cp2", "w1", "w2"]);
    let waits = Some("kube-apiserver reads its files again".to_owned());
    nodes.push(NodeStanding { waits, ..node("cp3", false, 3) });
    assert_eq!(
        shown(&standing(intent(Trusted, Clients, Servers), nodes)),
        "\
4 of 5 nodes have level clients, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level servers

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ########################   3 of 3          2 of 2    reached
trusted      ########################   3 of 3          2 of 2    reached
clients      ###################-----   2 of 3          2 of 2    under way
servers      ------------------------   0 of 3          0 of 2    goal
distrusted   ------------------------   0 of 3          0 of 2    after `complete`

WAITED FOR   LAST REPORT     WHY
cp3          3 minutes ago   kube-apiserver reads its files again

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
kubecertd ca rotate back           the nodes undo every level
"
    );
}

#[test]
fn level_that_was_ordered_is_reached() {
    let stepwise = RotationIntent { is_stepwise: true, ..intent(Trusted, Trusted, Trusted) };
    assert_eq!(
        shown(&standing(stepwise, done(&["cp1", "w1"]))),
        "\
All nodes have level trusted, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level trusted; each level is ordered

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ########################   1 of 1          1 of 1    reached
trusted      ########################   1 of 1          1 of 1    reached
clients      ------------------------   0 of 1          0 of 1    after `step`
servers      ------------------------   0 of 1          0 of 1    after `step`
distrusted   ------------------------   0 of 1          0 of 1    after `complete`

POSSIBLE NOW               EFFECT
kubecertd ca rotate step   the nodes go to level clients
kubecertd ca rotate back   the nodes undo every level
"
    );
}

#[test]
fn new_root_signs_everything_and_the_last_level_is_offered() {
    let reached = intent(Servers, Servers, Servers);
    assert_eq!(
        shown(&standing(reached, done(&["cp1"]))),
        "\
All certificates are of the new root CA, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level servers

LEVEL        NODES                      CONTROL PLANE   STATE
staged       ########################   1 of 1          reached
trusted      ########################   1 of 1          reached
clients      ########################   1 of 1          reached
servers      ########################   1 of 1          reached
distrusted   ------------------------   0 of 1          after `complete`

POSSIBLE NOW                   EFFECT
kubecertd ca rotate complete   the old root CA is trusted no more, and it ends
kubecertd ca rotate back       the nodes undo every level
"
    );
}

#[test]
fn nodes_are_asked_once_more_after_each_level() {
    let mut nodes = done(&["cp1", "cp2"]);
    let progress = Some(NodeProgress { generation: GENERATION - 1, is_done: true });
    nodes.extend(["cp3", "w1"].map(|name| NodeStanding { progress, ..node(name, true, 9) }));
    assert_eq!(
        shown(&standing(intent(Trusted, Trusted, Servers), nodes)),
        "\
2 of 4 nodes have confirmed level trusted, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level servers

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ########################   3 of 3          1 of 1    reached
trusted      ########################   3 of 3          1 of 1    being confirmed
clients      ------------------------   0 of 3          0 of 1    ahead
servers      ------------------------   0 of 3          0 of 1    goal
distrusted   ------------------------   0 of 3          0 of 1    after `complete`

WAITED FOR   LAST REPORT     WHY
cp3          9 minutes ago   the last change is not read yet
w1           9 minutes ago   the last change is not read yet

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
kubecertd ca rotate back           the nodes undo every level
"
    );
}

#[test]
fn paused_nodes_are_not_counted_nor_waited_for() {
    let paused = Some("a storm of alarms".to_owned());
    let paused = RotationIntent { paused, ..intent(Trusted, Clients, Servers) };
    let mut nodes = vec![node("cp1", false, 1), node("w1", false, 1)];
    let progress = Some(NodeProgress { generation: GENERATION - 1, is_done: true });
    nodes.push(NodeStanding { progress, ..node("w2", true, 9) });
    assert_eq!(
        shown(&standing(paused, nodes)),
        "\
Paused on the way from level trusted to level clients, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level servers
Paused:       a storm of alarms

LEVEL        NODES                      CONTROL PLANE   WORKERS     STATE
staged       ########################   1 of 1          2 of 2      reached
trusted      ########################   1 of 1          2 of 2      reached
clients                                 not known       not known   paused
servers      ------------------------   0 of 1          0 of 2      goal
distrusted   ------------------------   0 of 1          0 of 2      after `complete`

WAITED FOR   LAST REPORT     WHY
w2           9 minutes ago   the last change is not read yet

POSSIBLE NOW                 EFFECT
kubecertd ca rotate resume   the nodes go on
kubecertd ca rotate back     the nodes undo every level
"
    );
}

#[test]
fn way_back_counts_nodes_that_still_have_the_level() {
    let mut nodes = done(&["cp1"]);
    nodes.extend([node("cp2", false, 2), node("w1", false, 2), node("w2", true, 2)]);
    assert_eq!(
        shown(&standing(intent(Clients, Trusted, Rest), nodes)),
        "\
2 of 4 nodes have undone level clients, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         every level is undone

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ########################   2 of 2          2 of 2    to be undone
trusted      ########################   2 of 2          2 of 2    to be undone
clients      ############------------   1 of 2          1 of 2    being undone
servers      ------------------------   0 of 2          0 of 2    -
distrusted   ------------------------   0 of 2          0 of 2    -

WAITED FOR   LAST REPORT     WHY
cp2          2 minutes ago   on the way
w1           2 minutes ago   on the way

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
"
    );
}

#[test]
fn renewal_has_one_level() {
    let mut nodes = done(&["cp1", "cp2"]);
    nodes.push(node("w1", false, 4));
    assert_eq!(
        shown(&standing(renewal(), nodes)),
        "\
2 of 3 nodes have level renewed, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level renewed

LEVEL     NODES                      CONTROL PLANE   WORKERS   STATE
renewed   ################--------   2 of 2          0 of 1    under way

WAITED FOR   LAST REPORT     WHY
w1           4 minutes ago   on the way

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
kubecertd ca rotate back           the old certificate is put in place again
"
    );
}

#[test]
fn node_that_does_not_report_comes_first() {
    let mut nodes = vec![node("cp1", false, 2)];
    let silent = NodeStanding { progress: None, reported: None, ..node("w1", false, 0) };
    let held = Some("ca.crt: the certificate of CN=other".to_owned());
    nodes.extend([NodeStanding { held, ..node("cp2", false, 3) }, silent]);
    let objects = (1..=7).map(|number| format!("caBundle {number} is outdated")).collect();
    let without = vec!["w7".to_owned()];
    let intent = RotationIntent { without, ..intent(Servers, Distrusted, Distrusted) };
    assert_eq!(
        shown(&Standing { objects, ..standing(intent, nodes) }),
        "\
0 of 3 nodes have level distrusted, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level distrusted
Left out:     w7

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ################--------   2 of 2          0 of 1    reached
trusted      ################--------   2 of 2          0 of 1    reached
clients      ################--------   2 of 2          0 of 1    reached
servers      ################--------   2 of 2          0 of 1    reached
distrusted   ------------------------   0 of 2          0 of 1    under way

WAITED FOR   LAST REPORT     WHY
w1           -               no report: does kubecertd run there?
cp2          3 minutes ago   ca.crt: the certificate of CN=other
cp1          2 minutes ago   on the way

Objects of the API that are waited for
  caBundle 1 is outdated
  caBundle 2 is outdated
  caBundle 3 is outdated
  caBundle 4 is outdated
  caBundle 5 is outdated
  and 2 more

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
kubecertd ca rotate back           the nodes undo every level
"
    );
}

#[test]
fn many_nodes_are_counted_and_few_named() {
    let mut nodes = done(&["cp1", "cp2", "cp3"]);
    nodes.extend((1..=40).map(|number| node(&format!("w{number}"), number > 37, 2 * number)));
    nodes.extend((1..=3).map(|number| NodeStanding {
        progress: None,
        reported: None,
        ..node(&format!("worker-{number}.eu.example.com"), false, 0)
    }));
    assert_eq!(
        shown(&standing(intent(Rest, Staged, Servers), nodes)),
        "\
6 of 46 nodes have level staged, 2027-01-15 08:00 UTC

Old root CA:  CN=kubernetes, until 2028-01-15 08:00 UTC
New root CA:  CN=kubernetes-2, until 2037-01-12 08:00 UTC
Started:      2027-01-15 05:00 UTC by root@cp1, 3 hours ago
Goal:         level servers

LEVEL        NODES                      CONTROL PLANE   WORKERS   STATE
staged       ###---------------------   3 of 3          3 of 43   under way
trusted      ------------------------   0 of 3          0 of 43   ahead
clients      ------------------------   0 of 3          0 of 43   ahead
servers      ------------------------   0 of 3          0 of 43   goal
distrusted   ------------------------   0 of 3          0 of 43   after `complete`

WAITED FOR                           LAST REPORT           WHY
worker-1.eu.example.com and 2 more   -                     no report: does kubecertd run there?
w1, w2, w3, w4, w5 and 32 more       2 to 74 minutes ago   on the way

POSSIBLE NOW                       EFFECT
kubecertd ca rotate pause REASON   no node changes anything until it is resumed
kubecertd ca rotate back           the nodes undo every level
"
    );
}
