//! The first request after a renewal. client-go closes all connections that carry a client
//! certificate when it finds another one in the files, which it does at the next handshake: also
//! the connection of that handshake, so that the request fails. A request of kubecertd's own takes
//! the place of a user's.

use std::time::Duration;

use super::freshness::{JudgedService, started_before};
use crate::model::{
    CredentialName, Health, Instance, RefreshStep, Remedy, Service, ServiceMemory, ServiceName, Use,
};

/// After this time client-go has looked at its files without a handshake
/// (`CertCallbackRefreshDuration`).
const LOOKS_EVERY: Duration = Duration::from_secs(300);

/// A request that is to be made through a service, to kubelet on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstRequest {
    /// The service.
    pub service: ServiceName,
    /// The credential that it connects to kubelet with.
    pub credential: CredentialName,
    /// SHA-256 of its certificate, in hex.
    pub fingerprint: String,
    /// The kubeconfig with which the request is made.
    pub kubeconfig: CredentialName,
    /// The service's own address, `host:port`.
    pub at: String,
}

/// Decides which first requests are to be made: through services that work, were started with an
/// earlier certificate, and are not about to be restarted; once for a certificate.
#[must_use]
pub fn first_requests(
    services: &[JudgedService],
    steps: &[RefreshStep],
    memory: &ServiceMemory,
) -> Vec<FirstRequest> {
    let restarts = |service: &Service| {
        steps.iter().any(|step| {
            step.service == service.name && step.remedy == Remedy::Restart && step.waits.is_none()
        })
    };
    let works = services.iter().filter(|judged| {
        !matches!(judged.facts.health, Health::Unhealthy(_)) && !restarts(&judged.facts.service)
    });
    works
        .filter_map(|judged| Some((&judged.facts.service, judged.facts.presence.instance()?)))
        .flat_map(|(service, instance)| {
            service.uses.iter().filter_map(|one| first_request(service, instance, one, memory))
        })
        .collect()
}

fn first_request(
    service: &Service,
    instance: &Instance,
    one: &Use,
    memory: &ServiceMemory,
) -> Option<FirstRequest> {
    let kubeconfig = one.first_request.clone()?;
    let appeared = memory.appeared(&one.credential)?;
    let there = appeared.seen.since_boot.saturating_sub(appeared.at.since_boot);
    let is_made = memory.first_requests.get(&one.credential) == Some(&appeared.fingerprint);
    if is_made || there > LOOKS_EVERY || !started_before(instance, appeared) {
        return None;
    }
    Some(FirstRequest {
        service: service.name.clone(),
        credential: one.credential.clone(),
        fingerprint: appeared.fingerprint.clone(),
        kubeconfig,
        at: service.uses.iter().find_map(|one| one.served_at.clone())?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::service_fixtures::{
        UP, appeared_at, content, judged, name, now, on_disk, service,
    };
    use super::super::{judge_service, service_fixtures};
    use super::*;
    use crate::model::{Presence, ServiceFacts, Takes, Urgency};

    /// An API server that runs since then.
    fn api_server(started: u64) -> ServiceFacts {
        let mut facts = service("kube-apiserver", "kubelet-client", Takes::NewConnections, started);
        for one in &mut facts.service.uses {
            one.first_request = Some(name("admin.conf"));
            one.served_at = Some("10.0.0.1:6443".into());
        }
        facts
    }

    /// The present certificate is there for so many seconds.
    fn memory(there: u64) -> ServiceMemory {
        let mut memory = ServiceMemory::default();
        memory
            .appeared
            .insert(content("kubelet-client"), appeared_at("new", UP - there, Some(now())));
        memory
    }

    fn requests(
        facts: &ServiceFacts,
        steps: &[RefreshStep],
        memory: &ServiceMemory,
    ) -> Vec<FirstRequest> {
        let credentials = [judged("kubelet-client", "new")];
        first_requests(&[judge_service(facts, on_disk(&credentials), memory, now())], steps, memory)
    }

    fn restart() -> RefreshStep {
        RefreshStep {
            service: ServiceName::new("kube-apiserver").unwrap(),
            instance: String::new(),
            remedy: Remedy::Restart,
            contents: Vec::new(),
            closing: Vec::new(),
            reason: String::new(),
            waits: None,
            restart_waits: None,
            urgency: Urgency::Comfortable,
        }
    }

    #[test]
    fn first_request_is_made_once_for_a_certificate() {
        let mut memory = memory(20);
        let wanted = requests(&api_server(1), &[], &memory);
        assert_eq!(
            wanted,
            [FirstRequest {
                service: ServiceName::new("kube-apiserver").unwrap(),
                credential: name("kubelet-client"),
                fingerprint: service_fixtures::fingerprint("new").to_string(),
                kubeconfig: name("admin.conf"),
                at: "10.0.0.1:6443".into(),
            }]
        );
        for one in wanted {
            memory.first_requests.insert(one.credential, one.fingerprint);
        }
        assert_eq!(requests(&api_server(1), &[], &memory), []);
        memory.first_requests.insert(name("kubelet-client"), "that of an earlier one".into());
        assert_eq!(requests(&api_server(1), &[], &memory).len(), 1);
    }

    #[test]
    fn no_request_is_made_where_none_would_fail() {
        let (all, soon) = (api_server(1), memory(20));
        assert_eq!(requests(&all, &[], &memory(301)), [], "it has looked meanwhile");
        assert_eq!(requests(&api_server(UP - 10), &[], &soon), [], "it began with it");
        assert_eq!(requests(&all, &[restart()], &soon), [], "it will begin with it");
        let waits = RefreshStep { waits: Some("a hold".into()), ..restart() };
        assert_eq!(requests(&all, &[waits], &soon).len(), 1);
        let mut other = all.clone();
        other.service.uses.iter_mut().for_each(|one| one.first_request = None);
        assert_eq!(requests(&other, &[], &soon), [], "nothing is said of it");
    }

    #[test]
    fn nothing_is_asked_of_a_service_that_does_not_work() {
        let soon = memory(20);
        let unhealthy = ServiceFacts { health: Health::Unhealthy("500".into()), ..api_server(1) };
        assert_eq!(requests(&unhealthy, &[], &soon), []);
        let down = ServiceFacts { presence: Presence::Down("exited".into()), ..api_server(1) };
        assert_eq!(requests(&down, &[], &soon), []);
    }
}
