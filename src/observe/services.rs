//! Observes each service of the catalog: whether it runs, since when, its health, and the version
//! of each credential that it uses.
//!
//! Observing never fails: a fact that can't be found out is reported in the facts. Every query has
//! a limit, and the services are observed concurrently, so that a hanging one costs only its own
//! limit. Nothing here is changed or judged.

mod connections;
mod consumers;
mod containers;
mod health;
mod limit;
mod look;
mod moment;
mod neighbours;
mod pods;
mod processes;
mod refused;
mod runtime;
mod seeing;
mod serving;
mod together;
mod units;

use std::sync::Arc;

use super::Node;
use crate::drivers::processes::PidFile;
use crate::model::{Consumer, Health, Holding, Presence, Service, ServiceFacts, ServiceKind, Use};
use crate::sys::Clock;
use look::{Observer, RunningService};
pub use neighbours::{PeerAccess, ask_peers, leader_lease, neighbours};
pub(super) use runtime::socket as runtime_socket;
use together::{run_blocking, run_concurrently};

const ANOTHER_ROOT: &str = "these are the files of another root directory, where nothing runs";

/// The observed services, and other users of their credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicesSeen {
    /// The services, in the order of the catalog; then other static pods that use credentials which
    /// are renewed here, and which an operator has to restart.
    pub services: Vec<ServiceFacts>,
    /// Other containers that use credentials which are renewed here.
    pub consumers: Vec<Consumer>,
    /// Facts that could not be found out and do not belong to a service, each a sentence.
    pub notes: Vec<String>,
}

/// Observes all services, and all other containers. Needs a tokio runtime with timers and I/O
/// enabled.
pub async fn services(node: &Node, clock: &dyn Clock) -> ServicesSeen {
    let look = match begin(node, clock) {
        Ok(look) => Arc::new(look),
        Err(reason) => return unseen(node, &reason),
    };
    let catalog = &node.catalog;
    let all = [catalog.services.as_slice(), &catalog.by_hand].concat();
    let ((mut services, mut notes), (consumers, note)) =
        tokio::join!(each(&look, &all), consumers::consumers(&look, &all));
    notes.extend(note);
    // Whether another pod runs is not for kubecertd to say.
    let is_listed = |facts: &ServiceFacts| {
        !catalog.by_hand.contains(&facts.service) || facts.presence.instance().is_some()
    };
    services.retain(is_listed);
    ServicesSeen { services, consumers, notes }
}

/// Observes these services concurrently.
async fn each(look: &Arc<Observer>, services: &[Service]) -> (Vec<ServiceFacts>, Vec<String>) {
    let seen =
        run_concurrently(services.iter().map(|service| facts(Arc::clone(look), service.clone())))
            .await;
    let seen = services.iter().zip(seen).map(|(service, seen)| {
        seen.unwrap_or_else(|| (unknown(service, together::PANICKED), Vec::new()))
    });
    let (facts, notes): (Vec<_>, Vec<_>) = seen.unzip();
    (facts, notes.concat())
}

/// Observes one service, such as one that was refreshed.
pub async fn one(node: &Node, clock: &dyn Clock, service: &Service) -> ServiceFacts {
    match begin(node, clock) {
        Ok(look) => facts(Arc::new(look), service.clone()).await.0,
        Err(reason) => unknown(service, &reason),
    }
}

fn begin(node: &Node, clock: &dyn Clock) -> Result<Observer, String> {
    if node.root.is_host() { Observer::begin(node, clock) } else { Err(ANOTHER_ROOT.to_owned()) }
}

fn unseen(node: &Node, reason: &str) -> ServicesSeen {
    let services = node.catalog.services.iter().map(|service| unknown(service, reason)).collect();
    ServicesSeen { services, ..ServicesSeen::default() }
}

fn unknown(service: &Service, reason: &str) -> ServiceFacts {
    let presence = match &service.kind {
        ServiceKind::StaticPod { manifest: None, .. } => Presence::Absent,
        _ => Presence::Unknown(reason.to_owned()),
    };
    not_running(service, presence)
}

