//! The evidence: whether a service uses the credential that is on the disk, and how that is
//! verified.
//!
//! What a service serves is the best evidence, then the file as it sees it, then when it started.
//! What reloads by itself is never judged by time: an old process serves a new certificate. And a
//! connection that is open keeps what it began with.

use std::time::Duration;

use super::steps::Judged;
use crate::model::{
    Appeared, CredentialName, Evidence, Freshness, Holding, Instance, Leaf, Material,
    NotedConnections, Presence, Sees, Serves, ServiceFacts, ServiceMemory, ServiceName, Takes,
    Timestamp,
};

/// How long before their certificate expires connections are closed. A pass is
/// made every day, and one day of the year has 25 hours.
const CLOSE_BEFORE: Duration = Duration::from_secs(36 * 3_600);

/// The facts of a service, and the judgement of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedService {
    /// What was found.
    pub facts: ServiceFacts,
    /// Its freshness for each credential that it uses, in the order of the catalog.
    pub freshness: Vec<(CredentialName, Freshness)>,
}

/// Judges a service. The memory includes these facts (see [`super::note_contents`] and
/// [`super::note_connections`]); an observation that changes nothing notes them in a copy of it.
#[must_use]
pub fn judge_service(
    facts: &ServiceFacts,
    credentials: &[Judged],
    memory: &ServiceMemory,
    now: Timestamp,
) -> JudgedService {
    let of = |name: &CredentialName| match freshness(facts, name, credentials, memory, now) {
        Ok(freshness) => freshness,
        Err(reason) => Freshness::Unknown(reason),
    };
    let freshness = facts
        .service
        .uses
        .iter()
        .map(|one| (one.credential.clone(), of(&one.credential)))
        .collect();
    JudgedService { facts: facts.clone(), freshness }
}

fn freshness(
    facts: &ServiceFacts,
    name: &CredentialName,
    credentials: &[Judged],
    memory: &ServiceMemory,
    now: Timestamp,
) -> Result<Freshness, String> {
    let instance = match &facts.presence {
        Presence::Running(instance) => instance,
        Presence::Absent | Presence::Down(_) => return Ok(Freshness::NotRunning),
        Presence::Unknown(reason) => return Err(reason.clone()),
        Presence::OutOfSight => {
            return out_of_sight(facts, name, on_disk(credentials, name)?, memory);
        }
    };
    let leaf = on_disk(credentials, name)?;
    let holding = facts
        .holds
        .iter()
        .find(|holding| holding.credential == *name)
        .ok_or("it was not observed")?;
    if let Some(Serves::Certificate { fingerprint, .. }) = &holding.serves {
        return Ok(if *fingerprint == leaf.fingerprint {
            Freshness::Fresh(Evidence::Serves)
        } else {
            Freshness::Stale(Evidence::Serves)
        });
    }
    if holding.sees.iter().any(|(_, sees)| *sees == Sees::Another) {
        return Ok(Freshness::Stale(Evidence::Sees));
    }
    let appeared = || appeared(memory, name, leaf);
    match (holding.takes, &holding.serves) {
        (Takes::Reloads, None) => Ok(Freshness::ByItself),
        (Takes::Reloads, Some(Serves::NotItsOwn(reason) | Serves::Nothing(reason))) => {
            Err(reason.clone())
        }
        // Decided above.
        (Takes::Reloads, Some(Serves::Certificate { .. })) => Ok(Freshness::ByItself),
        (Takes::Restart, _)
            if facts.service.kind.keeps_running()
                && was_reloaded_for(facts, name, leaf, memory) == Some(true) =>
        {
            Ok(Freshness::Fresh(Evidence::ReloadRequest))
        }
        (Takes::Restart | Takes::ByHand, _) => Ok(by_start(instance, appeared()?)),
        (Takes::NewConnections, _) => {
            let carry = lingering(&facts.service.name, holding, instance, appeared()?, memory);
            Ok(by_connections(&carry.ok_or("its open connections can't be observed")?, now))
        }
    }
}

