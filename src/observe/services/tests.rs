//! Observations of nodes where no service runs, and of another root directory.

use std::fs;
use std::path::Path;

use super::*;
use crate::model::Timestamp;
use crate::observe::Config;
use crate::sys::{FixedClock, Root, block_on};

const CLOCK: FixedClock = FixedClock(Timestamp::MIN);

fn fixture() -> Node {
    let dir = format!("{}/tests/fixtures/kubeadm-1.36-ecdsa-p256", env!("CARGO_MANIFEST_DIR"));
    Node::open(Root::open(Path::new(&dir)).unwrap(), &Config::Usual).unwrap()
}

fn now(node: &Node) -> ServicesSeen {
    block_on(services(node, &CLOCK)).unwrap()
}

fn unknown_everywhere(seen: &ServicesSeen, reason: &str) {
    assert_eq!(seen.services.len(), 5);
    for facts in &seen.services {
        assert_eq!(facts.presence, Presence::Unknown(reason.to_owned()));
        assert_eq!(facts.health, Health::NotAsked);
        let held: Vec<_> = facts.holds.iter().map(|held| (&held.credential, held.takes)).collect();
        let used: Vec<_> =
            facts.service.uses.iter().map(|one| (&one.credential, one.takes)).collect();
        assert_eq!(held, used);
        assert!(facts.holds.iter().all(|held| held.serves.is_none()
            && held.sees.is_empty()
            && held.connections == Some(Vec::new())));
    }
}

#[test]
fn another_root_is_not_queried() {
    let node = fixture();
    let seen = now(&node);
    unknown_everywhere(&seen, ANOTHER_ROOT);
    assert_eq!((seen.consumers, seen.notes), (vec![], vec![]));
}

#[test]
fn service_without_manifest_is_absent_on_any_root() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc/kubernetes/manifests")).unwrap();
    // Of a control-plane node.
    fs::create_dir_all(dir.path().join("etc/kubernetes/pki")).unwrap();
    fs::write(dir.path().join("etc/kubernetes/pki/ca.key"), "").unwrap();
    let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
    let seen = now(&node);
    let absent = seen.services.iter().filter(|facts| facts.presence == Presence::Absent);
    assert_eq!(
        absent.map(|facts| facts.service.name.as_str()).collect::<Vec<_>>(),
        ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    );
}

#[tokio::test]
async fn blocking_pool_of_another_runtime_may_wait() {
    let expected = services(&fixture(), &CLOCK).await;
    let blocked = tokio::task::spawn_blocking(|| now(&fixture())).await.unwrap();
    assert_eq!(blocked, expected);
    let node = fixture();
    let alone = one(&node, &CLOCK, &node.catalog.services[1]).await;
    assert_eq!(alone, expected.services[1]);
}
