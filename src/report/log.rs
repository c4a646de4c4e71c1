//! The journal's lines about a pass, its alarms and the daemon: one for each action, and one for
//! each failure, deferral or finding when it is new or changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::alarms::AlarmChanges;
use super::{Line, Message, PassId, PassSummary};
use crate::act::Renewed;
use crate::act::refresh::{RefreshOutcome, Refreshed};
use crate::model::{
    Alarm, AlarmEvent, AuthorityName, Awaited, CredentialName, Deferral, MembershipFinding,
    MembershipVerdict, RotationLevel, ServiceName, Severity, Timestamp,
};
use crate::pass::{Event, PassError, Report, Subject};

/// A deferral is a warning from this long before the credential is urgent.
const WARN_BEFORE_SECONDS: i64 = 86_400;

/// The subject of a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Pass,
    Credential(CredentialName),
    Service(ServiceName),
    Membership,
    Finding(String),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Credential(name) => name.fmt(f),
            Self::Service(name) => name.fmt(f),
            Self::Membership => f.write_str("the membership of this node in etcd"),
            Self::Finding(finding) => f.write_str(finding),
        }
    }
}

/// The last text about each topic, so that it is logged again only when it changes.
#[derive(Debug, Default)]
pub(super) struct PassLog(BTreeMap<Topic, String>);

impl PassLog {
    /// The log of the events of a pass that begins now.
    pub(super) fn begin_pass(&self, pass: PassId, now: Timestamp) -> PassEvents {
        PassEvents { pass, began: now, before: self.0.clone(), logged: Mutex::default() }
    }

    /// Logs each state at the end of a pass that is new since the last one and that none of its
    /// events has logged; and each one that is over.
    pub(super) fn end_pass(
        &mut self,
        events: &PassEvents,
        last: &PassSummary,
        report: Option<&Report>,
        clock: Timestamp,
    ) {
        let writer = PassWriter { id: events.pass, report };
        let mut now = BTreeMap::new();
        for (topic, text, line) in writer.lasting_lines(last, clock) {
            events.log_state(topic.clone(), &text, &line);
            now.insert(topic, text);
        }
        for topic in self.0.keys().filter(|topic| !now.contains_key(*topic)) {
            writer.about(Line::info(Message::Over), topic).log(format_args!("{topic}: resolved"));
        }
        self.0 = now;
    }
}

/// Logs the events of one pass at the moment when they happen.
#[derive(Debug, Default)]
pub struct PassEvents {
    pass: PassId,
    /// When the pass began.
    began: Timestamp,
    /// The last text about each topic before the pass.
    before: BTreeMap<Topic, String>,
    /// The last text about each topic in the pass.
    logged: Mutex<BTreeMap<Topic, String>>,
}

impl PassEvents {
    /// Logs an event: an action always, a failure or a deferral when it is new.
    pub fn log(&self, event: &Event<'_>) {
        match event {
            Event::Completed(subject) => self
                .about(Message::RecoveryFinished, subject)
                .log(format_args!("{}: its interrupted renewal was completed", subject.credential)),
            Event::Dropped(subject) => {
                self.about(Message::RecoveryDropped, subject).log(format_args!(
                    "{}: its renewal was interrupted, and another program has changed its files \
                     since: they are left as they are",
                    subject.credential
                ))
            }
            Event::Renewed { subject, renewed, reason } => {
                self.log_new_certificate(subject, renewed, "renewed until", reason);
            }
            Event::Copied { subject, renewed, reason } => {
                self.log_new_certificate(subject, renewed, "copied, valid until", reason);
            }
            Event::NotRenewed { subject, error } => {
                let message = failure_message(error);
                self.log_failure(subject, Line::error(message), &error.to_string());
            }
            Event::NotCopied { subject, error } => {
                self.log_failure(subject, Line::error(Message::NotRenewed), &error.to_string());
            }
            Event::MembershipFound(finding) => {
                let line = membership_line(finding).pass(self.pass);
                self.log_state(Topic::Membership, &finding.text, &line);
            }
            Event::Deferred { subject, deferred } => {
                let line = deferral_line(deferred, self.began)
                    .pass(self.pass)
                    .credential(subject.credential, subject.authority)
                    .reason(&deferred.reason);
                let topic = Topic::Credential(subject.credential.clone());
                self.log_state(topic, &deferral_text(deferred), &line);
            }
            Event::TurnAwaited { service, holder } => Line::info(Message::TurnAwaited)
                .pass(self.pass)
                .service(service)
                .log(format_args!("{service}: restarted after {holder} has restarted its own")),
            Event::Refreshed(outcome) => self.log_refresh(outcome),
            Event::RotationStep(step) => Line::info(Message::RotationStep)
                .pass(self.pass)
                .log(format_args!("root CA: {step}")),
            Event::RotationAgreed(from, to) if from == to => Line::info(Message::RotationLevel)
                .pass(self.pass)
                .log(format_args!("root CA: all nodes have level {to}")),
            Event::RotationAgreed(_, to) => Line::info(Message::RotationLevel)
                .pass(self.pass)
                .log(format_args!("root CA: the nodes go to level {to}")),
            Event::RotationOver(RotationLevel::Rest) => Line::info(Message::RotationOver)
                .pass(self.pass)
                .log("root CA: its replacement was undone; the old one signs as before"),
            Event::RotationOver(RotationLevel::Renewed) => Line::info(Message::RotationOver)
                .pass(self.pass)
                .log("root CA: it is renewed; all nodes have its new certificate"),
            Event::RotationOver(_) => Line::info(Message::RotationOver)
                .pass(self.pass)
                .log("root CA: it is replaced; the old one is trusted no more"),
            Event::Note(note) => Line::warn(Message::Note).pass(self.pass).log(note),
        }
    }

