//! Which of the URLs of this node's member of etcd are at this machine.

use std::net::{IpAddr, ToSocketAddrs as _};

use super::answer::{SHOWN_REASON, shown};
use crate::model::PeerUrl;
use crate::observe::services::together::{PANICKED, run_blocking, run_concurrently};

/// The most URLs of one member that are looked at.
const MAX_URLS: usize = 16;

/// Returns those of the member's URLs whose host is one of this machine's addresses; a name is
/// looked up. A disk that was restored on another machine has none.
///
/// # Errors
/// A text that names the URLs, where there is none.
pub(super) async fn urls_at(
    urls: &[PeerUrl],
    addresses: &[IpAddr],
) -> Result<Vec<PeerUrl>, String> {
    if urls.is_empty() {
        return Err("the address by which etcd knows its member is not known here".to_owned());
    }
    let urls: Vec<_> = urls.iter().take(MAX_URLS).collect();
    let hosts = urls.iter().map(|url| addresses_of(url.host().to_owned()));
    let found = run_concurrently(hosts.collect::<Vec<_>>()).await;
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for (url, found) in urls.into_iter().zip(found) {
        match found.unwrap_or_else(|| Err(PANICKED.to_owned())) {
            Ok(found) if found.iter().any(|one| is_among(*one, addresses)) => {
                here.push(url.clone());
            }
            Ok(_) => elsewhere.push(url.to_string()),
            Err(reason) => elsewhere.push(format!("{url}: {}", shown(&reason, SHOWN_REASON))),
        }
    }
    if here.is_empty() {
        return Err(format!(
            "this machine has none of the addresses by which etcd knows its member ({})",
            elsewhere.join(", ")
        ));
    }
    Ok(here)
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

    async fn at(urls: &[&str], addresses: &[&str]) -> Result<Vec<String>, String> {
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
        let reason = at(&["https://10.0.0.2:2380", "https://10.0.0.3:2380"], &["10.0.0.1"]).await;
        assert_eq!(
            reason.unwrap_err(),
            "this machine has none of the addresses by which etcd knows its member \
             (https://10.0.0.2:2380, https://10.0.0.3:2380)"
        );
        let reason = at(&["https://nowhere.invalid:2380"], &["10.0.0.1"]).await.unwrap_err();
        assert!(reason.contains("(https://nowhere.invalid:2380: "), "{reason}");
        let reason = at(&[], &["10.0.0.1"]).await.unwrap_err();
        assert_eq!(reason, "the address by which etcd knows its member is not known here");
    }
}
