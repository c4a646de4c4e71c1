//! etcd's members, as this node's member lists them.

use serde::Deserialize;

use super::answer::{REQUEST_TIMEOUT, count, parse_response};
use crate::credentials::{Loaded, identity_of, load, load_authority};
use crate::drivers::http::{Call, Trust, call, get};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::Certificate;
use crate::model::{
    Credential, CredentialName, Essential, EtcdMembers, EtcdPeer, MemberId, Membership, PeerUrl,
    Signer, TrialAt, Use, Voter,
};
use crate::observe::Node;
use crate::observe::services::together::run_concurrently;

/// The fields of etcd's answer in use, in the JSON form of its own protocol
/// (`etcdserverpb.MemberListResponse`), in which 64-bit numbers are strings.
#[derive(Deserialize)]
struct MemberList {
    header: Header,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Header {
    /// The member that answers.
    member_id: String,
}

#[derive(Deserialize)]
struct Member {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs", default)]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    is_learner: bool,
}

/// Asks this node's member for the list, and each member that votes for its health.
///
/// The list is asked without a quorum (`linearizable` is false where it is left out), so that there
/// is an answer where the quorum is lost. The own member is found by the id in the answer's header:
/// its addresses in the list need not be the one by which it is asked here.
///
/// The list is remembered, and decides later which members are asked and counted. While etcd is
/// down, any user of the machine can listen at its address: so the list has to come from a server
/// with a certificate of etcd's CA. Where that CA is not known here, the members are counted, and
/// no membership is noted.
pub(super) async fn members(node: &Node) -> Result<EtcdMembers, String> {
    let Etcd { own, serves, identity } = etcd(node)?;
    let url = format!("https://{own}/v3/cluster/member/list");
    let asked = Call { url: &url, json: Some("{}"), ..Call::default() };
    // Without the CA: it is on this machine, and gets nothing secret.
    let authorities = serving_authorities(node, serves);
    let is_verified = authorities.is_some();
    let trust = authorities.map_or(Trust::AnyCertificate, Trust::AuthoritiesDespiteExpiry);
    let answer = call(asked, &trust, Some(&identity), REQUEST_TIMEOUT).await;
    let list: MemberList = parse_response(&url, answer.map_err(|e| format!("{url}: {e}"))?)?;
    let own_id = list.header.member_id;
    let membership = membership(&own_id, &list.members).filter(|_| is_verified);
    let voters: Vec<Member> = list.members.into_iter().filter(|one| !one.is_learner).collect();
    let all = voters.len();
    let rank = voters.iter().filter(|one| number(&one.id) < number(&own_id)).count();
    let (own_ones, others): (Vec<Member>, Vec<Member>) =
        voters.into_iter().partition(|one| one.id == own_id);
    // A member that has not started yet has no address, and is not healthy.
    let own_urls = own_ones.first().map(|_| vec![format!("https://{own}")]);
    let asked = own_urls.into_iter().chain(others.into_iter().map(|one| one.client_urls));
    let healthy = run_concurrently(asked.map(|urls| is_healthy(urls, identity.clone()))).await;
    let (own, others) = healthy.split_at(own_ones.len().min(1));
    let own = own.first().map(|healthy| Voter { healthy: *healthy == Some(true) });
    Ok(EtcdMembers { voters: all, rank, own, healthy_others: count(others), membership })
}

/// The member with this id among those that vote.
fn membership(own_id: &str, members: &[Member]) -> Option<Membership> {
    let urls = |one: &Member| peer_urls(&one.peer_urls);
    let others = members.iter().filter(|one| !one.is_learner && one.id != own_id);
    Some(Membership {
        id: MemberId::new(number(own_id)?),
        urls: members.iter().find(|one| one.id == own_id).map(urls).unwrap_or_default(),
        others: others.map(|one| EtcdPeer { urls: urls(one) }).collect(),
    })
}

/// The URLs of a member at which it can be asked over TLS.
pub(super) fn peer_urls(listed: &[String]) -> Vec<PeerUrl> {
    listed.iter().filter_map(|url| url.parse().ok()).collect()
}

fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}

/// How this node's member is asked.
struct Etcd<'n> {
    /// Its address for clients.
    own: String,
    /// The credential that it serves there.
    serves: &'n CredentialName,
    /// An identity that it accepts.
    identity: ClientIdentity,
}

/// Returns the certificates of the CA by which a credential is judged: `None` where that CA is not
/// known, or did not sign its certificate.
fn serving_authorities(node: &Node, name: &CredentialName) -> Option<Vec<Certificate>> {
    let credential = node.catalog.credentials.iter().find(|one| one.name == *name)?;
    let authority = load_authority(&node.root, node.catalog.authority_of(credential)?);
    let stored = load(&node.root, credential).stored()?;
    let signed = authority.signer_of(&stored.certificate) == Signer::Authority;
    signed.then(|| authority.anchors().cloned().collect())
}

/// What etcd uses on this node.
pub(super) fn etcd_uses(node: &Node) -> impl Iterator<Item = &Use> {
    let services = node.catalog.services.iter();
    let etcd = services.filter(|service| service.essential == Some(Essential::EtcdMember));
    etcd.flat_map(|service| &service.uses)
}

/// Returns the client address of this node's member, and what is needed to ask it.
fn etcd(node: &Node) -> Result<Etcd<'_>, String> {
    let own = etcd_uses(node).find_map(|one| Some((one.served_at.clone()?, &one.credential)));
    let (own, serves) = own.ok_or("etcd's manifest names no address for clients")?;
    // The identities of its clients, the API server's first.
    let its_own = format!("https://{own}/");
    let of_etcd = |credential: &&Credential| {
        let at = node.catalog.trials.get(&credential.name);
        matches!(at, Some(TrialAt::Url { url, .. }) if url.starts_with(&its_own))
    };
    let mut found = node.catalog.credentials.iter().filter(of_etcd).filter_map(|credential| {
        match load(&node.root, credential) {
            Loaded::Whole(stored) => identity_of(&stored).ok(),
            _ => None,
        }
    });
    let identity = found.next().ok_or("there is no whole certificate here that etcd would know")?;
    Ok(Etcd { own, serves, identity })
}

/// Whether a member that listens at one of these URLs says that it is healthy: it does so only
/// while it has a leader and reads with a quorum.
async fn is_healthy(urls: Vec<String>, identity: ClientIdentity) -> bool {
    for url in &urls {
        let url = format!("{}/health", url.trim_end_matches('/'));
        // An impostor learns nothing: it is only counted.
        if get(&url, &Trust::AnyCertificate, Some(&identity), REQUEST_TIMEOUT)
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return true;
        }
    }
    false
}
