//! Static pods that use credentials, and that no service of the catalog stands for.
//!
//! One that mounts a file of a credential by itself uses it, and one that names such a file: in its
//! command line, a variable or a probe. A mount of a directory above is no evidence: agents mount
//! `/etc/kubernetes` or `/`, and use other files there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Catalog;
use super::manifests::Manifests;
use super::note::Note;
use crate::model::{
    AbsolutePath, Credential, CredentialName, Renewal, Service, ServiceKind, ServiceName,
    StaticConsumer, Takes, Use,
};

/// kubelet's default grace period.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

impl Catalog {
    /// Finds them among the manifests.
    pub(super) fn find_consumers(&mut self, manifests: &Manifests) {
        for (file, pod) in manifests.pods() {
            let service = self.services.iter().find(|one| one.kind.pod() == Some(pod.name()));
            for (container, files) in pod.files() {
                let is_component = manifests
                    .components()
                    .any(|(_, other)| other.name() == pod.name() && other.main() == container);
                let known = match service {
                    _ if is_component => continue,
                    Some(service) if service.configured => service.uses.as_slice(),
                    _ => &[],
                };
                let mut uses = self.used(&files);
                uses.retain(|name| !known.iter().any(|one| one.credential == *name));
                if !uses.is_empty() {
                    let (pod, manifest) = (pod.name().to_owned(), file.to_owned());
                    let container = container.to_owned();
                    self.consumers.push(StaticConsumer { pod, manifest, container, uses });
                }
            }
        }
        self.notes.extend(self.consumers.iter().map(note));
        for consumer in &self.consumers {
            let is_service =
                self.services.iter().any(|one| one.kind.pod() == Some(consumer.pod.as_str()));
            match self.by_hand.iter_mut().find(|one| one.name.as_str() == consumer.pod) {
                _ if is_service => {}
                Some(known) => known.uses.extend(uses(consumer)),
                None => self.by_hand.extend(as_service(consumer)),
            }
        }
    }

    /// The credentials that are renewed here and have one of these files.
    fn used(&self, files: &BTreeSet<AbsolutePath>) -> Vec<CredentialName> {
        let is_renewed = |one: &&Credential| {
            matches!(one.renewal, Renewal::Ours | Renewal::Copy(_))
                || self.serving.contains(&one.name)
        };
        let has_one = |one: &&Credential| one.location.files().any(|file| files.contains(file));
        let used = self.credentials.iter().filter(is_renewed).filter(has_one);
        used.map(|one| one.name.clone()).collect()
    }
}

fn note(consumer: &StaticConsumer) -> Note {
    let StaticConsumer { pod, manifest, container, uses } = consumer.clone();
    let uses = uses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Note::Consumer { pod, file: manifest, container, uses }
}

/// The pod as a service that kubecertd never restarts.
fn as_service(consumer: &StaticConsumer) -> Option<Service> {
    Some(Service {
        name: ServiceName::new(consumer.pod.clone()).ok()?,
        kind: ServiceKind::StaticPod {
            pod: consumer.pod.clone(),
            manifest: Some(consumer.manifest.clone()),
            grace: DEFAULT_GRACE,
        },
        health: None,
        essential: None,
        leader_lease: None,
        ages: false,
        configured: false,
        uses: uses(consumer),
        trusts: Vec::new(),
        one_certificate: None,
    })
}

fn uses(consumer: &StaticConsumer) -> Vec<Use> {
    let one = |credential: &CredentialName| Use {
        credential: credential.clone(),
        takes: Takes::ByHand,
        served_at: None,
        to_port: None,
        first_request: None,
    };
    consumer.uses.iter().map(one).collect()
}