    /// Logs a state, unless the last pass or this one logged it in the same words.
    fn log_state(&self, topic: Topic, text: &str, line: &Line) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let last = logged.get(&topic).or_else(|| self.before.get(&topic));
        if last.is_none_or(|last| last != text) {
            line.log(text);
        }
        logged.insert(topic, text.to_owned());
    }

    fn log_failure(&self, subject: &Subject<'_>, line: Line, reason: &str) {
        let line =
            line.pass(self.pass).credential(subject.credential, subject.authority).reason(reason);
        let text = failure_text(subject.credential, reason);
        self.log_state(Topic::Credential(subject.credential.clone()), &text, &line);
    }

    fn log_new_certificate(
        &self,
        subject: &Subject<'_>,
        renewed: &Renewed,
        what: &str,
        reason: &str,
    ) {
        let (not_after, serial) = (renewed.not_after, &renewed.serial);
        Line::info(Message::Renewed)
            .pass(self.pass)
            .credential(subject.credential, subject.authority)
            .certificate(serial, not_after)
            .reason(reason)
            .log(format_args!(
                "{}: {what} {not_after}, serial {serial}: {reason}",
                subject.credential
            ));
    }

    fn log_refresh(&self, outcome: &RefreshOutcome) {
        let service = &outcome.service;
        match &outcome.result {
            Ok(refreshed) => Line::info(refresh_message(refreshed))
                .pass(self.pass)
                .service(service)
                .log(format_args!("{service}: {refreshed}")),
            Err(error) => {
                let (message, text) = match outcome.failure() {
                    Some(_) => {
                        (Line::error(Message::ServiceNotUpdated), failure_text(service, error))
                    }
                    None => (Line::info(Message::ServiceDeferred), waiting_text(service, error)),
                };
                let line = message.pass(self.pass).service(service).reason(error);
                self.log_state(Topic::Service(service.clone()), &text, &line);
            }
        }
    }

    fn about(&self, message: Message, subject: &Subject<'_>) -> Line {
        Line::warn(message).pass(self.pass).credential(subject.credential, subject.authority)
    }
}

/// Writes the lines of one pass.
struct PassWriter<'r> {
    id: PassId,
    report: Option<&'r Report>,
}

