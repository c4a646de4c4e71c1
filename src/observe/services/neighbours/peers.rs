//! What the other members of etcd say of this node's member.
//!
//! etcd serves the list of its members at the addresses for its peers, from its own store: also
//! without a quorum, and also with a server certificate that has expired.

use std::net::IpAddr;

use serde::Deserialize;

use super::answer::{REQUEST_TIMEOUT, SHOWN_REASON, parse_response};
use super::members::{etcd_uses, peer_urls};
use super::own_urls::urls_at;
use crate::drivers::http::{Trust, get};
use crate::drivers::tls::ClientIdentity;
use crate::formats::plain_text::plain_text;
use crate::formats::x509::Certificate;
use crate::model::{
    Credential, EtcdPeer, MemberId, Membership, MembershipInquiry, PeerAnswer, PeerUrl,
};
use crate::observe::Node;
use crate::observe::services::together::{PANICKED, run_concurrently};

/// The most addresses of a foreign list that are shown.
const SHOWN_URLS: usize = 3;

/// The most characters that are shown of each.
const SHOWN_CHARS: usize = 60;

/// A member in the list that etcd serves to its peers (`membership.Member`), in which ids are
/// numbers of 64 bits. The form is the same from etcd 3.0 to 3.6.
#[derive(Deserialize)]
struct Member {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
    #[serde(default)]
    name: String,
    #[serde(rename = "isLearner", default)]
    is_learner: bool,
}

impl Member {
    fn urls(&self) -> &[String] {
        self.peer_urls.as_deref().unwrap_or_default()
    }
}

/// By what etcd's members know this node, and by what this node knows them.
#[derive(Clone, Debug)]
pub struct PeerAccess {
    /// An identity that they accept.
    pub identity: ClientIdentity,
    /// The certificates of etcd's CA.
    pub authorities: Vec<Certificate>,
    /// The addresses of this machine.
    pub addresses: Vec<IpAddr>,
}

/// Asks the other members of etcd whether this node's member belongs to the cluster: those that its
/// own one lists, or where it does not answer those that are remembered. They are asked only where
/// the machine has an address of this node's member.
pub async fn ask_peers(
    node: &Node,
    peer: &Credential,
    known: Option<&Membership>,
    access: PeerAccess,
) -> MembershipInquiry {
    let PeerAccess { identity, authorities, addresses } = access;
    let trust = Trust::AuthoritiesDespiteExpiry(authorities);
    let Membership { id, urls, others } =
        match (own_membership(node, peer, &trust, &identity).await, known) {
            (Ok(found), _) if found.others.is_empty() => return MembershipInquiry::Alone(found.id),
            (Ok(found), _) => found,
            (Err(_), Some(known)) if !known.others.is_empty() => known.clone(),
            (Err(reason), _) => {
                let reason = format!(
                    "their addresses are not remembered, and this node's own member does not list \
                     them: {}",
                    plain_text(&reason, SHOWN_REASON)
                );
                return MembershipInquiry::NotPossible { reason, may_change: true };
            }
        };
    // The member of a disk that was restored elsewhere is still listed, at the earlier machine.
    let urls = match urls_at(&urls, &addresses).await {
        Ok(urls) => urls,
        Err(inquiry) => return inquiry,
    };
    let question = Question { id, urls, trust, identity };
    // Each URL apart, so that a hanging one delays no other one of the member.
    let asked = others.iter().enumerate().flat_map(|(at, one)| {
        let question = &question;
        one.urls.iter().map(move |url| {
            let (url, peer, question) = (url.clone(), one.clone(), question.clone());
            async move { (at, question.ask(&peer, &url).await) }
        })
    });
    let found: Vec<_> = run_concurrently(asked).await.into_iter().flatten().collect();
    let answer = |at: usize, one: &EtcdPeer| {
        let silent = || {
            let reason = if one.urls.is_empty() { "it can't be asked" } else { PANICKED };
            PeerAnswer::Silent(format!("{one}: {reason}"))
        };
        let of_it = found.iter().filter(|(of, _)| *of == at).map(|(_, answer)| &answer.said);
        of_it.min_by_key(|answer| rank(answer)).cloned().unwrap_or_else(silent)
    };
    let answers: Vec<_> =
        others.iter().enumerate().map(|(at, one)| (one.clone(), answer(at, one))).collect();
    let listed = found.iter().map(|(_, answer)| answer.others).max().unwrap_or_default();
    MembershipInquiry::Asked { id, others: answers.len().max(listed), answers }
}

