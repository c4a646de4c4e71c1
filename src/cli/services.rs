//! Formats services: one line for each credential that one uses, with the evidence that it is
//! loaded.

use anstyle::Style;

use super::out::{self, BAD, GOOD, PLAIN, QUIET, SOON};
use super::words::date;
use crate::model::{Consumer, Evidence, Freshness, Health, Presence, ServiceFacts};
use crate::pass::Services;
use crate::plan::JudgedService;

/// Whether every service uses the credential on disk, as far as that is known.
pub(super) fn all_current(services: &Services) -> bool {
    attention(services).is_empty()
}

/// Formats the table of services, and of other consumers of their credentials.
pub(super) fn table(services: &Services) -> String {
    let rows: Vec<_> = services
        .list
        .iter()
        .filter(|one| one.facts.presence != Presence::Absent)
        .flat_map(rows)
        .collect();
    let mut text = out::columns(&["SERVICE", "SINCE", "HEALTH", "CREDENTIAL", "STATE"], &rows);
    if !services.consumers.is_empty() {
        let consumers: Vec<_> = services.consumers.iter().map(consumer).collect();
        text += "\n";
        text += &out::columns(&["ALSO MOUNTED BY", "POD", "CREDENTIALS"], &consumers);
    }
    text
}

/// Formats a sentence for each service that uses an outdated credential.
pub(super) fn attention(services: &Services) -> Vec<String> {
    let stale = services.list.iter().flat_map(|one| {
        one.freshness.iter().filter_map(|(credential, freshness)| match freshness {
            Freshness::Stale(evidence) => {
                let service = &one.facts.service.name;
                Some(format!("{service}: uses an outdated {credential} ({evidence})"))
            }
            _ => None,
        })
    });
    stale.chain(services.findings.iter().map(ToString::to_string)).collect()
}

fn rows(one: &JudgedService) -> Vec<(Style, Vec<String>)> {
    let facts = &one.facts;
    let first = [facts.service.name.to_string(), since(facts), health(facts)];
    let mut rows: Vec<_> = one
        .freshness
        .iter()
        .map(|(credential, freshness)| {
            (style(freshness), vec![credential.to_string(), words(freshness)])
        })
        .collect();
    if rows.is_empty() {
        rows.push((PLAIN, vec![String::new(), String::new()]));
    }
    let with_first = |(index, (style, cells)): (usize, (Style, Vec<String>))| {
        // Only the first line shows the service itself.
        let left = if index == 0 { first.to_vec() } else { vec![String::new(); first.len()] };
        (style, [left, cells].concat())
    };
    rows.into_iter().enumerate().map(with_first).collect()
}

fn since(facts: &ServiceFacts) -> String {
    match &facts.presence {
        Presence::Running(instance) => date(instance.started_at),
        Presence::Down(_) => "down".to_owned(),
        Presence::Unknown(_) => "unknown".to_owned(),
        Presence::Absent | Presence::OutOfSight => "-".to_owned(),
    }
}

fn health(facts: &ServiceFacts) -> String {
    match &facts.health {
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy(_) => "unhealthy".to_owned(),
        Health::NotAsked => "-".to_owned(),
    }
}

fn style(freshness: &Freshness) -> Style {
    match freshness {
        Freshness::Fresh(_) => GOOD,
        Freshness::Stale(_) => BAD,
        Freshness::Lingering { .. } | Freshness::Unknown(_) => SOON,
        Freshness::ByItself => PLAIN,
        Freshness::NotRunning => QUIET,
    }
}

/// Describes the freshness in a few words.
pub(super) fn words(freshness: &Freshness) -> String {
    match freshness {
        Freshness::Fresh(Evidence::ReloadRequest) => "reload sent, unverified".to_owned(),
        Freshness::Fresh(evidence) => format!("fresh ({evidence})"),
        Freshness::Stale(evidence) => format!("stale ({evidence})"),
        Freshness::Lingering { connections, until } => {
            format!("fresh, but for {connections} open connections, closed by {}", date(*until))
        }
        Freshness::ByItself => "reloads by itself".to_owned(),
        Freshness::NotRunning => "does not run".to_owned(),
        Freshness::Unknown(reason) => format!("unknown: {reason}"),
    }
}

