//! What is found on this node of the CA of the front proxy, where it is replaced with the root CA.

use std::time::Duration;

use super::read::is_named;
use super::{API_SERVER, Finder, RotationTrouble, describe, interference, issued_by_root};
use crate::credentials::{Loaded, LoadedKey, load, read_key};
use crate::formats::rotation_intent::CaPair;
use crate::model::{Appeared, Authority, Credential, FoundFrontProxy, Instance, RootCa};
use crate::plan::started_before;

/// The longest time until kube-apiserver has read a client certificate of its own again: it looks
/// for a new one every minute.
const READ_AGAIN: Duration = Duration::from_secs(75);

impl Finder<'_> {
    /// `None` where it is not replaced, or this node has none.
    pub(super) fn front_proxy(&self) -> Result<Option<FoundFrontProxy>, RotationTrouble> {
        let catalog = &self.node.catalog;
        let pair = self.intent.front_proxy.as_ref().zip(catalog.front_proxy_authority());
        let Some((pair, authority)) = pair else { return Ok(None) };
        let found = self.pem(&authority.certificate)?;
        let ca = pair.file(&found).ok_or_else(|| {
            let subjects: Vec<_> = found.iter().map(describe).collect();
            interference(&authority.certificate, &subjects.join(", "))
        })?;
        let mut clients = Vec::new();
        for credential in issued_by_root(catalog, authority) {
            let Loaded::Whole(stored) = load(self.files, credential) else { continue };
            let issuer = pair.issuer(&stored.certificate).ok_or_else(|| {
                let issuer = format!("a certificate of {}", stored.certificate.issuer);
                interference(&credential.location, &issuer)
            })?;
            clients.push(issuer);
        }
        let is_read = issued_by_root(catalog, authority).all(|one| self.is_read_again(one));
        Ok(Some(FoundFrontProxy {
            ca,
            ca_key: self.front_proxy_key(pair, authority)?,
            clients,
            is_read,
        }))
    }

    fn front_proxy_key(
        &self,
        pair: &CaPair,
        authority: &Authority,
    ) -> Result<RootCa, RotationTrouble> {
        let file = &authority.key;
        match read_key(self.files, file) {
            LoadedKey::Absent => {
                Err(RotationTrouble::Unreadable(format!("{file}: it does not exist")))
            }
            LoadedKey::Unusable(reason) => Err(RotationTrouble::Unreadable(reason)),
            LoadedKey::Usable(key) => {
                pair.owner(&key).ok_or_else(|| interference(file, "the key of another CA"))
            }
        }
    }

    /// Whether the API server has had the time to read a client certificate as it is in its file:
    /// nothing shows which one it uses.
    fn is_read_again(&self, credential: &Credential) -> bool {
        let Some(services) = self.services else { return true };
        let mut judged = services.judged.iter();
        let instance = judged.find(|one| is_named(one, API_SERVER));
        let instance = instance.and_then(|one| one.facts.presence.instance());
        let appeared = services.memory.appeared(&credential.name);
        instance.zip(appeared).is_some_and(|(instance, appeared)| has_read(instance, appeared))
    }
}

fn has_read(instance: &Instance, appeared: &Appeared) -> bool {
    let now = instance.started.since_boot.saturating_add(instance.age);
    !started_before(instance, appeared) || now >= appeared.at.since_boot.saturating_add(READ_AGAIN)
}
