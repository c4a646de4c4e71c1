//! The memory of services: since when each content is what it is, which connections were open at
//! that moment, and what was restarted for it.
//!
//! A change is one of the fingerprint: a file that was touched, or restored to what it was, has not
//! changed. The time of a change is the file's own where it is plausible, by the boot-time
//! (monotonic) clock; where it is not, it is the moment when the change was found: then services
//! that started before it are stale, and at worst are restarted once without need.

use std::time::Duration;

use super::freshness::started_before;
use crate::model::{
    Appeared, ContentName, CredentialFacts, Digest, Earlier, Holding, Instance, Material,
    NotedConnections, Presence, RefreshStep, Replaced, Restarted, ServiceFacts, ServiceMemory,
    ServiceName, Takes, Timestamp, Told, Uptime,
};

/// How far the wall clock may have moved against the boot-time clock without having been set.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

// More than a node ever has; beyond it the oldest are forgotten.
const MAX_EARLIER: usize = 8;
const MAX_RESTARTED: usize = 256;
const MAX_NOTES: usize = 16;
/// A note of more connections is not made: then all of them count.
const MAX_COOKIES: usize = 4_096;

/// A content as it was found.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its name.
    pub name: ContentName,
    /// SHA-256 of its certificate or certificates, and the last valid second, of several the
    /// latest. `None` where it can't be read, or is half written: then it has not changed yet.
    pub found: Option<(Digest, Timestamp)>,
    /// How long ago its files were last changed (`st_ctime`, of several the latest), by the wall
    /// clock as it is now. `None` where that is in the future, or not known.
    pub changed_ago: Option<Duration>,
    /// How long ago they were last written (`st_mtime`), which any owner can set at will: used only
    /// where nothing else is known, since a change of owner or mode changes the other one too. Of
    /// CA certificates, it is how long ago the newest of them was made.
    pub written_ago: Option<Duration>,
}

impl Content {
    /// That of a credential.
    #[must_use]
    pub fn of_credential(
        facts: &CredentialFacts,
        changed_ago: Option<Duration>,
        written_ago: Option<Duration>,
    ) -> Self {
        let found = match &facts.material {
            Material::Whole(leaf) => Some((leaf.fingerprint, leaf.not_after)),
            _ => None,
        };
        Self { name: facts.credential.name.clone().into(), found, changed_ago, written_ago }
    }
}

/// One moment by both clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the boot-time (monotonic) clock.
    pub uptime: Uptime,
    /// By the wall clock.
    pub at: Timestamp,
}

/// Notes all contents that services read. The moment is one before they were read.
pub fn note_contents(memory: &mut ServiceMemory, contents: &[Content], now: &Moment) {
    let mut known = std::mem::take(&mut memory.appeared);
    for content in contents {
        if let Some(next) = next(known.remove(&content.name), content, now) {
            memory.appeared.insert(content.name.clone(), next);
        }
    }
    let in_place = |one: &Restarted| {
        memory.appeared.get(&one.content).is_some_and(|known| known.fingerprint == one.fingerprint)
    };
    memory.restarted.retain(in_place);
    memory.connections.retain(|note| {
        let credential = note.credential.clone().into();
        note.boot == now.uptime.boot && memory.appeared.contains_key(&credential)
    });
}

fn next(known: Option<Appeared>, content: &Content, now: &Moment) -> Option<Appeared> {
    let known = known.map(|known| in_this_boot(known, &now.uptime));
    let Some((fingerprint, not_after)) = content.found else { return known };
    let fingerprint = fingerprint.to_string();
    let (seen, seen_at) = (now.uptime.clone(), now.at);
    Some(match known {
        Some(known) if known.fingerprint == fingerprint => Appeared { seen, seen_at, ..known },
        Some(known) => {
            let at =
                changed_at(&known, content.changed_ago, now).unwrap_or_else(|| now.uptime.clone());
            Appeared {
                fingerprint,
                not_after,
                ours: false,
                seen,
                seen_at,
                earlier: earlier(known, &at),
                at,
            }
        }
        None => {
            let at = first_seen(content.changed_ago.max(content.written_ago), &now.uptime);
            Appeared { fingerprint, not_after, ours: false, seen, seen_at, earlier: Vec::new(), at }
        }
    })
}