/// It uses the certificate for which it was asked to reload last.
fn out_of_sight(
    facts: &ServiceFacts,
    name: &CredentialName,
    leaf: &Leaf,
    memory: &ServiceMemory,
) -> Result<Freshness, String> {
    match was_reloaded_for(facts, name, leaf, memory) {
        Some(true) => Ok(Freshness::Fresh(Evidence::ReloadRequest)),
        Some(false) => Ok(Freshness::Stale(Evidence::ReloadRequest)),
        None => Err("its last reload request is not known".to_owned()),
    }
}

/// Whether the last certificate for which a service was asked to reload is this one; `None` where
/// it was never asked.
fn was_reloaded_for(
    facts: &ServiceFacts,
    name: &CredentialName,
    leaf: &Leaf,
    memory: &ServiceMemory,
) -> Option<bool> {
    let told = memory
        .told
        .iter()
        .find(|told| told.service == facts.service.name && told.credential == *name)?;
    Some(told.fingerprint == leaf.fingerprint.to_string())
}

/// The certificate that a service should use.
pub(super) fn on_disk<'j>(
    credentials: &'j [Judged],
    name: &CredentialName,
) -> Result<&'j Leaf, String> {
    let judged = Judged::find(credentials, name)
        .ok_or_else(|| format!("{name} is not among the credentials of this node"))?;
    match &judged.facts.material {
        Material::Whole(leaf) => Ok(leaf),
        _ => Err(judged.judgement.reason.clone()),
    }
}

fn appeared<'m>(
    memory: &'m ServiceMemory,
    name: &CredentialName,
    leaf: &Leaf,
) -> Result<&'m Appeared, String> {
    let known =
        memory.appeared.get(name).filter(|known| known.fingerprint == leaf.fingerprint.to_string());
    known.ok_or_else(|| format!("since when {name} has its present content is not known"))
}

/// Content that appeared in an earlier boot is older than every process.
pub(super) fn started_before(instance: &Instance, appeared: &Appeared) -> bool {
    instance.started.boot == appeared.at.boot && instance.started.is_before(&appeared.at)
}

fn by_start(instance: &Instance, appeared: &Appeared) -> Freshness {
    if started_before(instance, appeared) {
        Freshness::Stale(Evidence::Started)
    } else {
        Freshness::Fresh(Evidence::Started)
    }
}

fn by_connections(lingering: &Lingering, now: Timestamp) -> Freshness {
    match lingering.cookies.len() {
        0 => Freshness::Fresh(Evidence::Connections),
        connections => Freshness::Lingering {
            connections,
            until: lingering.end.map_or(now, |end| end.minus(CLOSE_BEFORE)),
        },
    }
}

/// The open connections that carry an earlier certificate.
pub(super) struct Lingering {
    /// By the kernel's cookies.
    pub cookies: Vec<u64>,
    /// The expiry of the certificate that expires first, where that is known.
    pub end: Option<Timestamp>,
}

/// The noted connections that are still open. Where none were noted for the present content, and
/// the process is older, all of them count. `None` where they can't be read.
pub(super) fn lingering(
    service: &ServiceName,
    holding: &Holding,
    instance: &Instance,
    appeared: &Appeared,
    memory: &ServiceMemory,
) -> Option<Lingering> {
    let connections = holding.connections.as_ref()?;
    let mine = |note: &&NotedConnections| {
        note.service == *service
            && note.credential == holding.credential
            && note.boot == instance.started.boot
    };
    let notes: Vec<_> = memory.connections.iter().filter(mine).collect();
    let is_noted = notes.iter().any(|note| note.fingerprint == appeared.fingerprint);
    if !is_noted && started_before(instance, appeared) {
        return Some(Lingering {
            cookies: connections.clone(),
            end: appeared.held_until(&instance.started),
        });
    }
    let carries = |cookie: &u64| notes.iter().any(|note| note.cookies.contains(cookie));
    let cookies: Vec<u64> = connections.iter().copied().filter(carries).collect();
    let open =
        notes.iter().filter(|note| note.cookies.iter().any(|cookie| cookies.contains(cookie)));
    Some(Lingering { end: open.filter_map(|note| note.end).min(), cookies })
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
