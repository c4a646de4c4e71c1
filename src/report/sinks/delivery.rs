//! The messages to a sink, and its reactions.

use crate::drivers::command::{Argv, Ending, Output};
use crate::model::{Alarm, AlarmKind, Timestamp};

/// A message to a sink, and the alarms that the sink knows after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) argv: Argv,
    pub(super) stdin: Vec<u8>,
    /// The keys of the alarms that it is about.
    pub(super) settles: Vec<(AlarmKind, String)>,
    /// Those of them that the sink then knows to be in force.
    pub(super) known: Vec<Alarm>,
}

impl Delivery {
    pub(super) fn apply(&self, delivered: &mut Vec<Alarm>) {
        delivered.retain(|alarm| {
            !self.settles.iter().any(|(kind, entity)| alarm.key() == (*kind, entity.as_str()))
        });
        delivered.extend(self.known.iter().cloned());
    }
}

/// The reaction of a sink to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It took the message.
    Delivered,
    /// It will never take this message, for this reason.
    Rejected(String),
    /// It did not take it, for this reason; it may later.
    Failed(String),
}

/// The contents of a message besides alarms.
#[derive(Clone, Copy)]
pub(super) struct MessageContext<'c> {
    pub(super) host: &'c str,
    pub(super) now: Timestamp,
}

/// How a program failed, with the last line of its output.
pub(super) fn failure(ending: Ending, output: &Output) -> String {
    let text = output.last_words().map_or_else(String::new, |text| format!(": {text}"));
    format!("it failed with {ending}{text}")
}
