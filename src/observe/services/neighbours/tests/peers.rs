//! Tests with members of etcd in this process, as they serve their peers.

use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::super::{PeerAccess, ask_peers};
use super::{node, put};
use crate::drivers::tls::servers::{
    Authority, Pair, VERSIONS, accept, answer_by_address, answer_with, server,
};
use crate::model::{
    Credential, EtcdPeer, MemberId, Membership, MembershipInquiry, MembershipVerdict, PeerAnswer,
};
use crate::observe::{Config, Node};
use crate::plan::judge_membership;
use crate::sys::Root;

/// An id that no floating-point number can hold.
const OWN: u64 = u64::MAX - 1;
const OWN_URL: &str = "https://192.0.2.7:2380";

/// Stands for the address of the member itself in its list.
const ITSELF: &str = "ITSELF";

/// The list of a member that knows this node's one by this id and address.
fn list(id: u64, url: &str) -> String {
    list_with(&[ITSELF], id, url)
}

/// The list of a member that knows these others, and this node's one by this id and address.
fn list_with(others: &[&str], id: u64, url: &str) -> String {
    let other = |(at, one): (usize, &&str)| {
        format!(
            "{{\"id\":{at},\"peerURLs\":[\"https://{one}\"],\"name\":\"cp2\",\
             \"clientURLs\":[\"https://192.0.2.1:2379\"]}},"
        )
    };
    let others: String = others.iter().enumerate().map(other).collect();
    format!(
        "[{others}\
         {{\"id\":{id},\"peerURLs\":[\"{url}\"],\"isLearner\":false,\"name\":\"cp1\"}}]\n"
    )
}

fn own_list() -> String {
    list(OWN, OWN_URL)
}

fn http(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Starts a member with this certificate, which wants clients of the authority.
async fn peer(authority: &Authority, pair: &Pair, body: &str) -> EtcdPeer {
    let config = server(pair, VERSIONS[1], Some(authority));
    let body = body.to_owned();
    let answer = move |at: &str| http(200, &body.replace(ITSELF, at));
    at(&answer_by_address(config, "GET /members HTTP/1.1\r\n", answer).await)
}

fn at(address: &str) -> EtcdPeer {
    EtcdPeer { urls: vec![format!("https://{address}").parse().unwrap()] }
}

fn etcd_peer(node: &Node) -> &Credential {
    node.catalog.credentials.iter().find(|one| one.name.as_str() == "etcd/peer").unwrap()
}

fn access(authority: &Authority) -> PeerAccess {
    let identity = authority.pair().identity();
    PeerAccess {
        identity,
        authorities: vec![authority.certificate()],
        addresses: vec![[192, 0, 2, 7].into()],
    }
}

/// A node whose etcd serves its peers at this URL.
fn node_at(own: &str) -> (tempfile::TempDir, Node) {
    let (dir, _) = node("127.0.0.1:1", "127.0.0.1:1", &Authority::new("ca"));
    let manifest = dir.path().join("etc/kubernetes/manifests/etcd.yaml");
    put(&manifest, "- --listen-peer-urls=", &format!("- --listen-peer-urls={own}"));
    let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
    (dir, node)
}

/// What these members say of this node's one, which does not run.
async fn asked(others: Vec<EtcdPeer>, access: PeerAccess) -> MembershipInquiry {
    let (_dir, node) = node_at("https://127.0.0.1:1");
    let urls = vec![OWN_URL.parse().unwrap()];
    let known = Membership { id: MemberId::new(OWN), urls, others };
    ask_peers(&node, etcd_peer(&node), Some(&known), access).await
}

fn answers(inquiry: MembershipInquiry) -> Vec<PeerAnswer> {
    match inquiry {
        MembershipInquiry::Asked { id, answers, .. } => {
            assert_eq!(id, MemberId::new(OWN));
            answers.into_iter().map(|(_, answer)| answer).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The others were removed while this node was off, or restarted as a single member.
#[tokio::test(flavor = "current_thread")]
async fn own_member_without_others_is_not_in_question() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let list = list_with(&[], OWN, OWN_URL);
            let with_learner = own_list().replacen("\"name\":", "\"isLearner\":true,\"name\":", 1);
            let known = |others| Membership {
                id: MemberId::new(OWN),
                urls: vec![OWN_URL.parse().unwrap()],
                others,
            };
            let others = vec![at("127.0.0.1:1")];
            for list in [list, with_learner] {
                let own = peer(&authority, &authority.pair_until(2001), &list).await.to_string();
                let (_dir, node) = node_at(&own);
                for known in [None, Some(known(others.clone()))] {
                    let access = access(&authority);
                    let found = ask_peers(&node, etcd_peer(&node), known.as_ref(), access).await;
                    assert_eq!(found, MembershipInquiry::Alone(MemberId::new(OWN)));
                }
            }
            // Neither what is remembered nor another server says so.
            let foreign = Authority::new("another");
            let own = peer(&foreign, &foreign.pair(), &list_with(&[], OWN, OWN_URL)).await;
            for own in [own.to_string(), "https://127.0.0.1:1".to_owned()] {
                let (_dir, node) = node_at(&own);
                let known = known(Vec::new());
                let access = access(&authority);
                let found = ask_peers(&node, etcd_peer(&node), Some(&known), access).await;
                assert!(matches!(found, MembershipInquiry::NotPossible { .. }), "{found:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn members_with_expired_certificates_are_counted() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let expired = authority.pair_until(2001);
            let others = vec![
                peer(&authority, &expired, &own_list()).await,
                peer(&authority, &expired, &own_list()).await,
            ];
            let found = asked(others, access(&authority)).await;
            assert_eq!(judge_membership(&found).verdict, MembershipVerdict::Belongs);
            assert_eq!(answers(found), [PeerAnswer::Lists, PeerAnswer::Lists]);
        })
        .await;
}

/// A disk that was restored on other hardware: the others list the member still.
#[tokio::test(flavor = "current_thread")]
async fn machine_without_the_address_of_the_member_asks_none() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let others = vec![peer(&authority, &authority.pair(), &own_list()).await];
            let restored =
                PeerAccess { addresses: vec![[192, 0, 2, 9].into()], ..access(&authority) };
            let found = asked(others, restored).await;
            let reason = "this machine has none of the addresses by which etcd knows its member \
                          (https://192.0.2.7:2380)";
            assert_eq!(found, MembershipInquiry::Elsewhere(reason.to_owned()));
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn member_that_does_not_know_this_one_says_so() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let pair = authority.pair();
            let elsewhere = "https://192.0.2.9:2380";
            // It would be read from right to left.
            let reversed = format!("{elsewhere}\u{202e}\u{2066}");
            let others = vec![
                peer(&authority, &pair, &list(OWN - 1, OWN_URL)).await,
                peer(&authority, &pair, &list(OWN, &reversed)).await,
                peer(&authority, &pair, "[]").await,
            ];
            assert_eq!(
                answers(asked(others, access(&authority)).await),
                [
                    PeerAnswer::DoesNotList,
                    PeerAnswer::ListsElsewhere(vec![elsewhere.to_owned()]),
                    PeerAnswer::DoesNotList
                ],
                "ids that differ by one are two"
            );
        })
        .await;
}