impl PassWriter<'_> {
    /// The lines about states that last until something changes, each with its topic and text.
    fn lasting_lines(&self, last: &PassSummary, clock: Timestamp) -> Vec<(Topic, String, Line)> {
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
                failure_text(name, reason),
            );
        }
        for (name, reason) in &last.not_refreshed {
            add(
                Line::error(Message::ServiceNotUpdated),
                Topic::Service(name.clone()),
                reason,
                failure_text(name, reason),
            );
        }
        let membership = self.report.and_then(|report| report.membership.as_ref());
        // A node that belongs to its cluster waits for nothing more.
        let in_doubt = |one: &&MembershipFinding| one.verdict != MembershipVerdict::Belongs;
        if let Some(finding) = membership.filter(in_doubt) {
            add(membership_line(finding), Topic::Membership, &finding.text, finding.text.clone());
        }
        for deferred in self.report.map(|report| report.deferred.as_slice()).unwrap_or_default() {
            let name = &deferred.credential;
            add(
                deferral_line(deferred, clock),
                Topic::Credential(name.clone()),
                &deferred.reason,
                deferral_text(deferred),
            );
        }
        for (name, reason) in &last.services_waiting {
            add(
                Line::info(Message::ServiceDeferred),
                Topic::Service(name.clone()),
                reason,
                waiting_text(name, reason),
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

    fn about(&self, line: Line, topic: &Topic) -> Line {
        match topic {
            Topic::Pass | Topic::Membership | Topic::Finding(_) => line.pass(self.id),
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
            Some((_, Err(error))) => failure_message(error),
            _ => Message::NotRenewed,
        }
    }
}

/// The text of a failure. A state has one text, as an event and at the end of the pass: by it is
/// known what was logged already.
fn failure_text(name: impl fmt::Display, reason: impl fmt::Display) -> String {
    format!("{name}: {reason}")
}

fn waiting_text(service: &ServiceName, reason: impl fmt::Display) -> String {
    format!("{service}: refresh deferred: {reason}")
}

fn deferral_text(deferred: &Deferral) -> String {
    format!("{}: deferred: {deferred}", deferred.credential)
}

fn membership_line(finding: &MembershipFinding) -> Line {
    match finding.verdict {
        MembershipVerdict::Belongs => Line::info(Message::Note),
        MembershipVerdict::Doubted | MembershipVerdict::Unknown => Line::warn(Message::Note),
    }
}

fn failure_message(error: &PassError) -> Message {
    match error {
        PassError::RolledBack { .. } | PassError::NotRolledBack { .. } => Message::RolledBack,
        _ => Message::NotRenewed,
    }
}

fn deferral_line(deferred: &Deferral, clock: Timestamp) -> Line {
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
        Refreshed::Reloaded { .. } | Refreshed::Closed { .. } => Message::ServiceReloaded,
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
                line.log(format_args!(
                    "alarm {kind} ({entity}) is cleared, the problem is over: \
                    {text}"
                ));
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
    Line::info(Message::ConfigurationInForce).log("the configuration was reloaded and is in force");
}

/// Logs that the daemon has started.
pub fn log_started(credentials: usize) {
    let version = env!("CARGO_PKG_VERSION");
    Line::info(Message::Started)
        .log(format_args!("kubecertd {version} manages {credentials} credentials"));
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
        .log(format_args!("the pass failed ({why}): it is retried in {seconds} s"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClockTrust, Constraints};
    use crate::pass::{ServicesReport, Survey};
    use crate::plan::Plan;
    use crate::store::Recovered;

    fn report(verdict: MembershipVerdict) -> Report {
        Report {
            recovered: Recovered::default(),
            before: Survey::default(),
            after: None,
            plan: Plan::default(),
            deferred: Vec::new(),
            constraints: Constraints {
                clock_trust: ClockTrust::Trusted,
                reasons: Vec::new(),
                refused: Vec::new(),
                long_expired: BTreeMap::new(),
            },
            membership: Some(MembershipFinding {
                verdict,
                text: "1 of 2 lists it".to_owned(),
                may_change: true,
            }),
            services: ServicesReport::default(),
            results: Vec::new(),
            copies: Vec::new(),
            written: Vec::new(),
            not_trusted: Vec::new(),
            rotation: None,
            rotation_trouble: None,
            notes: Vec::new(),
        }
    }

    /// The question is asked every ten minutes.
    #[test]
    fn membership_in_doubt_is_logged_when_it_changes() {
        for (verdict, lasts) in [
            (MembershipVerdict::Unknown, true),
            (MembershipVerdict::Doubted, true),
            (MembershipVerdict::Belongs, false),
        ] {
            let mut report = report(verdict);
            assert_eq!(report.waits_for_peers(), lasts, "{verdict:?}");
            if let Some(finding) = &mut report.membership {
                finding.may_change = false;
            }
            assert!(!report.waits_for_peers(), "asking again is of no use");
            let writer = PassWriter { id: PassId::default(), report: Some(&report) };
            let lines = writer.lasting_lines(&PassSummary::default(), Timestamp::default());
            let texts: Vec<_> = lines.iter().map(|(topic, text, _)| (topic, text)).collect();
            let text = "1 of 2 lists it".to_owned();
            let expected = [(&Topic::Membership, &text)];
            assert_eq!(texts, expected[..usize::from(lasts)], "{verdict:?}");
            let event = Event::MembershipFound(report.membership.as_ref().unwrap());
            let events = PassEvents::default();
            events.log(&event);
            let logged = events.logged.lock().unwrap();
            assert_eq!(logged.get(&Topic::Membership), Some(&text), "as at the end of the pass");
        }
    }
}
