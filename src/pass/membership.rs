//! Asks etcd's other members whether this node still belongs to their cluster, before credentials
//! are held back because it may not.

use std::net::IpAddr;

use crate::act::peer_identity;
use crate::credentials::load_authority;
use crate::drivers::addresses::own_addresses;
use crate::model::{
    Awaited, Credential, Deferral, Membership, MembershipFinding, MembershipInquiry, Timestamp,
};
use crate::observe::{Node, PeerAccess, Platform, ask_peers};
use crate::plan::judge_membership;
use crate::sys::block_on;

/// The credential by which a member of etcd is known to the others.
const PEER: &str = "etcd/peer";

/// Whether something waits for an operator's word that the node belongs to its cluster.
pub(super) fn is_in_question(deferred: &[Deferral]) -> bool {
    deferred.iter().any(|deferral| deferral.awaits == Awaited::Word)
}

/// Asks the other members, where this node can: `None` for the disk of another machine, whose
/// cluster need not be the one that this machine reaches.
pub(super) fn find_out(
    node: &Node,
    known: Option<&Membership>,
    now: Timestamp,
) -> Option<MembershipFinding> {
    if !node.root.is_host() || node.platform != Platform::Plain {
        return None;
    }
    Some(judge_membership(&inquire(node, known, now)))
}

fn inquire(node: &Node, known: Option<&Membership>, now: Timestamp) -> MembershipInquiry {
    let not_possible =
        |may_change| move |reason| MembershipInquiry::NotPossible { reason, may_change };
    let addresses = match own_addresses() {
        Ok(found) => found,
        Err(reason) => return not_possible(true)(reason),
    };
    match access(node, addresses, now) {
        Ok((peer, access)) => block_on(ask_peers(node, peer, known, access))
            .unwrap_or_else(|e| not_possible(true)(e.to_string())),
        // An identity takes other files on this node.
        Err(reason) => not_possible(false)(reason),
    }
}

