//! Which of the URLs of this node's member of etcd are at this machine.

use std::net::{IpAddr, ToSocketAddrs as _};

use super::answer::SHOWN_REASON;
use crate::formats::plain_text::plain_text;
use crate::model::{MembershipInquiry, PeerUrl};
use crate::observe::services::together::{PANICKED, run_blocking, run_concurrently};

/// The most URLs of one member that are looked at.
const MAX_URLS: usize = 16;

/// Returns those of the member's URLs whose host is one of this machine's addresses; a name is
/// looked up. A disk that was restored on another machine has none.
///
/// # Errors
/// What becomes of the question where there is none: it names the URLs.
pub(super) async fn urls_at(
    urls: &[PeerUrl],
    addresses: &[IpAddr],
) -> Result<Vec<PeerUrl>, MembershipInquiry> {
    let not_known = |reason| Err(MembershipInquiry::NotPossible { reason, may_change: true });
    if urls.is_empty() {
        return not_known(
            "the address by which etcd knows its member is not known here".to_owned(),
        );
    }
    if addresses.is_empty() {
        return not_known("this machine has no address".to_owned());
    }
    let urls: Vec<_> = urls.iter().take(MAX_URLS).collect();
    let hosts = urls.iter().map(|url| addresses_of(url.host().to_owned()));
    let found = run_concurrently(hosts.collect::<Vec<_>>()).await;
    let (mut here, mut elsewhere, mut are_known) = (Vec::new(), Vec::new(), true);
    for (url, found) in urls.into_iter().zip(found) {
        match found.unwrap_or_else(|| Err(PANICKED.to_owned())) {
            Ok(found) if found.iter().any(|one| is_among(*one, addresses)) => {
                here.push(url.clone());
            }
            Ok(_) => elsewhere.push(url.to_string()),
            Err(reason) => {
                are_known = false;
                elsewhere.push(format!("{url}: {}", plain_text(&reason, SHOWN_REASON)));
            }
        }
    }
    if !here.is_empty() {
        return Ok(here);
    }
    let reason = format!(
        "this machine has none of the addresses by which etcd knows its member ({})",
        elsewhere.join(", ")
    );
    if are_known { Err(MembershipInquiry::Elsewhere(reason)) } else { not_known(reason) }
}

fn is_among(address: IpAddr, addresses: &[IpAddr]) -> bool {
    addresses.iter().any(|own| own.to_canonical() == address.to_canonical())
}

/// The addresses of a host, of which a name is looked up within a limit.
async fn addresses_of(host: String) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    run_blocking(move || match (host.as_str(), 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|one| one.ip()).collect()),
        Err(e) => Err(format!("the name can't be looked up: {e}")),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn at(urls: &[&str], addresses: &[&str]) -> Result<Vec<String>, MembershipInquiry> {
        let urls: Vec<_> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let addresses: Vec<_> = addresses.iter().map(|one| one.parse().unwrap()).collect();
        let found = urls_at(&urls, &addresses).await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn urls_of_this_machine_are_those_with_its_addresses() {
        let (v4, v6) = ("https://10.0.0.1:2380", "https://[fd00::1]:2380");
        let own = ["10.0.0.7", "10.0.0.1", "fd00::1"];
        assert_eq!(at(&[v4, "https://10.0.0.2:2380"], &own).await.unwrap(), [v4]);
        assert_eq!(at(&[v4, v6], &own).await.unwrap(), [v4, v6]);
        assert_eq!(at(&["https://[fd00:0:0::1]:1"], &own).await.unwrap().len(), 1, "by value");
        assert_eq!(at(&[v4], &["::ffff:10.0.0.1"]).await.unwrap(), [v4]);
    }

    #[tokio::test]
    async fn name_is_looked_up() {
        let url = "https://localhost:2380";
        assert_eq!(at(&[url], &["127.0.0.1", "::1"]).await.unwrap(), [url]);
        assert!(at(&[url], &["10.0.0.1"]).await.is_err());
    }

    #[tokio::test]
    async fn machine_without_such_address_is_said_with_the_urls() {
        let found = at(&["https://10.0.0.2:2380", "https://10.0.0.3:2380"], &["10.0.0.1"]).await;
        let reason = "this machine has none of the addresses by which etcd knows its member \
                      (https://10.0.0.2:2380, https://10.0.0.3:2380)";
        assert_eq!(found.unwrap_err(), MembershipInquiry::Elsewhere(reason.to_owned()));
    }

    /// The network may not be up yet.
    #[tokio::test]
    async fn unknown_addresses_are_no_sign_of_another_machine() {
        let reason = |found: Result<_, _>| match found {
            Err(MembershipInquiry::NotPossible { reason, may_change: true }) => reason,
            other => panic!("{other:?}"),
        };
        let both = ["https://nowhere.invalid:2380", "https://10.0.0.3:2380"];
        let said = reason(at(&both, &["10.0.0.1"]).await);
        assert!(said.contains("(https://nowhere.invalid:2380: "), "{said}");
        assert_eq!(reason(at(&both, &[]).await), "this machine has no address");
        assert_eq!(
            reason(at(&[], &["10.0.0.1"]).await),
            "the address by which etcd knows its member is not known here"
        );
    }
}