/// Of the answers at several URLs of one member, a denial counts first, and silence last.
fn rank(answer: &PeerAnswer) -> u8 {
    match answer {
        PeerAnswer::DoesNotList => 0,
        PeerAnswer::ListsElsewhere(_) => 1,
        PeerAnswer::Lists => 2,
        PeerAnswer::Silent(_) => 3,
    }
}

/// What each of the other members is asked about this node's one, and how.
#[derive(Clone)]
struct Question {
    /// Its id.
    id: MemberId,
    /// Its URLs at this machine.
    urls: Vec<PeerUrl>,
    trust: Trust,
    identity: ClientIdentity,
}

/// What a member answers at one of its URLs.
struct Answer {
    said: PeerAnswer,
    /// How many members besides this node's one vote, by its list.
    others: usize,
}

impl Question {
    async fn ask(&self, peer: &EtcdPeer, url: &PeerUrl) -> Answer {
        match list(&format!("{url}/members"), &self.trust, &self.identity).await {
            Ok(members) => Answer {
                said: self.judge(peer, url, &members),
                others: members.iter().filter(|one| self.is_other_voter(one)).count(),
            },
            Err(reason) => {
                Answer { said: PeerAnswer::Silent(plain_text(&reason, SHOWN_REASON)), others: 0 }
            }
        }
    }

    fn judge(&self, peer: &EtcdPeer, url: &PeerUrl, members: &[Member]) -> PeerAnswer {
        let Some(listed) = members.iter().find(|one| MemberId::new(one.id) == self.id) else {
            return PeerAnswer::DoesNotList;
        };
        if !is_at(listed, &self.urls) {
            let urls = listed.urls().iter().take(SHOWN_URLS);
            return PeerAnswer::ListsElsewhere(
                urls.map(|url| plain_text(url, SHOWN_CHARS)).collect(),
            );
        }
        // A member that was removed itself does not learn of later decisions.
        if members.iter().any(|one| self.is_other_voter(one) && is_at(one, &peer.urls)) {
            PeerAnswer::Lists
        } else {
            PeerAnswer::Silent(format!("{url} does not list itself"))
        }
    }

    fn is_other_voter(&self, member: &Member) -> bool {
        MemberId::new(member.id) != self.id && !member.is_learner
    }
}

/// Whether a member is listed with one of these URLs.
fn is_at(member: &Member, urls: &[PeerUrl]) -> bool {
    let is_one = |listed: &String| urls.iter().any(|url| url.to_string() == *listed);
    member.urls().iter().any(is_one)
}

async fn list(url: &str, trust: &Trust, identity: &ClientIdentity) -> Result<Vec<Member>, String> {
    let answer = get(url, trust, Some(identity), REQUEST_TIMEOUT).await;
    parse_response(url, answer.map_err(|e| format!("{url}: {e}"))?)
}

/// The members as this node's own one lists them to its peers. It is found by its name, which etcd
/// publishes with the list.
async fn own_membership(
    node: &Node,
    peer: &Credential,
    trust: &Trust,
    identity: &ClientIdentity,
) -> Result<Membership, String> {
    let name = node.catalog.etcd_name.as_deref();
    let name = name.ok_or("etcd's manifest does not say its name")?;
    let served_at = etcd_uses(node).find(|one| one.credential == peer.name);
    let own = served_at.and_then(|one| one.served_at.as_ref());
    let own = own.ok_or("etcd's manifest names no address for its peers")?;
    let members = list(&format!("https://{own}/members"), trust, identity).await?;
    let named: Vec<&Member> = members.iter().filter(|one| one.name == name).collect();
    let [found] = named.as_slice() else {
        return Err(format!(
            "https://{own}/members lists {} members with the name {name:?}",
            named.len()
        ));
    };
    let others = members.iter().filter(|one| one.id != found.id && !one.is_learner);
    Ok(Membership {
        id: MemberId::new(found.id),
        urls: peer_urls(found.urls()),
        others: others.map(|one| EtcdPeer { urls: peer_urls(one.urls()) }).collect(),
    })
}
