//! Rollback of renewed certificates, with servers in this process.

use std::net::TcpListener;
use std::time::Duration;

use super::super::trial::tests::{Client, Node, path};
use super::*;
use crate::model::days;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Where nothing listens: what is renewed is renewed without a trial.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn at(server: &str) -> TrialAt {
    TrialAt::Url { url: format!("https://{server}/"), user: None }
}

/// A node whose two credentials were renewed without a trial.
fn renewed(client: &Client) -> Node {
    let node = Node::new(client, &nowhere());
    let (outcomes, _) = node.renew([at(&nowhere()), at(&nowhere())]);
    assert!(outcomes.iter().all(|(_, result)| result.is_ok()), "{outcomes:?}");
    node
}

impl Node {
    fn suspects(&self, server: &str) -> Vec<Suspect> {
        let suspect = |facts: crate::model::CredentialFacts| {
            let fingerprint = facts.material.leaf().unwrap().fingerprint;
            Suspect { credential: facts.credential, fingerprint, trial: at(server) }
        };
        self.facts().into_iter().map(suspect).collect()
    }

    fn back(&self, suspects: &[Suspect], now: Timestamp) -> Vec<RolledBack> {
        let (mut store, _) = Store::open(&self.root, &path("/state"), Duration::ZERO, &[]).unwrap();
        roll_back(&self.root, &mut store, suspects, now, 3)
    }

    fn in_place(&self) -> Vec<Digest> {
        self.facts().iter().map(|facts| facts.material.leaf().unwrap().fingerprint).collect()
    }
}

#[test]
fn old_certificate_is_restored_if_only_it_is_accepted() {
    let client = Client::new();
    let (old, node) = (client.old.certificate.fingerprint, renewed(&client));
    let server = client.server(200, 401);
    let back = node.back(&node.suspects(&server), NOW);
    let refused: Vec<_> = back
        .iter()
        .map(|one| (one.refused.credential.as_str(), one.refused.answer.as_str()))
        .collect();
    assert_eq!(refused, [("one", "status 401"), ("admin.conf", "status 401")]);
    assert!(back.iter().all(|one| one.result.as_ref().unwrap().fingerprint == old), "{back:?}");
    assert!(back.iter().all(|one| one.refused.fingerprint == old.to_string()
        && one.refused.server == format!("https://{server}")));
    assert_eq!(
        node.in_place(),
        [old; 2],
        "keys and certificates fit, or they would have no certificate"
    );
    assert_eq!(
        node.files(),
        ["admin.conf", "ca.crt", "ca.key", "one.crt", "one.key", "state"],
        "nothing stays behind"
    );
}

#[test]
fn roll_back_keeps_other_edits_of_kubeconfig() {
    let client = Client::new();
    let node = renewed(&client);
    let file = node.dir.path().join("admin.conf");
    let text = std::fs::read_to_string(&file).unwrap().replace("name: k\n", "name: k # edited\n");
    std::fs::write(&file, &text).unwrap();
    assert_eq!(node.back(&node.suspects(&client.server(200, 401)), NOW).len(), 2);
    assert!(std::fs::read_to_string(&file).unwrap().contains("name: k # edited\n"));
}

#[test]
fn nothing_is_rolled_back_without_proof() {
    let client = Client::new();
    let node = renewed(&client);
    let new = node.in_place();
    // Accepts the new one, refuses both, is broken, is down.
    for server in
        [client.server(401, 200), client.server(401, 401), client.server(200, 500), nowhere()]
    {
        let back = node.back(&node.suspects(&server), NOW);
        assert!(back.is_empty(), "{back:?}");
    }
    assert_eq!(node.in_place(), new);
}

#[test]
fn expired_or_changed_certificate_is_not_rolled_back() {
    let client = Client::new();
    let node = renewed(&client);
    let (new, server) = (node.in_place(), client.server(200, 401));
    let after_its_end = client.old.certificate.not_after.plus(Duration::from_secs(1));
    assert!(node.back(&node.suspects(&server), after_its_end).is_empty());
    let suspects = node
        .suspects(&server)
        .into_iter()
        .map(|one| Suspect { fingerprint: Digest::of(b"ours"), ..one });
    assert!(node.back(&suspects.collect::<Vec<_>>(), NOW).is_empty());
    assert_eq!(node.in_place(), new);
}

#[test]
fn missing_backup_prevents_roll_back() {
    let client = Client::new();
    let node = Node::new(&client, &nowhere());
    assert!(node.back(&node.suspects(&client.server(401, 401)), NOW.plus(days(1))).is_empty());
}