fn access(
    node: &Node,
    addresses: Vec<IpAddr>,
    now: Timestamp,
) -> Result<(&Credential, PeerAccess), String> {
    let mut credentials = node.catalog.credentials.iter();
    let peer = credentials.find(|one| one.name.as_str() == PEER);
    let peer = peer.ok_or_else(|| format!("there is no {PEER} here"))?;
    let authority = node.catalog.authority_of(peer);
    let authority = authority.ok_or_else(|| format!("the CA of {PEER} is not known"))?;
    let loaded = load_authority(&node.root, authority);
    let identity = peer_identity(&node.root, peer, authority, &loaded, now);
    let identity = identity.map_err(|e| e.to_string())?;
    let authorities = loaded.anchors().cloned().collect();
    Ok((peer, PeerAccess { identity, authorities, addresses }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;
    use crate::common::trees::copy;
    use crate::drivers::tls::servers::{Authority, Pair, VERSIONS, answer_by_address, server};
    use crate::model::{EtcdPeer, MemberId, MembershipVerdict};
    use crate::observe::Config;
    use crate::sys::{Clock as _, Root, SystemClock};

    /// A node whose etcd has this CA, with its key or without it, and this certificate.
    fn node(
        authority: &Authority,
        with_key: bool,
        peer: Option<&Pair>,
    ) -> (tempfile::TempDir, Node) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc");
        copy(&tree, &dir.path().join("etc"));
        let write = |name: &str, text: Option<String>| {
            let file = dir.path().join("etc/kubernetes/pki/etcd").join(name);
            match text {
                Some(text) => fs::write(file, text).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
        };
        let manifest = dir.path().join("etc/kubernetes/manifests/etcd.yaml");
        let text = fs::read_to_string(&manifest).unwrap();
        // Its own member does not run.
        let text =
            text.replace("peer-urls=https://10.200.0.1:2380", "peer-urls=https://127.0.0.1:1");
        fs::write(&manifest, text).unwrap();
        write("ca.crt", Some(authority.certificate().to_pem()));
        write("ca.key", with_key.then(|| authority.key_pem()));
        write("peer.crt", peer.map(|pair| pair.certificate.to_pem()));
        write("peer.key", peer.map(|pair| pair.key_pem.clone()));
        let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
        (dir, node)
    }

    /// What is found out on this node, where the certificates of etcd's two other members, which
    /// list this one, have expired.
    async fn found(authority: &Authority, node: Node) -> MembershipFinding {
        let answer = |at: &str| {
            let body = format!(
                "[{{\"id\":7,\"peerURLs\":[\"https://192.0.2.7:2380\"],\"name\":\"cp1\"}},\
                 {{\"id\":8,\"peerURLs\":[\"https://{at}\"],\"name\":\"cp2\"}}]"
            );
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let mut others = Vec::new();
        for _ in 0..2 {
            let config = server(&authority.pair_until(2001), VERSIONS[1], Some(authority));
            let address = answer_by_address(config, "GET /members ", answer).await;
            others.push(EtcdPeer { urls: vec![format!("https://{address}").parse().unwrap()] });
        }
        let urls = vec!["https://192.0.2.7:2380".parse().unwrap()];
        let known = Membership { id: MemberId::new(7), urls, others };
        let now = SystemClock.now();
        let (peer, access) = match access(&node, vec![[192, 0, 2, 7].into()], now) {
            Ok(found) => found,
            Err(reason) => {
                let inquiry = MembershipInquiry::NotPossible { reason, may_change: false };
                return judge_membership(&inquiry);
            }
        };
        judge_membership(&ask_peers(&node, peer, Some(&known), access).await)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn node_with_expired_certificate_asks_with_passing_one() {
        LocalSet::new()
            .run_until(async {
                let authority = Authority::new("etcd-ca");
                let (dir, node) = node(&authority, true, Some(&authority.pair_until(2001)));
                let pki = dir.path().join("etc/kubernetes/pki/etcd");
                let files = || {
                    let names = fs::read_dir(&pki).unwrap().map(|entry| entry.unwrap().path());
                    let mut all: Vec<_> =
                        names.map(|path| (fs::read(&path).unwrap(), path)).collect();
                    all.sort();
                    all
                };
                let before = files();
                let finding = found(&authority, node).await;
                assert_eq!(finding.verdict, MembershipVerdict::Belongs, "{}", finding.text);
                assert_eq!(files(), before, "it is never written");
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn valid_certificate_needs_no_key_of_the_ca() {
        LocalSet::new()
            .run_until(async {
                let authority = Authority::new("etcd-ca");
                let (_dir, node) = node(&authority, false, Some(&authority.pair()));
                let finding = found(&authority, node).await;
                assert_eq!(finding.verdict, MembershipVerdict::Belongs, "{}", finding.text);
            })
            .await;
    }

    /// Whether the key of the CA is here, the credential, what is changed, and what is said.
    type Case<'c> = (bool, Option<&'c Pair>, &'c dyn Fn(&Path), [&'c str; 2]);

    #[tokio::test(flavor = "current_thread")]
    async fn no_member_is_asked_without_an_identity() {
        LocalSet::new()
            .run_until(async {
                let authority = Authority::new("etcd-ca");
                let expired = authority.pair_until(2001);
                let valid = authority.pair();
                let foreign = Authority::new("another").pair_until(2001);
                let not_yet = authority.pair_from_3000();
                let no_ca_key = "; and the key of its CA etcd-ca is not on this node";
                let no_key = "etcd/peer can't be used: /etc/kubernetes/pki/etcd/peer.key: does not \
                              exist, and its certificate does";
                let no_certificate = "etcd/peer can't be used: /etc/kubernetes/pki/etcd/peer.crt: \
                                      does not exist, and its key";
                let remove = |file: &'static str| {
                    move |pki: &Path| {
                        fs::remove_file(pki.join(file)).unwrap();
                    }
                };
                let key_of_another = |pki: &Path| {
                    fs::write(pki.join("peer.key"), Authority::new("a").pair().key_pem).unwrap();
                };
                let dir_as_key = |pki: &Path| {
                    fs::remove_file(pki.join("peer.key")).unwrap();
                    fs::create_dir(pki.join("peer.key")).unwrap();
                };
                let cases: [Case<'_>; 9] = [
                    (
                        false,
                        Some(&expired),
                        &|_| {},
                        ["etcd/peer can't be used: it has expired", no_ca_key],
                    ),
                    (false, Some(&not_yet), &|_| {}, ["it is not valid yet", no_ca_key]),
                    (false, Some(&valid), &remove("peer.key"), [no_key, no_ca_key]),
                    (false, Some(&valid), &key_of_another, ["peer.key: ", no_ca_key]),
                    (true, Some(&expired), &remove("peer.crt"), [no_certificate, ""]),
                    (true, Some(&valid), &dir_as_key, ["etcd/peer can't be used: ", "peer.key"]),
                    (true, Some(&expired), &remove("ca.crt"), ["etcd/peer", ""]),
                    (
                        true,
                        Some(&foreign),
                        &|_| {},
                        ["the certificate of etcd/peer is not one of etcd's CA", ""],
                    ),
                    (
                        true,
                        None,
                        &|_| {},
                        ["etcd/peer can't be used: it has no certificate on this node", ""],
                    ),
                ];
                for (with_key, peer, change, reasons) in cases {
                    let (dir, node) = node(&authority, with_key, peer);
                    change(&dir.path().join("etc/kubernetes/pki/etcd"));
                    let finding = found(&authority, node).await;
                    assert_eq!(finding.verdict, MembershipVerdict::Unknown);
                    let text = &finding.text;
                    assert!(reasons.iter().all(|one| text.contains(one)), "{text}");
                    let says_expired = reasons[0].ends_with("has expired");
                    assert_eq!(text.contains("expired"), says_expired, "{text}");
                }
            })
            .await;
    }

    /// The cluster of a mounted disk need not be the one that this machine reaches.
    #[tokio::test(flavor = "current_thread")]
    async fn disk_of_another_machine_asks_no_member() {
        let authority = Authority::new("etcd-ca");
        let (_dir, node) = node(&authority, true, Some(&authority.pair()));
        assert!(!node.root.is_host());
        let asked = spawn_blocking(move || find_out(&node, None, SystemClock.now()));
        assert_eq!(asked.await.unwrap(), None);
    }
}
