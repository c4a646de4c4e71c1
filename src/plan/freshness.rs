//! The evidence: whether a service uses what is on the disk, and how that is verified.
//!
//! What a service serves is the best evidence, then the file as it sees it, then when it started.
//! What reloads by itself is never judged by time: an old process serves a new certificate. And a
//! connection that is open keeps what it began with. CA certificates show only in what a service
//! accepts: those that it reads at its start are judged by that.

use std::time::Duration;

use super::on_disk::OnDisk;
use crate::model::{
    Appeared, ContentName, CredentialName, Evidence, Freshness, Holding, Instance,
    NotedConnections, Presence, Sees, Serves, ServiceFacts, ServiceMemory, ServiceName, Takes,
    Timestamp, Told,
};

/// How long before their certificate expires connections are closed. A pass is
/// made every day, and one day of the year has 25 hours.
const CLOSE_BEFORE: Duration = Duration::from_secs(36 * 3_600);

/// The facts of a service, and the judgement of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedService {
    /// What was found.
    pub facts: ServiceFacts,
    /// Its freshness for each content that it reads, in the order of the catalog: first the
    /// credentials.
    pub freshness: Vec<(ContentName, Freshness)>,
}

/// Judges a service. The memory includes these facts (see [`super::note_contents`] and
/// [`super::note_connections`]); an observation that changes nothing notes them in a copy of it.
#[must_use]
pub fn judge_service(
    facts: &ServiceFacts,
    on_disk: OnDisk<'_>,
    memory: &ServiceMemory,
    now: Timestamp,
) -> JudgedService {
    let of = |content: ContentName| {
        let freshness = freshness(facts, &content, on_disk, memory, now);
        (content, freshness.unwrap_or_else(Freshness::Unknown))
    };
    let freshness = facts.service.contents().map(of).collect();
    JudgedService { facts: facts.clone(), freshness }
}

fn freshness(
    facts: &ServiceFacts,
    content: &ContentName,
    on_disk: OnDisk<'_>,
    memory: &ServiceMemory,
    now: Timestamp,
) -> Result<Freshness, String> {
    let running = match &facts.presence {
        Presence::Running(instance) => Some(instance),
        Presence::Absent | Presence::Down(_) => return Ok(Freshness::NotRunning),
        Presence::Unknown(reason) => return Err(reason.clone()),
        Presence::OutOfSight => None,
    };
    let fingerprint = on_disk.fingerprint(content)?;
    let reload = reload_request(facts, content, &fingerprint, memory);
    let Some(instance) = running else {
        return reload.ok_or_else(|| "its last reload request is not known".to_owned());
    };
    let reading = Reading { facts, instance, content, fingerprint: &fingerprint, reload, memory };
    match content {
        ContentName::Credential(name) => reading.credential(name, now),
        ContentName::CaCertificates(_) => reading.at_start(),
    }
}

/// It uses the content for which it was asked to reload last. `None` where it was never asked.
fn reload_request(
    facts: &ServiceFacts,
    content: &ContentName,
    fingerprint: &str,
    memory: &ServiceMemory,
) -> Option<Freshness> {
    let is_it = |told: &&Told| told.service == facts.service.name && told.content == *content;
    let told = memory.told.iter().find(is_it)?;
    Some(if told.fingerprint == fingerprint {
        Freshness::Fresh(Evidence::ReloadRequest)
    } else {
        Freshness::Stale(Evidence::ReloadRequest)
    })
}

/// A service that runs, and a content that it reads.
struct Reading<'r> {
    facts: &'r ServiceFacts,
    instance: &'r Instance,
    content: &'r ContentName,
    /// The fingerprint of what is on the disk.
    fingerprint: &'r str,
    /// What its last reload request tells.
    reload: Option<Freshness>,
    memory: &'r ServiceMemory,
}

impl Reading<'_> {
    fn credential(&self, name: &CredentialName, now: Timestamp) -> Result<Freshness, String> {
        let holds = &self.facts.holds;
        let holding = holds.iter().find(|holding| holding.credential == *name);
        let holding = holding.ok_or("it was not observed")?;
        if let Some(Serves::Certificate { fingerprint, .. }) = &holding.serves {
            return Ok(if fingerprint.to_string() == self.fingerprint {
                Freshness::Fresh(Evidence::Serves)
            } else {
                Freshness::Stale(Evidence::Serves)
            });
        }
        if holding.sees.iter().any(|(_, sees)| *sees == Sees::Another) {
            return Ok(Freshness::Stale(Evidence::Sees));
        }
        match (holding.takes, &holding.serves) {
            (Takes::Reloads, None) => Ok(Freshness::ByItself),
            (Takes::Reloads, Some(Serves::NotItsOwn(reason) | Serves::Nothing(reason))) => {
                Err(reason.clone())
            }
            // Decided above.
            (Takes::Reloads, Some(Serves::Certificate { .. })) => Ok(Freshness::ByItself),
            (Takes::Restart, _) => self.at_start(),
            (Takes::ByHand, _) => Ok(by_start(self.instance, self.appeared()?)),
            (Takes::NewConnections, _) => {
                let (service, appeared) = (&self.facts.service.name, self.appeared()?);
                let carry = lingering(service, holding, self.instance, appeared, self.memory);
                Ok(by_connections(&carry.ok_or("its open connections can't be observed")?, now))
            }
        }
    }

    /// It reads the content at its start, and where it goes on running, at a request to reload.
    fn at_start(&self) -> Result<Freshness, String> {
        match &self.reload {
            Some(fresh @ Freshness::Fresh(_)) if self.facts.service.kind.keeps_running() => {
                Ok(fresh.clone())
            }
            _ => Ok(by_start(self.instance, self.appeared()?)),
        }
    }

    fn appeared(&self) -> Result<&Appeared, String> {
        let known = self.memory.appeared.get(self.content);
        let known = known.filter(|known| known.fingerprint == self.fingerprint);
        known.ok_or_else(|| format!("when {} got the present content is not known", self.content))
    }
}

/// Whether an instance started before a content came to be where it is. Content that appeared in an
/// earlier boot is older than every process.
#[must_use]
pub fn started_before(instance: &Instance, appeared: &Appeared) -> bool {
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
