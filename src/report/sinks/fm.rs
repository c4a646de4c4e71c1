//! StarlingX's Fault Management, through `fmClientCli`: an alarm is a string of fifteen fields,
//! each after `###`.

use std::time::Duration;

use super::delivery::{Delivery, MessageContext, Reaction, failure};
use crate::drivers::command::{Argv, Ending, Finished, InvalidArgv};
use crate::model::{AbsolutePath, Alarm, AlarmKind};
use crate::settings::FaultManagement;

const SEPARATOR: &str = "###";

/// The longest field, in bytes.
const MAX_FIELD_BYTES: usize = 254;

/// An empty field is one space.
const EMPTY: &str = " ";

/// Fault Management's own advice to operators, to which the reason is added.
const REPAIR: &str = "Lock and unlock the host to update services with new certificates (Manually \
    renew kubernetes certificates first if renewal failed).";

pub(super) struct FaultManagementSink {
    pub limit: Duration,
    command: AbsolutePath,
}

/// One alarm of Fault Management: all alarms with one number and entity.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault<'a> {
    number: &'static str,
    entity: &'a str,
    /// In the order of kinds; the first gives text and severity.
    alarms: Vec<&'a Alarm>,
}

impl FaultManagementSink {
    pub fn new(settings: &FaultManagement) -> Self {
        Self { limit: settings.timeout.as_duration(), command: (*settings.command).clone() }
    }

    pub fn next_delivery(
        &self,
        delivered: &[Alarm],
        in_force: &[Alarm],
        _: MessageContext<'_>,
    ) -> Option<Result<Delivery, InvalidArgv>> {
        let (delivered, in_force) = (faults(delivered), faults(in_force));
        let same = |one: &Fault<'_>, other: &Fault<'_>| {
            (one.number, one.entity) == (other.number, other.entity)
        };
        if let Some(over) =
            delivered.iter().find(|fault| !in_force.iter().any(|now| same(now, fault)))
        {
            return Some(self.message("-d", over.identity(), over, &[]));
        }
        let changed = in_force.iter().find_map(|fault| {
            let known = delivered.iter().find(|known| same(known, fault));
            if known.is_some_and(|known| known.is_same_as(fault)) {
                None
            } else {
                Some((fault, known))
            }
        });
        let (fault, known) = changed?;
        let mut settles = fault.clone();
        settles.alarms.extend(known.iter().flat_map(|known| &known.alarms));
        Some(self.message("-c", fault.creation()?, &settles, &fault.alarms))
    }

    fn message(
        &self,
        option: &str,
        string: String,
        settles: &Fault<'_>,
        known: &[&Alarm],
    ) -> Result<Delivery, InvalidArgv> {
        Ok(Delivery {
            argv: Argv::new([self.command.to_string(), option.to_owned(), string])?,
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
    fn is_same_as(&self, other: &Self) -> bool {
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

/// A text as a field: on one line, cut to the limit, and without a separator, also where it meets
/// the next one.
fn field(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while text.contains(SEPARATOR) {
        text = text.replace(SEPARATOR, "");
    }
    let mut end = text.len().min(MAX_FIELD_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let text = text.trim_matches(['#', ' ']);
    if text.is_empty() { EMPTY.to_owned() } else { text.to_owned() }
}

/// Every error has the same exit code; only the texts differ.
pub(super) fn reaction(finished: &Finished) -> Reaction {
    let text = finished.output.to_string().to_ascii_lowercase();
    match finished.ending {
        Ending::Code(0) => Reaction::Delivered,
        // An alarm that does not exist need not be cleared; a creation never gets this.
        Ending::Code(255) if text.contains("not found") => Reaction::Delivered,
        Ending::Code(255) if text.contains("invalid alarm") => {
            Reaction::Rejected(failure(finished.ending, &finished.output))
        }
        ending => Reaction::Failed(failure(ending, &finished.output)),
    }
}
