//! What the journal is told of a pass: a line for each thing that was done, and for each trouble
//! when it is new.

use std::collections::BTreeMap;
use std::fmt;

use super::LastPass;
use crate::act::refresh::Refreshed;
use crate::model::{
    Alarm, AlarmEvent, AuthorityName, Awaited, CredentialName, Deferred, ServiceName, Severity,
    Timestamp,
};
use crate::pass::{PassError, Report};
use crate::report::alarms::News;
use crate::report::{Line, Message, PassId};

/// How long before something urgent a hold is worth a warning.
const WARN_BEFORE: i64 = 86_400;

/// What something is said of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Pass,
    Credential(CredentialName),
    Service(ServiceName),
    Finding(String),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Credential(name) => name.fmt(f),
            Self::Service(name) => name.fmt(f),
            Self::Finding(finding) => f.write_str(finding),
        }
    }
}

/// What was said of each thing, so that it is said again only when it changes.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<Topic, String>);

impl Said {
    /// One line for each thing that is new since the last pass.
    pub(super) fn pass(
        &mut self,
        id: PassId,
        last: &LastPass,
        report: Option<&Report>,
        clock: Timestamp,
    ) {
        let speaker = Speaker { id, report };
        let mut now = BTreeMap::new();
        for (topic, words, line) in speaker.lasting(last, clock) {
            if self.0.get(&topic) != Some(&words) {
                line.say(&words);
            }
            now.insert(topic, words);
        }
        speaker.done();
        for topic in self.0.keys().filter(|topic| !now.contains_key(*topic)) {
            speaker
                .about(Line::info(Message::Over), topic)
                .say(format_args!("{topic}: no longer so"));
        }
        self.0 = now;
    }
}

/// Says what one pass found and did.
struct Speaker<'r> {
    id: PassId,
    report: Option<&'r Report>,
}

impl Speaker<'_> {
    /// What stays so until something changes: of what, in which words, and what kind of line it is.
    fn lasting(&self, last: &LastPass, clock: Timestamp) -> Vec<(Topic, String, Line)> {
        let mut lines = Vec::new();
        let mut add = |line: Line, topic: Topic, reason: &str, words: String| {
            let line = self.about(line, &topic).reason(reason);
            lines.push((topic, words, line));
        };
        if let Some(trouble) = &last.trouble {
            add(
                Line::error(Message::PassNotMade),
                Topic::Pass,
                trouble,
                format!("pass: {trouble}"),
            );
        }
        for (name, reason) in &last.failed {
            add(
                Line::error(self.failure(name)),
                Topic::Credential(name.clone()),
                reason,
                format!("{name}: {reason}"),
            );
        }
        for (name, reason) in &last.not_refreshed {
            add(
                Line::error(Message::ServiceNotUpdated),
                Topic::Service(name.clone()),
                reason,
                format!("{name}: {reason}"),
            );
        }
        for deferred in self.report.map(|report| report.deferred.as_slice()).unwrap_or_default() {
            let name = &deferred.credential;
            add(
                waiting(deferred, clock),
                Topic::Credential(name.clone()),
                &deferred.reason,
                format!("{name} {deferred}"),
            );
        }
        for (name, reason) in &last.services_waiting {
            add(
                Line::info(Message::ServiceWaiting),
                Topic::Service(name.clone()),
                reason,
                format!("{name} waits: {reason}"),
            );
        }
        for finding in &last.findings {
            add(
                Line::warn(Message::Finding),
                Topic::Finding(finding.clone()),
                finding,
                finding.clone(),
            );
        }
        lines
    }

    /// A line for each thing that was done, once.
    fn done(&self) {
        let Some(report) = self.report else { return };
        for name in &report.recovered.finished {
            let line = self.credential(Line::warn(Message::RecoveryFinished), name);
            line.say(format_args!(
                "{name}: its renewal was cut short earlier, and is complete now"
            ));
        }
        for name in &report.recovered.dropped {
            let line = self.credential(Line::warn(Message::RecoveryDropped), name);
            line.say(format_args!(
                "{name}: its renewal was cut short earlier, and somebody else has changed its \
                 files since: they are left as they are"
            ));
        }
        for (name, result) in &report.results {
            if let Ok(renewed) = result {
                let why = report
                    .plan
                    .steps
                    .iter()
                    .find(|step| step.credential == *name)
                    .map_or("", |step| step.reason.as_str());
                let line = self
                    .credential(Line::info(Message::Renewed), name)
                    .certificate(&renewed.serial, renewed.not_after)
                    .reason(why);
                line.say(format_args!(
                    "{name}: renewed until {}, serial {}: {why}",
                    renewed.not_after, renewed.serial
                ));
            }
        }
        for (name, result) in &report.copies {
            if let Ok(renewed) = result {
                let why = report
                    .plan
                    .steps
                    .iter()
                    .find(|step| step.credential == *name)
                    .map_or("follows its original", |step| &step.reason);
                let line = self
                    .credential(Line::info(Message::Renewed), name)
                    .certificate(&renewed.serial, renewed.not_after)
                    .reason(why);
                line.say(format_args!(
                    "{name}: copied, valid until {}, serial {}: {why}",
                    renewed.not_after, renewed.serial
                ));
            }
        }
        for outcome in &report.services.outcomes {
            if let Ok(refreshed) = &outcome.result {
                let line = Line::info(how(refreshed)).pass(self.id).service(&outcome.service);
                line.say(format_args!("{}: {refreshed}", outcome.service));
            }
        }
        for note in
            report.recovered.notes.iter().chain(&report.notes).chain(&report.services.found.notes)
        {
            Line::warn(Message::Note).pass(self.id).say(note);
        }
    }

    fn about(&self, line: Line, topic: &Topic) -> Line {
        match topic {
            Topic::Pass | Topic::Finding(_) => line.pass(self.id),
            Topic::Credential(name) => self.credential(line, name),
            Topic::Service(name) => line.pass(self.id).service(name),
        }
    }

    fn credential(&self, line: Line, name: &CredentialName) -> Line {
        line.pass(self.id).credential(name, self.authority(name))
    }

    fn authority(&self, name: &CredentialName) -> Option<&AuthorityName> {
        let mut credentials =
            self.report?.before.credentials.iter().map(|judged| &judged.facts.credential);
        credentials.find(|credential| credential.name == *name)?.authority.as_ref()
    }

    fn failure(&self, name: &CredentialName) -> Message {
        let results = self.report.map(|report| report.results.as_slice()).unwrap_or_default();
        match results.iter().find(|(of, _)| of == name) {
            Some((_, Err(PassError::RolledBack { .. } | PassError::NotRolledBack { .. }))) => {
                Message::RolledBack
            }
            _ => Message::NotRenewed,
        }
    }
}

