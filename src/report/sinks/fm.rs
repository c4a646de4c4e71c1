//! StarlingX's Fault Management, through `fmClientCli`: an alarm is a string of fifteen fields,
//! each after `###`.

use std::time::Duration;

use super::message::{Answer, Circumstances, Message, badly};
use crate::drivers::command::{Argv, Ending, Finished, InvalidArgv};
use crate::model::{AbsolutePath, Alarm, AlarmKind};
use crate::settings::FaultManagement;

const SEPARATOR: &str = "###";

/// What a field may hold, in bytes.
const LONGEST: usize = 254;

/// An empty field is one space.
const EMPTY: &str = " ";

/// Fault Management's own words for what an operator should do, to which the reason is added.
const REPAIR: &str = "Lock and unlock the host to update services with new certificates (Manually \
    renew kubernetes certificates first if renewal failed).";

pub(super) struct FaultManagementSink {
    pub limit: Duration,
    command: AbsolutePath,
}

/// One alarm of Fault Management: of ours, all with the same number and entity.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault<'a> {
    number: &'static str,
    entity: &'a str,
    /// The one that comes first in the order of kinds has the word.
    alarms: Vec<&'a Alarm>,
}

impl FaultManagementSink {
    pub fn new(settings: &FaultManagement) -> Self {
        Self { limit: settings.timeout.as_duration(), command: (*settings.command).clone() }
    }

    pub fn next(
        &self,
        told: &[Alarm],
        in_force: &[Alarm],
        _: Circumstances<'_>,
    ) -> Option<Result<Message, InvalidArgv>> {
        let (told, in_force) = (faults(told), faults(in_force));
        let same = |one: &Fault<'_>, other: &Fault<'_>| {
            (one.number, one.entity) == (other.number, other.entity)
        };
        if let Some(over) = told.iter().find(|fault| !in_force.iter().any(|now| same(now, fault))) {
            return Some(self.message("-d", over.identity(), over, &[]));
        }
        let news = in_force.iter().find_map(|fault| {
            let known = told.iter().find(|known| same(known, fault));
            if known.is_some_and(|known| known.says_the_same(fault)) {
                None
            } else {
                Some((fault, known))
            }
        });
        let (fault, known) = news?;
        let mut settles = fault.clone();
        settles.alarms.extend(known.iter().flat_map(|known| &known.alarms));
        Some(self.message("-c", fault.creation()?, &settles, &fault.alarms))
    }

    fn message(
        &self,
        way: &str,
        string: String,
        settles: &Fault<'_>,
        known: &[&Alarm],
    ) -> Result<Message, InvalidArgv> {
        Ok(Message {
            argv: Argv::new([self.command.to_string(), way.to_owned(), string])?,
            stdin: Vec::new(),
            settles: settles
                .alarms
                .iter()
                .map(|alarm| (alarm.kind, alarm.entity.clone()))
                .collect(),
            known: known.iter().copied().cloned().collect(),
        })
    }
}

fn faults(alarms: &[Alarm]) -> Vec<Fault<'_>> {
    let mut faults: Vec<Fault<'_>> = Vec::new();
    for alarm in alarms {
        let Some(number) = alarm.kind.number() else { continue };
        match faults
            .iter_mut()
            .find(|fault| (fault.number, fault.entity) == (number, alarm.entity.as_str()))
        {
            Some(fault) => fault.alarms.push(alarm),
            None => faults.push(Fault { number, entity: &alarm.entity, alarms: vec![alarm] }),
        }
    }
    for fault in &mut faults {
        fault.alarms.sort_by_key(|alarm| alarm.kind);
    }
    faults
}

impl Fault<'_> {
    fn says_the_same(&self, other: &Self) -> bool {
        self.alarms.len() == other.alarms.len()
            && self.alarms.iter().zip(&other.alarms).all(|(one, other)| one.says_the_same(other))
    }

    fn identity(&self) -> String {
        format!("{SEPARATOR}{}{SEPARATOR}{}{SEPARATOR}", self.number, field(self.entity))
    }

    fn creation(&self) -> Option<String> {
        let first = self.alarms.first()?;
        let reasons =
            self.alarms.iter().map(|alarm| alarm.reason.as_str()).collect::<Vec<_>>().join("; ");
        let is_host =
            matches!(first.kind, AlarmKind::RenewalFailed | AlarmKind::ServicesNotUpdated);
        let (entity_type, alarm_type, cause) = match is_host {
            true => ("host", "operational-violation", "unspecified-reason"),
            false => {
                ("certificate", "security-service-or-mechanism-violation", "certificate-expiration")
            }
        };
        let repair =
            if is_host { format!("{REPAIR} Reason: {reasons}") } else { first.repair.clone() };
        let fields = [
            EMPTY, // uuid: it makes one
            self.number,
            "set",
            entity_type,
            &field(self.entity),
            EMPTY, // timestamp: now
            first.kind.severity().as_str(),
            &field(&first.text),
            alarm_type,
            cause,
            &field(&repair),
            "False", // service affecting
            "False", // suppression
            "False", // inhibit alarms
            "False", // keep existing alarm
        ];
        Some(format!("{SEPARATOR}{}{SEPARATOR}", fields.join(SEPARATOR)))
    }
}

/// A text as a field: on one line, cut to what fits, and without anything that could be taken for
/// the end of the field, also where it meets the next separator.
fn field(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while text.contains(SEPARATOR) {
        text = text.replace(SEPARATOR, "");
    }
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let text = text.trim_matches(['#', ' ']);
    if text.is_empty() { EMPTY.to_owned() } else { text.to_owned() }
}

/// Every error has the same exit code; only the words tell them apart.
pub(super) fn answer(finished: &Finished) -> Answer {
    let text = finished.output.to_string().to_ascii_lowercase();
    match finished.ending {
        Ending::Code(0) => Answer::Told,
        // What is not there need not be cleared; a creation is never told this.
        Ending::Code(255) if text.contains("not found") => Answer::Told,
        Ending::Code(255) if text.contains("invalid alarm") => {
            Answer::Never(badly(finished.ending, &finished.output))
        }
        ending => Answer::Later(badly(ending, &finished.output)),
    }
}