/// This node's member knew two others before it went off. Since then three more joined, or one of
/// the two was removed: the two alone can't say any more that it belongs to the cluster.
#[tokio::test(flavor = "current_thread")]
async fn changed_members_are_not_outvoted_by_earlier_ones() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let pair = authority.pair_until(2001);
            let more = [ITSELF, "192.0.2.3:2380", "192.0.2.4:2380", "192.0.2.5:2380"];
            let grown = list_with(&more, OWN, OWN_URL);
            let without_itself = list_with(&["192.0.2.3:2380"], OWN, OWN_URL);
            for (first, second, others, verdict) in [
                (own_list(), own_list(), 2, MembershipVerdict::Belongs),
                (list_with(&more[..2], OWN, OWN_URL), own_list(), 2, MembershipVerdict::Belongs),
                (grown.clone(), own_list(), 4, MembershipVerdict::Unknown),
                (grown.clone(), grown, 4, MembershipVerdict::Unknown),
                (without_itself, own_list(), 2, MembershipVerdict::Unknown),
            ] {
                let peers = vec![
                    peer(&authority, &pair, &first).await,
                    peer(&authority, &pair, &second).await,
                ];
                let urls = peers[0].to_string();
                let found = asked(peers, access(&authority)).await;
                let MembershipInquiry::Asked { others: counted, answers, .. } = &found else {
                    panic!("{found:?}")
                };
                assert_eq!(*counted, others, "{first}");
                assert_eq!(judge_membership(&found).verdict, verdict, "{first}");
                let silent = PeerAnswer::Silent(format!("{urls} does not list itself"));
                let lists_itself = first.contains(ITSELF);
                assert_eq!(answers[0].1, if lists_itself { PeerAnswer::Lists } else { silent });
            }
        })
        .await;
}

/// A learner has no say, also in what it says of itself.
#[tokio::test(flavor = "current_thread")]
async fn member_that_became_a_learner_does_not_count() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let learner = own_list().replacen("\"name\":", "\"isLearner\":true,\"name\":", 1);
            let others = vec![peer(&authority, &authority.pair(), &learner).await];
            let found = answers(asked(others, access(&authority)).await);
            assert!(matches!(&found[..], [PeerAnswer::Silent(_)]), "{found:?}");
        })
        .await;
}

