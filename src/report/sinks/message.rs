//! The messages to a sink, and its answers.

use crate::drivers::command::{Argv, Ending, Output};
use crate::model::{Alarm, AlarmKind, Timestamp};

/// What a sink is to be told, and what it knows when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) argv: Argv,
    pub(super) stdin: Vec<u8>,
    /// The alarms that this settles, by their keys.
    pub(super) settles: Vec<(AlarmKind, String)>,
    /// Those of them that it knows to be in force then.
    pub(super) known: Vec<Alarm>,
}

impl Message {
    pub(super) fn apply(&self, told: &mut Vec<Alarm>) {
        told.retain(|alarm| {
            !self.settles.iter().any(|(kind, entity)| alarm.key() == (*kind, entity.as_str()))
        });
        told.extend(self.known.iter().cloned());
    }
}

/// What somebody said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It knows now.
    Told,
    /// It will never take this message: why.
    Never(String),
    /// It did not take it: why. Perhaps it does later.
    Later(String),
}

/// What a message is made of besides alarms.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'c> {
    pub(super) host: &'c str,
    pub(super) now: Timestamp,
}

/// How a program ended badly, with the end of what it wrote.
pub(super) fn badly(ending: Ending, output: &Output) -> String {
    let words = output.last_words().map_or_else(String::new, |words| format!(": {words}"));
    format!("it ended with {ending}{words}")
}
