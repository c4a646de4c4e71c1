//! The journal's lines about a pass, its alarms and the daemon: one for each action, and one for
//! each failure, deferral or finding when it is new or changes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::alarms::AlarmChanges;
use super::{LastPass, Line, Message, PassId};
use crate::act::refresh::Refreshed;
use crate::model::{
    Alarm, AlarmEvent, AuthorityName, Awaited, CredentialName, Deferred, ServiceName, Severity,
    Timestamp,
};
use crate::pass::{PassError, Report};

/// A deferral is a warning from this long before the credential is urgent.
const WARN_BEFORE_SECONDS: i64 = 86_400;

/// The subject of a line.
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

/// The last text about each topic, so that it is logged again only when it changes.
#[derive(Debug, Default)]
pub(super) struct PassLog(BTreeMap<Topic, String>);

impl PassLog {
    /// Logs each action of a pass, and each state that is new since the last pass.
    pub(super) fn log_pass(
        &mut self,
        id: PassId,
        last: &LastPass,
        report: Option<&Report>,
        clock: Timestamp,
    ) {
        let writer = PassWriter { id, report };
        let mut now = BTreeMap::new();
        for (topic, text, line) in writer.lasting_lines(last, clock) {
            if self.0.get(&topic) != Some(&text) {
                line.log(&text);
            }
            now.insert(topic, text);
        }
        writer.log_actions();
        for topic in self.0.keys().filter(|topic| !now.contains_key(*topic)) {
            writer
                .about(Line::info(Message::Over), topic)
                .log(format_args!("{topic}: no longer so"));
        }
        self.0 = now;
    }
}

/// Writes the lines of one pass.
struct PassWriter<'r> {
    id: PassId,
    report: Option<&'r Report>,
}

impl PassWriter<'_> {
    /// The lines about states that last until something changes, each with its topic and text.
    fn lasting_lines(&self, last: &LastPass, clock: Timestamp) -> Vec<(Topic, String, Line)> {
        let mut lines = Vec::new();
        let mut add = |line: Line, topic: Topic, reason: &str, text: String| {
            let line = self.about(line, &topic).reason(reason);
            lines.push((topic, text, line));
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
                Line::error(self.failure_message(name)),
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
                deferral_line(deferred, clock),
                Topic::Credential(name.clone()),
                &deferred.reason,
                format!("{name} {deferred}"),
            );
        }
        for (name, reason) in &last.services_waiting {
            add(
                Line::info(Message::ServiceDeferred),
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

    /// Logs each action once.
    fn log_actions(&self) {
        let Some(report) = self.report else { return };
        for name in &report.recovered.finished {
            let line = self.credential(Line::warn(Message::RecoveryFinished), name);
            line.log(format_args!(
                "{name}: its renewal was cut short earlier, and is complete now"
            ));
        }
        for name in &report.recovered.dropped {
            let line = self.credential(Line::warn(Message::RecoveryDropped), name);
            line.log(format_args!(
                "{name}: its renewal was cut short earlier, and another program has changed \
                 its files since: they are left as they are"
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
                line.log(format_args!(
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
                line.log(format_args!(
                    "{name}: copied, valid until {}, serial {}: {why}",
                    renewed.not_after, renewed.serial
                ));
            }
        }
        for outcome in &report.services.outcomes {
            if let Ok(refreshed) = &outcome.result {
                let line =
                    Line::info(refresh_message(refreshed)).pass(self.id).service(&outcome.service);
                line.log(format_args!("{}: {refreshed}", outcome.service));
            }
        }
        for note in
            report.recovered.notes.iter().chain(&report.notes).chain(&report.services.found.notes)
        {
            Line::warn(Message::Note).pass(self.id).log(note);
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

    fn failure_message(&self, name: &CredentialName) -> Message {
        let results = self.report.map(|report| report.results.as_slice()).unwrap_or_default();
        match results.iter().find(|(of, _)| of == name) {
            Some((_, Err(PassError::WentBack { .. } | PassError::NotBack { .. }))) => {
                Message::RolledBack
            }
            _ => Message::NotRenewed,
        }
    }
}

fn deferral_line(deferred: &Deferred, clock: Timestamp) -> Line {
    let message = if deferred.awaits == Awaited::Clock {
        Message::ClockNotTrusted
    } else {
        Message::Deferred
    };
    // Without a time from which it is urgent, an operator has to act.
    let calm =
        deferred.urgent_from.is_some_and(|from| from.seconds_since(clock) >= WARN_BEFORE_SECONDS);
    if calm { Line::info(message) } else { Line::warn(message) }
}

fn refresh_message(refreshed: &Refreshed) -> Message {
    match refreshed {
        Refreshed::TookIt { .. } | Refreshed::Closed { .. } => Message::ServiceReloaded,
        Refreshed::Restarted { .. } => Message::ServiceRestarted,
    }
}

/// Logs the changes of alarms, after a pass or without one.
pub(super) fn log_alarms(pass: Option<PassId>, changes: &AlarmChanges) {
    let of = |line: Line| pass.into_iter().fold(line, Line::pass);
    for event in &changes.events {
        let alarm = event.alarm();
        let Alarm { kind, entity, text, reason, repair, .. } = alarm;
        let severity = kind.severity();
        let line = match (event, severity) {
            (AlarmEvent::Cleared(_), _) => {
                let line = of(Line::info(Message::AlarmCleared)).alarm(alarm);
                line.log(format_args!("alarm {kind} ({entity}) is cleared: no longer so: {text}"));
                continue;
            }
            (_, Severity::Critical | Severity::Major) => Line::error(Message::AlarmRaised),
            (_, Severity::Minor | Severity::Warning) => Line::warn(Message::AlarmRaised),
        };
        let word = event.word();
        of(line).alarm(alarm).log(format_args!(
            "alarm {kind} ({entity}), {severity}, {word}: {text} {reason}. What to do: {repair}"
        ));
    }
    for note in &changes.notes {
        of(Line::warn(Message::Note)).log(note);
    }
}

/// Logs that the configuration on disk is refused. `instead` says which one is in force.
pub fn log_configuration_refused(instead: &str, trouble: &str) {
    Line::error(Message::ConfigurationRefused)
        .reason(trouble)
        .log(format_args!("the configuration is refused, and {instead}: {trouble}"));
}

/// Logs that a configuration was read again and is in force.
pub fn log_configuration_in_force() {
    Line::info(Message::ConfigurationInForce)
        .log("the configuration was read again and is in force");
}

/// Logs that the daemon has started.
pub fn log_started(credentials: usize) {
    let version = env!("CARGO_PKG_VERSION");
    Line::info(Message::Started)
        .log(format_args!("kubecertd {version} looks after {credentials} credentials"));
}

/// Logs that the daemon stops.
pub fn log_stopped() {
    Line::info(Message::Stopped).log("kubecertd ends");
}

/// Logs that a pass begins.
pub(super) fn log_pass_begun(pass: PassId, why: &str) {
    Line::debug(Message::PassBegun)
        .pass(pass)
        .reason(why)
        .log(format_args!("a pass begins: {why}"));
}

/// Logs that a pass failed and is made again.
pub(super) fn log_retry(pass: PassId, why: &str, wait: Duration) {
    let seconds = wait.as_secs();
    Line::warn(Message::PassFailed)
        .pass(pass)
        .log(format_args!("the pass failed ({why}): it is tried again in {seconds} s"));
}