fn consumer(consumer: &Consumer) -> (Style, Vec<String>) {
    let credentials = consumer.uses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (PLAIN, vec![consumer.container.clone(), consumer.pod.clone(), credentials])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{
        BootId, CredentialName, Evidence, Instance, Service, ServiceKind, ServiceName, Timestamp,
        Uptime,
    };

    fn judged(
        name: &str,
        presence: Presence,
        health: Health,
        freshness: &[(&str, Freshness)],
    ) -> JudgedService {
        let kind =
            ServiceKind::StaticPod { pod: name.to_owned(), manifest: None, grace: Duration::ZERO };
        let name = ServiceName::new(name).unwrap();
        let service = Service {
            name,
            kind,
            health: None,
            essential: None,
            leader_lease: None,
            trusts: Vec::new(),
            one_certificate: None,
            uses: Vec::new(),
            ages: false,
            configured: false,
        };
        let freshness = freshness.iter().map(|(name, freshness)| {
            (CredentialName::new(*name).unwrap().into(), freshness.clone())
        });
        JudgedService {
            facts: ServiceFacts { service, presence, health, holds: Vec::new() },
            freshness: freshness.collect(),
        }
    }

    fn running() -> Presence {
        let started = Uptime { boot: BootId("boot".to_owned()), since_boot: Duration::ZERO };
        Presence::Running(Instance {
            id: "i".to_owned(),
            pid: None,
            started,
            started_at: Timestamp::default(),
            age: Duration::ZERO,
        })
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn services_are_shown_with_evidence() {
        let lingering = Freshness::Lingering { connections: 2, until: Timestamp::default() };
        let list = vec![
            judged(
                "etcd",
                Presence::Absent,
                Health::NotAsked,
                &[("etcd/server", Freshness::NotRunning)],
            ),
            judged(
                "kube-apiserver",
                running(),
                Health::Healthy,
                &[
                    ("apiserver", Freshness::Fresh(Evidence::Serves)),
                    ("apiserver-kubelet-client", lingering),
                ],
            ),
            judged(
                "kube-scheduler",
                running(),
                Health::Unhealthy("503".to_owned()),
                &[("scheduler.conf", Freshness::Stale(Evidence::Sees))],
            ),
            judged(
                "kubelet",
                Presence::Down("dead".to_owned()),
                Health::NotAsked,
                &[("kubelet-client", Freshness::NotRunning)],
            ),
        ];
        let uses = vec![CredentialName::new("admin.conf").unwrap()];
        let consumer =
            Consumer { container: "tool".to_owned(), pod: "default/tool".to_owned(), uses };
        let services = Services { list, consumers: vec![consumer], ..Services::default() };
        let expected = "\
SERVICE          SINCE                  HEALTH      CREDENTIAL                 STATE
kube-apiserver   1970-01-01 00:00 UTC   healthy     apiserver                  fresh (served \
certificate)
                                                    apiserver-kubelet-client   fresh, but for 2 \
                                                    open connections, closed by 1970-01-01 00:00 UTC
kube-scheduler   1970-01-01 00:00 UTC   unhealthy   scheduler.conf             stale (file in \
container)
kubelet          down                   -           kubelet-client             does not run

ALSO MOUNTED BY   POD            CREDENTIALS
tool              default/tool   admin.conf
";
        assert_eq!(plain(&table(&services)), expected);
        assert_eq!(
            attention(&services),
            ["kube-scheduler: uses an outdated scheduler.conf (file in container)"]
        );
        assert!(!all_current(&services));
    }
}
