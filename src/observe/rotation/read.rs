//! What the programs of this node have read of their files in a rotation: by what they serve and
//! see, and by their starts.

use super::{API_SERVER, Finder, KUBELET, issued_by_ca};
use crate::model::{
    ContentName, CredentialName, Freshness, Presence, ReadByProgram, Reading, Service, Use,
};
use crate::plan::{JudgedService, started_before};

impl Finder<'_> {
    pub(super) fn kubelet_ca_is_read(&self) -> Option<bool> {
        let service = self.node.catalog.services.iter().find(|one| one.name.as_str() == API_SERVER);
        let verifies =
            service?.trusts.iter().any(|file| *file.path() == self.authority.certificate);
        verifies.then(|| self.has_read(API_SERVER, |name| self.is_ca_file(name)))
    }

    pub(super) fn is_ca_file(&self, content: &ContentName) -> bool {
        *content == ContentName::CaCertificates(self.authority.certificate.clone())
    }

    pub(super) fn read_at_start(&self, service: &str) -> ReadByProgram {
        ReadByProgram {
            trust: self.has_read(service, |name| name.credential().is_none()),
            client: self.loaded_credentials(service),
        }
    }

    /// Whether a service started after its certificates came to be where they are. It may see
    /// another kubeconfig than the host all the same: one with other CA certificates.
    fn loaded_credentials(&self, service: &str) -> Reading {
        let Some(services) = self.services else { return Reading::Current };
        let judged = services.judged.iter().find(|one| is_named(one, service));
        let Some(judged) = judged else { return Reading::NotKnown };
        let Some(instance) = judged.facts.presence.instance() else { return Reading::NotKnown };
        let of = |one: &Use| match services.memory.appeared(&one.credential) {
            Some(appeared) if started_before(instance, appeared) => Reading::Outdated,
            Some(_) => Reading::Current,
            None => Reading::NotKnown,
        };
        worst(judged.facts.service.uses.iter().map(of))
    }

    pub(super) fn kubelet_read(&self) -> ReadByProgram {
        let trust = self.has_read(KUBELET, |name| name.credential().is_none());
        let Some(services) = self.services else {
            return ReadByProgram { trust, client: Reading::Current };
        };
        let judged = services.judged.iter().find(|one| is_named(one, KUBELET));
        let instance = judged.and_then(|one| one.facts.presence.instance());
        let of = |name| match (instance, services.memory.appeared(name)) {
            // One that kubelet got itself is in use.
            (Some(instance), Some(appeared)) => {
                let is_issued_later = appeared.ours && started_before(instance, appeared);
                if is_issued_later { Reading::Outdated } else { Reading::Current }
            }
            (None, _) | (_, None) => Reading::NotKnown,
        };
        let client = worst(self.node.catalog.kubeconfigs.keys().map(of));
        ReadByProgram { trust, client }
    }

    /// Whether a service has read all of these contents as they are now.
    pub(super) fn has_read(&self, service: &str, is_meant: impl Fn(&ContentName) -> bool) -> bool {
        let Some(services) = self.services else { return true };
        let judged = services.judged.iter().find(|one| is_named(one, service));
        judged.is_some_and(|judged| {
            let running = matches!(judged.facts.presence, Presence::Running(_));
            let mut meant = judged.freshness.iter().filter(|(name, _)| is_meant(name));
            running && meant.all(|(_, freshness)| matches!(freshness, Freshness::Fresh(_)))
        })
    }

    /// How kube-apiserver uses the serving certificates of the root.
    pub(super) fn server_shown(&self) -> Reading {
        self.reading_of(API_SERVER, is_shown)
    }

    /// How kube-apiserver uses its client certificates of the root.
    pub(super) fn kubelet_client_used(&self) -> Reading {
        self.reading_of(API_SERVER, is_used)
    }

    /// How a service uses the root's credentials that it takes in one way.
    fn reading_of(
        &self,
        service: &str,
        is_meant: fn(&Service, &CredentialName) -> bool,
    ) -> Reading {
        let Some(services) = self.services else { return Reading::Current };
        let judged = services.judged.iter().find(|one| is_named(one, service));
        let Some(judged) = judged else { return Reading::NotKnown };
        let catalog = &self.node.catalog;
        let of_root: Vec<_> = issued_by_ca(catalog, self.authority).map(|one| &one.name).collect();
        let meant = judged.freshness.iter().filter(|(name, _)| {
            let name = name.credential();
            name.is_some_and(|name| {
                of_root.contains(&name) && is_meant(&judged.facts.service, name)
            })
        });
        worst(meant.map(|(_, freshness)| match freshness {
            Freshness::Fresh(_) => Reading::Current,
            Freshness::Stale(_) | Freshness::Lingering { .. } => Reading::Outdated,
            Freshness::ByItself | Freshness::NotRunning | Freshness::Unknown(_) => {
                Reading::NotKnown
            }
        }))
    }
}

/// What is known of all of them: an outdated one counts most.
fn worst(all: impl Iterator<Item = Reading>) -> Reading {
    all.fold(Reading::Current, |worst, one| match (worst, one) {
        (Reading::Outdated, _) | (_, Reading::Outdated) => Reading::Outdated,
        (Reading::NotKnown, _) | (_, Reading::NotKnown) => Reading::NotKnown,
        (Reading::Current, Reading::Current) => Reading::Current,
    })
}

fn is_shown(service: &Service, credential: &CredentialName) -> bool {
    service.uses.iter().any(|one| one.credential == *credential && one.served_at.is_some())
}

fn is_used(service: &Service, credential: &CredentialName) -> bool {
    !is_shown(service, credential)
}

pub(super) fn is_named(judged: &JudgedService, name: &str) -> bool {
    judged.facts.service.name.as_str() == name
}