/// Content of an earlier boot was there before this one began, and no process holds what was before
/// it. Only the time when it was seen stays.
fn in_this_boot(known: Appeared, now: &Uptime) -> Appeared {
    let earlier =
        known.earlier.into_iter().filter(|earlier| earlier.until.boot == now.boot).collect();
    let at = if known.at.boot == now.boot { known.at } else { since_boot(now, Duration::ZERO) };
    Appeared { at, earlier, ..known }
}

fn since_boot(now: &Uptime, since_boot: Duration) -> Uptime {
    Uptime { boot: now.boot.clone(), since_boot }
}

/// When the content changed, by the file's own time. `None` where that is not plausible.
fn changed_at(known: &Appeared, changed_ago: Option<Duration>, now: &Moment) -> Option<Uptime> {
    let ago = changed_ago?;
    let at = now.uptime.since_boot.saturating_sub(ago);
    if known.seen.boot != now.uptime.boot {
        let after_it_was_seen = now.at.minus(ago).plus(CLOCK_TOLERANCE) >= known.seen_at;
        return after_it_was_seen.then(|| since_boot(&now.uptime, at));
    }
    let passed = now.uptime.since_boot.checked_sub(known.seen.since_boot)?;
    let shown = now.at.seconds_since(known.seen_at);
    let clock_was_set =
        shown.abs_diff(i64::try_from(passed.as_secs()).ok()?) > CLOCK_TOLERANCE.as_secs();
    (!clock_was_set && ago <= passed + CLOCK_TOLERANCE)
        .then(|| since_boot(&now.uptime, at.max(known.seen.since_boot)))
}

/// When a content appeared that is seen for the first time ever. An implausible time must not make
/// its services stale: that needs other evidence.
fn first_seen(changed_ago: Option<Duration>, now: &Uptime) -> Uptime {
    since_boot(now, changed_ago.map_or(Duration::ZERO, |ago| now.since_boot.saturating_sub(ago)))
}

fn earlier(known: Appeared, until: &Uptime) -> Vec<Earlier> {
    let mut all = known.earlier;
    all.push(Earlier {
        fingerprint: known.fingerprint,
        not_after: known.not_after,
        until: until.clone(),
    });
    keep_last(&mut all, MAX_EARLIER);
    all
}

fn keep_last<T>(all: &mut Vec<T>, most: usize) {
    all.drain(..all.len().saturating_sub(most));
}

/// Notes a content that kubecertd replaced. The moment is one after its files were replaced.
pub fn note_replaced(memory: &mut ServiceMemory, replaced: &Replaced, now: &Moment) {
    let Replaced { content, fingerprint, not_after } = replaced;
    let known = memory.appeared.remove(content).map(|known| in_this_boot(known, &now.uptime));
    let earlier = known.map_or_else(Vec::new, |known| earlier(known, &now.uptime));
    let (at, seen, seen_at) = (now.uptime.clone(), now.uptime.clone(), now.at);
    let appeared = Appeared {
        fingerprint: fingerprint.to_string(),
        at,
        not_after: *not_after,
        ours: true,
        seen,
        seen_at,
        earlier,
    };
    memory.appeared.insert(content.clone(), appeared);
}

/// Notes the connections that were open when a new content was first seen, once for each content.
/// To be called after the contents were noted, and soon after a renewal: the sooner, the fewer of
/// those that were opened since are taken for older ones. Closed ones stay in a note: the kernel
/// gives no cookie twice.
pub fn note_connections(memory: &mut ServiceMemory, services: &[ServiceFacts]) {
    for facts in services {
        let Some(instance) = facts.presence.instance() else { continue };
        for holding in facts.holds.iter().filter(|holding| holding.takes == Takes::NewConnections) {
            memory.connections.extend(note(memory, &facts.service.name, holding, instance));
        }
    }
    keep_last(&mut memory.connections, MAX_NOTES);
}

