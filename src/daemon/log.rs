//! What the journal is told of a pass: a line for each thing that was done, and for each trouble when it is new.

use std::collections::BTreeMap;

use super::LastPass;
use crate::model::{Alarm, AlarmEvent, Deferred, Severity, Timestamp};
use crate::pass::Report;
use crate::report::alarms::News;

/// How long before something urgent a hold is worth a warning.
const WARN_BEFORE: i64 = 86_400;

/// What was said of each credential, so that it is said again only when it changes.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<String, String>);

impl Said {
    /// One line for each thing that is new since the last pass.
    pub(super) fn pass(&mut self, last: &LastPass, report: Option<&Report>, clock: Timestamp) {
        let mut now = BTreeMap::new();
        if let Some(trouble) = &last.trouble {
            now.insert("pass".to_owned(), trouble.clone());
        }
        for (name, reason) in &last.failed {
            now.insert(name.to_string(), reason.clone());
        }
        for (name, reason) in &last.not_refreshed {
            now.insert(name.to_string(), reason.clone());
        }
        for (key, text) in &now {
            if self.0.get(key) != Some(text) {
                tracing::error!("{key}: {text}");
            }
        }
        for deferred in report.map(|report| report.deferred.as_slice()).unwrap_or_default() {
            self.waiting(deferred, clock, &mut now);
        }
        for (name, reason) in &last.services_waiting {
            self.news(name.to_string(), format!("waits: {reason}"), &mut now, |key, text| tracing::info!("{key} {text}"));
        }
        for finding in &last.findings {
            self.news(finding.clone(), String::new(), &mut now, |finding, _| tracing::warn!("{finding}"));
        }
        if let Some(report) = report {
            say_report(report);
        }
        for name in self.0.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!("{name}: no longer so");
        }
        self.0 = now;
    }

    /// Says what was not said before.
    fn news(&self, key: String, text: String, now: &mut BTreeMap<String, String>, say: impl FnOnce(&str, &str)) {
        if self.0.get(&key) != Some(&text) {
            say(&key, &text);
        }
        now.insert(key, text);
    }

    fn waiting(&self, deferred: &Deferred, clock: Timestamp, now: &mut BTreeMap<String, String>) {
        let soon = deferred.urgent_from.is_some_and(|from| from.seconds_since(clock) < WARN_BEFORE);
        let text = deferred.to_string();
        let key = deferred.credential.to_string();
        if self.0.get(&key) != Some(&text) {
            match soon || deferred.urgent_from.is_none() {
                true => tracing::warn!("{key} {text}"),
                false => tracing::info!("{key} {text}"),
            }
        }
        now.insert(key, text);
    }
}

/// A line for each alarm that is new or over.
pub(super) fn alarms(news: &News) {
    for event in &news.events {
        let Alarm { kind, entity, text, reason, repair, .. } = event.alarm();
        let severity = kind.severity();
        match (event, severity) {
            (AlarmEvent::Cleared(_), _) => tracing::info!("alarm {kind} ({entity}) is cleared: no longer so: {text}"),
            (_, Severity::Critical | Severity::Major) => {
                tracing::error!("alarm {kind} ({entity}), {severity}, {}: {text} {reason}. What to do: {repair}", event.word());
            }
            (_, Severity::Minor | Severity::Warning) => {
                tracing::warn!("alarm {kind} ({entity}), {severity}, {}: {text} {reason}. What to do: {repair}", event.word());
            }
        }
    }
    for note in &news.notes {
        tracing::warn!("{note}");
    }
}

fn say_report(report: &Report) {
    for name in &report.recovered.finished {
        tracing::warn!("{name}: its renewal was cut short earlier, and is complete now");
    }
    for name in &report.recovered.dropped {
        tracing::warn!(
            "{name}: its renewal was cut short earlier, and somebody else has changed its files since: they are left as they are"
        );
    }
    for (name, result) in &report.results {
        if let Ok(renewed) = result {
            let why = report.plan.steps.iter().find(|step| step.credential == *name).map_or("", |step| step.reason.as_str());
            tracing::info!("{name}: renewed until {}, serial {}: {why}", renewed.not_after, renewed.serial);
        }
    }
    for outcome in &report.services.outcomes {
        if let Ok(refreshed) = &outcome.result {
            tracing::info!("{}: {refreshed}", outcome.service);
        }
    }
    for note in report.recovered.notes.iter().chain(&report.notes).chain(&report.services.found.notes) {
        tracing::warn!("{note}");
    }
}

/// What came of a pass, in a few words.
pub(super) fn outcome(last: &LastPass) -> String {
    if last.trouble.is_some() {
        return "could not be made".to_owned();
    }
    let counts = [
        (last.renewed.len(), "renewed"),
        (last.refreshed.len(), "refreshed"),
        (last.failed.len() + last.not_refreshed.len(), "failed"),
        (last.waiting.len() + last.services_waiting.len(), "waiting"),
    ];
    let counts: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") }
}