fn waiting(deferred: &Deferred, clock: Timestamp) -> Line {
    let message = if deferred.awaits == Awaited::Clock {
        Message::ClockNotBelieved
    } else {
        Message::Waiting
    };
    // Where no time helps, somebody has to.
    let calm = deferred.urgent_from.is_some_and(|from| from.seconds_since(clock) >= WARN_BEFORE);
    if calm { Line::info(message) } else { Line::warn(message) }
}

fn how(refreshed: &Refreshed) -> Message {
    match refreshed {
        Refreshed::TookIt { .. } | Refreshed::Closed { .. } => Message::ServiceTookIt,
        Refreshed::Restarted { .. } => Message::ServiceRestarted,
    }
}

/// A line for each alarm that is new or over, by what a pass found or besides.
pub(super) fn alarms(pass: Option<PassId>, news: &News) {
    let of = |line: Line| pass.into_iter().fold(line, Line::pass);
    for event in &news.events {
        let alarm = event.alarm();
        let Alarm { kind, entity, text, reason, repair, .. } = alarm;
        let severity = kind.severity();
        let line = match (event, severity) {
            (AlarmEvent::Cleared(_), _) => {
                let line = of(Line::info(Message::AlarmCleared)).alarm(alarm);
                line.say(format_args!("alarm {kind} ({entity}) is cleared: no longer so: {text}"));
                continue;
            }
            (_, Severity::Critical | Severity::Major) => Line::error(Message::AlarmRaised),
            (_, Severity::Minor | Severity::Warning) => Line::warn(Message::AlarmRaised),
        };
        let word = event.word();
        of(line).alarm(alarm).say(format_args!(
            "alarm {kind} ({entity}), {severity}, {word}: {text} {reason}. What to do: {repair}"
        ));
    }
    for note in &news.notes {
        of(Line::warn(Message::Note)).say(note);
    }
}

/// The configuration on disk is wrong; what is done instead.
pub(super) fn refused(instead: &str, trouble: &str) {
    Line::error(Message::ConfigurationRefused)
        .reason(trouble)
        .say(format_args!("the configuration is refused, and {instead}: {trouble}"));
}

/// What came of a pass, in a few words.
pub(super) fn outcome(last: &LastPass) -> String {
    if last.trouble.is_some() {
        return "could not be made".to_owned();
    }
    let counts = [
        (last.renewed.len(), "renewed"),
        (last.copied.len(), "copied"),
        (last.refreshed.len(), "refreshed"),
        (last.failed.len() + last.not_refreshed.len(), "failed"),
        (last.waiting.len() + last.services_waiting.len(), "waiting"),
    ];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") }
}
