//! Tests with clusters of servers in this process: one member or server of each is this node's, as
//! its manifests and kubeconfigs say.

use std::fs;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

mod peers;

use super::servers::is_ready;
use super::*;
use crate::common::trees::copy;
use crate::drivers::http::{Trust, https_url};
use crate::drivers::tls::servers::{
    Authority, VERSIONS, accept, answer_with, server as tls_server,
};
use crate::model::{EtcdMembers, EtcdPeer, MemberId, Membership, Voter};
use crate::observe::Config;
use crate::sys::Root;

/// Starts a server that answers by the request line; returns `host:port`.
async fn answers(
    authority: &Authority,
    answer: impl Fn(&str) -> (u16, String) + 'static,
) -> String {
    let config = tls_server(&authority.pair(), VERSIONS[1], None);
    accept(async move |stream| {
        let Ok(mut stream) = TlsAcceptor::from(config.clone()).accept(stream).await else { return };
        let mut request = vec![0; 8_192];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let line = String::from_utf8_lossy(&request[..length])
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let (status, body) = answer(&line);
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// Replaces every line that begins like this, apart from its indentation.
fn put(file: &Path, beginning: &str, line: &str) {
    let text = fs::read_to_string(file).unwrap();
    let change = |old: &str| match old.trim_start().strip_prefix(beginning) {
        Some(_) => format!("{}{line}", &old[..old.len() - old.trim_start().len()]),
        None => old.to_owned(),
    };
    fs::write(file, text.lines().map(change).collect::<Vec<_>>().join("\n") + "\n").unwrap();
}

/// Returns a node whose etcd and whose kubeconfigs' server are at these addresses, both with this
/// CA.
fn node(etcd: &str, api: &str, authority: &Authority) -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc");
    copy(&fixture, &dir.path().join("etc"));
    let file = |name: &str| dir.path().join("etc/kubernetes").join(name);
    put(
        &file("manifests/etcd.yaml"),
        "- --listen-client-urls=",
        &format!("- --listen-client-urls=https://{etcd}"),
    );
    let etcd_file = |name: &str, text: String| {
        fs::write(file("pki/etcd").join(name), text).unwrap();
    };
    let pair = authority.pair();
    etcd_file("ca.crt", authority.certificate().to_pem());
    etcd_file("server.crt", pair.certificate.to_pem());
    etcd_file("server.key", pair.key_pem);
    let data = BASE64_STANDARD.encode(authority.certificate().to_pem());
    for name in ["admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf"] {
        put(&file(name), "server:", &format!("server: https://{api}"));
        put(
            &file(name),
            "certificate-authority-data:",
            &format!("certificate-authority-data: {data}"),
        );
    }
    let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
    (dir, node)
}

/// The member of etcd whose peers reach it at this address.
fn peer_at(address: &str) -> EtcdPeer {
    EtcdPeer { urls: vec![format!("https://{address}").parse().unwrap()] }
}

async fn member(authority: &Authority, status: u16) -> String {
    answers(authority, move |line| {
        if line.starts_with("GET /health ") {
            (status, String::new())
        } else {
            (404, String::new())
        }
    })
    .await
}

/// Starts this node's member, with id 7, which lists these members: `id address`, a learner with
/// the word behind it. The address `own` stands for another one of its own: the one by which its
/// peers and their clients know it.
async fn own_member(authority: &Authority, status: u16, members: &[String]) -> String {
    let of = |member: &String| {
        let mut words = member.split(' ');
        let (id, address) = (words.next().unwrap(), words.next().unwrap());
        let learner = if words.next().is_some() { ",\"isLearner\":true" } else { "" };
        let address = if address == "own" { "192.0.2.7:2379" } else { address };
        format!(
            "{{\"ID\":\"{id}\",\"peerURLs\":[\"https://{address}\"],\
             \"clientURLs\":[\"https://{address}\"]{learner}}}"
        )
    };
    let members = members.iter().map(of).collect::<Vec<_>>().join(",");
    let list = format!(
        "{{\"header\":{{\"member_id\":\"7\",\"raft_term\":\"2\"}},\"members\":[{members}]}}"
    );
    answers(authority, move |line| {
        if line.starts_with("POST /v3/cluster/member/list ") {
            (200, list.clone())
        } else if line.starts_with("GET /health ") {
            (status, String::new())
        } else {
            (404, String::new())
        }
    })
    .await
}

/// What is found of a cluster of etcd with these members, where this node's answers with `status`
/// when asked for its health.
async fn members_of(authority: &Authority, status: u16, members: &[String]) -> EtcdMembers {
    let own = own_member(authority, status, members).await;
    let (_dir, node) = node(&own, "127.0.0.1:1", authority);
    match neighbours(&node, Essential::EtcdMember).await {
        Ok(Neighbours::Members(members)) => members,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn etcd_members_are_listed_by_etcd_and_each_is_probed() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let members = [
                format!("1 {}", member(&authority, 200).await),
                format!("2 {}", member(&authority, 503).await),
                "3 127.0.0.1:1".to_owned(),
                "7 own".to_owned(),
            ];
            assert_eq!(
                members_of(&authority, 200, &members).await,
                EtcdMembers {
                    voters: 4,
                    rank: 3,
                    own: Some(Voter { healthy: true }),
                    healthy_others: 1,
                    membership: Some(Membership {
                        id: MemberId::new(7),
                        urls: vec!["https://192.0.2.7:2379".parse().unwrap()],
                        others: members[..3].iter().map(|one| peer_at(&one[2..])).collect(),
                    }),
                },
                "the own member is not one of the others, though its address is another one"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn learners_and_removed_members_are_no_voters() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let well = member(&authority, 200).await;
            let with_learner = [format!("1 {well}"), format!("2 {well} learner"), "7 own".into()];
            let own = Some(Voter { healthy: false });
            let found = members_of(&authority, 503, &with_learner).await;
            let membership = found.membership.clone();
            assert_eq!(
                found,
                EtcdMembers { voters: 2, rank: 1, own, healthy_others: 1, membership }
            );
            assert_eq!(
                found.membership.unwrap().others,
                [peer_at(&well)],
                "a learner has no say in who belongs to the cluster"
            );
            for without_own in
                [vec![format!("1 {well}"), "7 own learner".into()], vec![format!("1 {well}")]]
            {
                let found = members_of(&authority, 200, &without_own).await;
                let membership = found.membership.clone();
                assert_eq!(
                    found,
                    EtcdMembers { voters: 1, rank: 1, own: None, healthy_others: 1, membership },
                    "{without_own:?}"
                );
                let Membership { id, urls, others } = found.membership.unwrap();
                assert_eq!((id, others), (MemberId::new(7), vec![peer_at(&well)]));
                assert_eq!(urls.is_empty(), without_own.len() == 1);
            }
        })
        .await;
}

/// While etcd is down, any user of the machine can listen at its address.
#[tokio::test(flavor = "current_thread")]
async fn list_of_another_server_at_etcds_address_is_refused() {
    LocalSet::new()
        .run_until(async {
            let (authority, foreign) = (Authority::new("etcd-ca"), Authority::new("another"));
            let own = own_member(&foreign, 200, &["7 own".to_owned()]).await;
            let (_dir, node) = node(&own, "127.0.0.1:1", &authority);
            let reason = neighbours(&node, Essential::EtcdMember).await.unwrap_err();
            let url = format!("https://{own}/v3/cluster/member/list: ");
            assert!(reason.starts_with(&url) && reason.contains("certificate"), "{reason}");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn list_of_expired_etcd_is_noted() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let list = "{\"header\":{\"member_id\":\"7\"},\"members\":[{\"ID\":\"7\"}]}";
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len());
            let config = tls_server(&authority.pair_until(2001), VERSIONS[1], None);
            let own = answer_with(config, "POST /v3/cluster/member/list ", answer).await;
            let (_dir, node) = node(&own, "127.0.0.1:1", &authority);
            let found = neighbours(&node, Essential::EtcdMember).await.unwrap();
            let Neighbours::Members(members) = found else { panic!("{found:?}") };
            assert_eq!(members.membership.unwrap().id, MemberId::new(7));
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn members_are_counted_and_not_noted_without_etcds_ca() {
    LocalSet::new()
        .run_until(async {
            let (authority, unusual) = (Authority::new("etcd-ca"), Authority::new("unusual"));
            let own = own_member(&unusual, 200, &["7 own".to_owned()]).await;
            for lacks_ca in [false, true] {
                let (dir, node) = node(&own, "127.0.0.1:1", &authority);
                let pki = dir.path().join("etc/kubernetes/pki/etcd");
                if lacks_ca {
                    fs::remove_file(pki.join("ca.crt")).unwrap();
                } else {
                    fs::write(pki.join("server.crt"), unusual.pair().certificate.to_pem()).unwrap();
                }
                let found = neighbours(&node, Essential::EtcdMember).await.unwrap();
                let Neighbours::Members(members) = found else { panic!("{found:?}") };
                assert_eq!((members.voters, members.membership), (1, None), "{lacks_ca}");
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn etcd_without_member_list_is_reported() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let own = member(&authority, 200).await;
            let (_dir, node) = node(&own, "127.0.0.1:1", &authority);
            let reason = neighbours(&node, Essential::EtcdMember).await.unwrap_err();
            assert_eq!(
                reason,
                format!("https://{own}/v3/cluster/member/list answers with status 404")
            );
        })
        .await;
}

/// Starts an API server with these endpoints besides the node's own.
async fn api(authority: &Authority, others: &'static str) -> String {
    answers(authority, move |line| match line {
        line if line.starts_with("GET /readyz ") => (200, "ok".to_owned()),
        line if line.starts_with("GET /api/v1/namespaces/default/endpoints/kubernetes ") => {
            let own = "\"addresses\":[{\"ip\":\"10.200.0.1\"}";
            let text = format!(
                "{{\"kind\":\"Endpoints\",\"subsets\":[{{{own}{others}],\
                 \"ports\":[{{\"name\":\"https\",\"port\":1}}]}}]}}"
            );
            (200, text)
        }
        _ => (404, String::new()),
    })
    .await
}

async fn servers_of(others: &'static str) -> Neighbours {
    let authority = Authority::new("ca");
    let address = api(&authority, others).await;
    let (_dir, node) = node("127.0.0.1:1", &address, &authority);
    neighbours(&node, Essential::ApiServer).await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn api_servers_are_listed_by_the_cluster() {
    LocalSet::new()
        .run_until(async {
            assert_eq!(servers_of("").await, Neighbours::Servers { others: 0, ready: 0 });
            // No server listens there.
            assert_eq!(
                servers_of(",{\"ip\":\"127.0.0.1\"}").await,
                Neighbours::Servers { others: 1, ready: 0 }
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn ready_member_is_counted() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("ca");
            let ready = api(&authority, "").await;
            let trust = Trust::Authorities(vec![authority.certificate()]);
            assert!(is_ready(format!("https://{ready}"), trust.clone()).await);
            assert!(!is_ready("https://127.0.0.1:1".to_owned(), trust).await);
            let stranger = Trust::Authorities(vec![Authority::new("another").certificate()]);
            assert!(
                !is_ready(format!("https://{ready}"), stranger).await,
                "it is not one of the cluster's"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn silent_api_is_reported_for_each_kubeconfig() {
    let authority = Authority::new("ca");
    let (_dir, node) = node("127.0.0.1:1", "127.0.0.1:1", &authority);
    let reason = neighbours(&node, Essential::ApiServer).await.unwrap_err();
    assert!(
        reason.starts_with(
            "admin.conf: https://127.0.0.1:1/api/v1/namespaces/default/endpoints/kubernetes: "
        ),
        "{reason}"
    );
    assert!(reason.contains("; scheduler.conf: "), "{reason}");
}

/// Whether kube-scheduler could work with an API server that answers so.
async fn leader_lease_with(status: Option<u16>) -> Result<(), String> {
    let authority = Authority::new("ca");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler";
    let server = answers(&authority, move |line| match status {
        Some(status) if line.starts_with(&format!("GET {lease} ")) => (status, String::new()),
        _ => (404, String::new()),
    });
    let address = if status.is_some() { server.await } else { "127.0.0.1:1".to_owned() };
    let (_dir, node) = node("127.0.0.1:1", &address, &authority);
    let services = &node.catalog.services;
    let service = services.iter().find(|one| one.name.as_str() == "kube-scheduler").unwrap();
    leader_lease(&node, service).await
}

#[tokio::test(flavor = "current_thread")]
async fn api_server_of_a_leader_answers_or_not() {
    LocalSet::new()
        .run_until(async {
            for status in [200, 401, 403, 404] {
                assert_eq!(leader_lease_with(Some(status)).await, Ok(()), "{status}");
            }
            for status in [429, 500, 503] {
                let reason = leader_lease_with(Some(status)).await.unwrap_err();
                assert!(reason.ends_with(&format!(" answers with status {status}")), "{reason}");
            }
            let stranger = Authority::new("another");
            let server = answers(&stranger, |_| (503, String::new())).await;
            let (_dir, node) = node("127.0.0.1:1", &server, &Authority::new("ca"));
            let mut services = node.catalog.services.iter();
            let service = services.find(|one| one.name.as_str() == "kube-scheduler").unwrap();
            assert_eq!(leader_lease(&node, service).await, Ok(()), "it has its own way to it");
            let reason = leader_lease_with(None).await.unwrap_err();
            assert!(reason.starts_with("https://127.0.0.1:1: "), "{reason}");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn api_server_behind_a_proxy_is_not_asked() {
    let (dir, _) = node("127.0.0.1:1", "127.0.0.1:1", &Authority::new("ca"));
    let file = dir.path().join("etc/kubernetes/scheduler.conf");
    put(&file, "server:", "server: https://127.0.0.1:1\n    proxy-url: http://127.0.0.1:2");
    let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
    let mut services = node.catalog.services.iter();
    let service = services.find(|one| one.name.as_str() == "kube-scheduler").unwrap();
    assert_eq!(leader_lease(&node, service).await, Ok(()));
}

#[tokio::test(flavor = "current_thread")]
async fn service_without_leader_needs_no_api_server() {
    let authority = Authority::new("ca");
    let (_dir, node) = node("127.0.0.1:1", "127.0.0.1:1", &authority);
    let services = &node.catalog.services;
    let etcd = services.iter().find(|one| one.name.as_str() == "etcd").unwrap();
    assert_eq!(leader_lease(&node, etcd).await, Ok(()));
}

#[test]
fn ipv6_address_is_written_in_brackets() {
    assert_eq!(
        [https_url("10.0.0.1", 6443), https_url("fd00::1", 6443)],
        ["https://10.0.0.1:6443", "https://[fd00::1]:6443"]
    );
}