fn note(
    memory: &ServiceMemory,
    service: &ServiceName,
    holding: &Holding,
    instance: &Instance,
) -> Option<NotedConnections> {
    let credential = &holding.credential;
    let appeared = memory.appeared(credential)?;
    let same = |note: &NotedConnections| {
        note.service == *service
            && note.credential == *credential
            && note.fingerprint == appeared.fingerprint
    };
    let open = holding.connections.as_ref().filter(|open| open.len() <= MAX_COOKIES)?;
    if !started_before(instance, appeared) || memory.connections.iter().any(same) {
        return None;
    }
    Some(NotedConnections {
        service: service.clone(),
        credential: credential.clone(),
        fingerprint: appeared.fingerprint.clone(),
        cookies: open.clone(),
        boot: instance.started.boot.clone(),
        end: appeared.held_until(&instance.started),
    })
}

/// Notes a restart. To be called, and written to disk, before it is made: a pass that is killed in
/// between makes it not at all, which raises an alarm, rather than again and again.
pub fn note_restarted(memory: &mut ServiceMemory, step: &RefreshStep, at: Timestamp) {
    let service = &step.service;
    memory.stopped.insert(service.clone(), step.instance.clone());
    for (content, fingerprint) in &step.contents {
        memory.restarted.retain(|one| one.service != *service || one.content != *content);
        let (service, content, fingerprint) =
            (service.clone(), content.clone(), fingerprint.clone());
        memory.restarted.push(Restarted { service, content, fingerprint, at });
    }
    keep_last(&mut memory.restarted, MAX_RESTARTED);
}

/// Notes the contents for which a running service accepted a request to reload.
pub fn note_reloaded(memory: &mut ServiceMemory, step: &RefreshStep) {
    for (content, fingerprint) in &step.contents {
        set_reloaded(memory, &step.service, content, fingerprint.clone());
    }
}

/// Notes for services that can't be observed: at first they are taken to use what is there, unless
/// it was put there in this very pass. To be called after the contents were noted.
pub fn note_out_of_sight(
    memory: &mut ServiceMemory,
    services: &[ServiceFacts],
    replaced: &[Replaced],
) {
    for facts in services.iter().filter(|facts| facts.presence == Presence::OutOfSight) {
        for content in facts.service.contents() {
            let known = memory
                .told
                .iter()
                .any(|told| told.service == facts.service.name && told.content == content);
            if let Some(appeared) = memory.appeared.get(&content).filter(|_| !known) {
                let just_now = replaced.iter().any(|replaced| replaced.content == content);
                let fingerprint = if just_now {
                    EARLIER_FINGERPRINT.to_owned()
                } else {
                    appeared.fingerprint.clone()
                };
                set_reloaded(memory, &facts.service.name, &content, fingerprint);
            }
        }
    }
}

/// Stands for the unknown fingerprint of an earlier certificate.
const EARLIER_FINGERPRINT: &str = "an earlier one";

fn set_reloaded(
    memory: &mut ServiceMemory,
    service: &ServiceName,
    content: &ContentName,
    fingerprint: String,
) {
    memory.told.retain(|told| told.service != *service || told.content != *content);
    memory.told.push(Told { service: service.clone(), content: content.clone(), fingerprint });
    keep_last(&mut memory.told, MAX_RESTARTED);
}

/// Removes the note of a restart that was not made: it does not count as the one restart.
pub fn forget_restarted(memory: &mut ServiceMemory, step: &RefreshStep) {
    memory.stopped.remove(&step.service);
    let is_meant = |one: &Restarted| {
        let named = |(content, fingerprint): &(ContentName, String)| {
            *content == one.content && *fingerprint == one.fingerprint
        };
        one.service == step.service && step.contents.iter().any(named)
    };
    memory.restarted.retain(|one| !is_meant(one));
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