/// None of them may count, delay the others, or be read to its end.
#[tokio::test(flavor = "current_thread")]
async fn useless_answers_are_silence_within_the_limit() {
    LocalSet::new()
        .run_until(async {
            let (authority, foreign) = (Authority::new("etcd-ca"), Authority::new("another"));
            let pair = authority.pair_until(2001);
            let huge = format!("[{}{}]", " ".repeat(2_000_000), &own_list()[1..]);
            let deep = "[".repeat(10_000);
            let hangs = accept(async |_stream| std::future::pending().await).await;
            let config = server(&pair, VERSIONS[1], Some(&authority));
            let refused = answer_with(config, "GET /members ", http(503, &own_list())).await;
            // It wants clients of another CA.
            let config = server(&pair, VERSIONS[1], Some(&foreign));
            let wants_others = answer_with(config, "GET /members ", http(200, &own_list())).await;
            let others = vec![
                peer(&authority, &pair, "garbage").await,
                peer(&authority, &pair, "{\"id\":1}").await,
                peer(&authority, &pair, "[{\"id\":-1}]").await,
                peer(&authority, &pair, "[{\"id\":\"7\"}]").await,
                peer(&authority, &pair, &format!("[{{\"id\":\"{}\"}}]", "x".repeat(50_000))).await,
                peer(&authority, &pair, &huge).await,
                peer(&authority, &pair, &deep).await,
                peer(&authority, &foreign.pair(), &own_list()).await,
                peer(&authority, &authority.pair_for(&["elsewhere"], 2001), &own_list()).await,
                at(&refused),
                at(&wants_others),
                at(&hangs),
                at("127.0.0.1:1"),
                EtcdPeer { urls: Vec::new() },
                peer(&authority, &pair, &own_list()).await,
            ];
            let urls: Vec<_> = others.iter().map(ToString::to_string).collect();
            let began = Instant::now();
            let mut found = answers(asked(others, access(&authority)).await);
            assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
            assert_eq!(found.pop(), Some(PeerAnswer::Lists), "the last one is a good one");
            for (url, answer) in urls.iter().zip(&found) {
                assert!(
                    matches!(
                        answer,
                        PeerAnswer::Silent(reason)
                            if reason.starts_with(url) && reason.len() <= 200
                    ),
                    "{answer:?}"
                );
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn member_is_asked_at_each_of_its_urls() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let hangs = accept(async |_stream| std::future::pending().await).await;
            let mut both = at(&hangs);
            both.urls.extend(peer(&authority, &authority.pair(), &own_list()).await.urls);
            assert_eq!(
                answers(asked(vec![both], access(&authority)).await),
                [PeerAnswer::Lists],
                "it is one member"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn own_member_that_runs_is_asked_for_the_others() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("etcd-ca");
            let expired = authority.pair_until(2001);
            let other = peer(&authority, &expired, &own_list()).await;
            let members = |name: &str| {
                format!(
                    "[{{\"id\":3,\"peerURLs\":[\"{other}\"],\"name\":\"cp2\"}},\
                     {{\"id\":4,\"peerURLs\":[\"{other}\"],\"name\":\"cp3\",\"isLearner\":true}},\
                     {{\"id\":{OWN},\"peerURLs\":[\"{OWN_URL}\"],\"name\":\"{name}\"}}]"
                )
            };
            let ask = async |own: &str, known: Option<&Membership>| {
                let (_dir, node) = node_at(own);
                ask_peers(&node, etcd_peer(&node), known, access(&authority)).await
            };
            let own = peer(&authority, &expired, &members("cp1")).await.to_string();
            let found = ask(&own, None).await;
            assert_eq!(answers(found), [PeerAnswer::Lists], "a learner does not count");
            // What is remembered may be older.
            let known = Membership { id: MemberId::new(1), urls: Vec::new(), others: Vec::new() };
            assert_eq!(answers(ask(&own, Some(&known)).await), [PeerAnswer::Lists]);
            let unnamed = peer(&authority, &expired, &members("cp9")).await.to_string();
            for (own, reason) in [
                (unnamed, "lists 0 members with the name \"cp1\""),
                ("https://127.0.0.1:1".to_owned(), "the connection was refused"),
            ] {
                let found = ask(&own, None).await;
                assert!(
                    matches!(
                        &found,
                        MembershipInquiry::NotPossible { reason: why, may_change: true }
                            if why.contains(reason)
                    ),
                    "{found:?}"
                );
            }
        })
        .await;
}