fn not_running(service: &Service, presence: Presence) -> ServiceFacts {
    let nothing = |one: &Use| Holding {
        credential: one.credential.clone(),
        takes: one.takes,
        serves: None,
        sees: Vec::new(),
        connections: Some(Vec::new()),
    };
    ServiceFacts {
        service: service.clone(),
        presence,
        health: Health::NotAsked,
        holds: service.uses.iter().map(nothing).collect(),
    }
}

async fn facts(look: Arc<Observer>, service: Service) -> (ServiceFacts, Vec<String>) {
    let found = match &service.kind {
        ServiceKind::StaticPod { manifest: None, .. } => Err(Presence::Absent),
        ServiceKind::StaticPod { pod, manifest: Some(manifest), .. } => {
            pods::find(&look, pod, manifest).await
        }
        ServiceKind::Unit { unit, .. } => units::find(&look, unit).await,
        ServiceKind::Process { pid_file, unit, .. } => {
            let (look, path, unit) = (Arc::clone(&look), pid_file.clone(), unit.clone());
            run_blocking(move || {
                Ok(processes::find(&look, PidFile { path: &path, unit: unit.as_deref() }))
            })
            .await
            .unwrap_or_else(|e| Err(Presence::Unknown(e)))
        }
        ServiceKind::Command { .. } => Err(Presence::OutOfSight),
    };
    let running = match found {
        Ok(running) => Arc::new(running),
        // Where no supervisor reports whether it runs, its health check may.
        Err(presence @ (Presence::Unknown(_) | Presence::OutOfSight)) => {
            let health = health::ask(service.health.as_deref()).await;
            return (ServiceFacts { health, ..not_running(&service, presence) }, Vec::new());
        }
        Err(Presence::Absent) if service.configured => {
            return (not_running(&service, Presence::Down(not_here(&service))), Vec::new());
        }
        Err(presence) => return (not_running(&service, presence), Vec::new()),
    };
    let holds = run_concurrently(
        service.uses.iter().map(|one| holds(Arc::clone(&look), Arc::clone(&running), one.clone())),
    );
    let (health, holds) = tokio::join!(health::ask(service.health.as_deref()), holds);
    let mut facts = not_running(&service, Presence::Running(running.instance.clone()));
    facts.health = health;
    let mut notes = Vec::new();
    for (place, held) in facts.holds.iter_mut().zip(holds) {
        let (holding, note) =
            held.unwrap_or_else(|| (place.clone(), Some(together::PANICKED.to_owned())));
        notes.extend(note.map(|note| format!("{}, {}: {note}", service.name, holding.credential)));
        *place = holding;
    }
    (facts, notes)
}

/// Describes an absent service. One of the operator's is missing; one of the profile need not be on
/// every node.
fn not_here(service: &Service) -> String {
    match &service.kind {
        ServiceKind::StaticPod { pod, .. } => {
            format!("the configuration lists it, and no manifest here is for a pod {pod}")
        }
        ServiceKind::Unit { unit, .. } => {
            format!("the configuration lists it, and systemd has no unit {unit}")
        }
        ServiceKind::Process { .. } | ServiceKind::Command { .. } => {
            "the configuration lists it, and it is not here".to_owned()
        }
    }
}

async fn holds(
    look: Arc<Observer>,
    running: Arc<RunningService>,
    one: Use,
) -> (Holding, Option<String>) {
    let serves = async {
        match &one.served_at {
            Some(address) => Some(serving::serves(&look, &running, &one.credential, address).await),
            None => None,
        }
    };
    let connections = async {
        match one.to_port {
            Some(port) => connections::of(&look, &running, port).await,
            None => Ok(Vec::new()),
        }
    };
    let (serves, sees, connections) =
        tokio::join!(serves, seeing::sees(&look, &running, &one.credential), connections);
    let (connections, note) = match connections {
        Ok(connections) => (Some(connections), None),
        Err(reason) => {
            (None, Some(format!("which of its connections are open is not known: {reason}")))
        }
    };
    (Holding { credential: one.credential, takes: one.takes, serves, sees, connections }, note)
}

#[cfg(test)]
mod tests;
