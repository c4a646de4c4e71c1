//! What is found on this node of the CA of the front proxy, where it is replaced with the root CA.

use std::time::Duration;

use super::read::is_named;
use super::{API_SERVER, Finder, RotationTrouble, interference, issued_by_ca, missing};
use crate::credentials::{Loaded, load};
use crate::model::{AbsolutePath, Authority, ContentName, FoundFrontProxy, Freshness, Timestamp};

/// The longest time until kube-apiserver has read its files of the front proxy again: it looks for
/// new ones every minute.
const READ_AGAIN: Duration = Duration::from_secs(75);

impl Finder<'_> {
    /// `None` where it is not replaced, or this node has none.
    pub(super) fn front_proxy(&self) -> Result<Option<FoundFrontProxy>, RotationTrouble> {
        let catalog = &self.node.catalog;
        let pair = self.intent.front_proxy.as_ref().zip(catalog.front_proxy_authority());
        let Some((pair, authority)) = pair else { return Ok(None) };
        let ca = self.ca_file(authority, pair)?;
        let mut clients = Vec::new();
        for credential in issued_by_ca(catalog, authority) {
            let stored = match load(self.files, credential) {
                Loaded::Whole(stored) => stored,
                Loaded::Absent => continue,
                _ => {
                    let text = "its certificate and key can't be used; see `kubecertd check`";
                    let text = format!("{}: {text}", credential.name);
                    return Err(RotationTrouble::Unreadable(text));
                }
            };
            let issuer = pair.issuer(&stored.certificate).ok_or_else(|| {
                let issuer = format!("a certificate of {}", stored.certificate.issuer);
                interference(&credential.location, &issuer)
            })?;
            clients.push(issuer);
        }
        let ca_key = self.ca_key_file(authority, pair)?.ok_or_else(|| missing(&authority.key))?;
        let is_read = self.front_proxy_is_read(authority);
        Ok(Some(FoundFrontProxy { ca, ca_key, clients, is_read }))
    }

    /// Whether the API server has had the time to read its files of the front proxy as they are:
    /// nothing shows what it has read of them.
    fn front_proxy_is_read(&self, authority: &Authority) -> bool {
        let Some(services) = self.services else { return true };
        let clients: Vec<_> = issued_by_ca(&self.node.catalog, authority).collect();
        let judged = services.judged.iter().find(|one| is_named(one, API_SERVER));
        let Some(judged) = judged else { return false };
        let is_client = |name: &ContentName| {
            name.credential().is_some_and(|name| clients.iter().any(|one| one.name == *name))
        };
        let mut freshness = judged.freshness.iter().filter(|(name, _)| is_client(name));
        if freshness.any(|(_, freshness)| matches!(freshness, Freshness::Stale(_))) {
            return false;
        }
        let Some(instance) = judged.facts.presence.instance() else { return false };
        let files = clients.iter().flat_map(|one| one.location.files());
        let changed = files.chain([&authority.certificate]).map(|file| self.changed(file)).max();
        changed.flatten().is_some_and(|changed| {
            let now = instance.started_at.plus(instance.age);
            instance.started_at > changed || now >= changed.plus(READ_AGAIN)
        })
    }

    /// When a file was changed last, by the wall clock.
    fn changed(&self, file: &AbsolutePath) -> Option<Timestamp> {
        let stat = self.node.root.stat(file).ok()??;
        Some(Timestamp::from_seconds(stat.st_ctime))
    }
}
