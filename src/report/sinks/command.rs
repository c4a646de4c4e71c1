//! A command of the site: it reads the alarm as JSON, and exit code 0 means that it was delivered.

use std::time::Duration;

use serde::Serialize;

use super::delivery::{Delivery, MessageContext, Reaction, failure};
use crate::drivers::command::{Argv, Ending, Finished, InvalidArgv};
use crate::model::{Alarm, AlarmEvent, SinkName};
use crate::report::AlarmJson;
use crate::settings::AlarmCommand;

/// The format of its input.
const FORMAT: u32 = 1;

pub(super) struct CommandSink {
    pub name: SinkName,
    pub limit: Duration,
    run: Vec<String>,
}

/// `docs/alarms.md` explains each.
#[derive(Serialize)]
struct Input<'a> {
    format: u32,
    event: &'a str,
    #[serde(flatten)]
    alarm: AlarmJson<'a>,
    at: String,
}

impl CommandSink {
    pub fn new(entry: &AlarmCommand) -> Self {
        Self {
            name: entry.name.clone(),
            limit: entry.timeout.as_duration(),
            run: entry.run.clone(),
        }
    }

    pub fn next_delivery(
        &self,
        delivered: &[Alarm],
        in_force: &[Alarm],
        context: MessageContext<'_>,
    ) -> Option<Result<Delivery, InvalidArgv>> {
        let event = first_event(delivered, in_force)?;
        Some(self.message(&event, context))
    }

    fn message(
        &self,
        event: &AlarmEvent,
        MessageContext { host, now }: MessageContext<'_>,
    ) -> Result<Delivery, InvalidArgv> {
        let alarm = event.alarm();
        let input = Input {
            format: FORMAT,
            event: event.word(),
            alarm: AlarmJson::new(alarm, Some(host)),
            at: now.to_string(),
        };
        // Texts and numbers can always be serialized.
        let mut stdin = serde_json::to_vec(&input).unwrap_or_default();
        stdin.push(b'\n');
        let known =
            if matches!(event, AlarmEvent::Cleared(_)) { Vec::new() } else { vec![alarm.clone()] };
        Ok(Delivery {
            argv: Argv::new(self.run.iter().cloned())?,
            stdin,
            settles: vec![(alarm.kind, alarm.entity.clone())],
            known,
        })
    }
}

/// The first difference. Cleared alarms come first, so that no operator acts on one of them.
fn first_event(delivered: &[Alarm], in_force: &[Alarm]) -> Option<AlarmEvent> {
    let over = delivered.iter().find(|alarm| !in_force.iter().any(|now| now.key() == alarm.key()));
    if let Some(alarm) = over {
        return Some(AlarmEvent::Cleared(alarm.clone()));
    }
    in_force.iter().find_map(|alarm| {
        match delivered.iter().find(|known| known.key() == alarm.key()) {
            None => Some(AlarmEvent::Raised(alarm.clone())),
            Some(known) if alarm.says_the_same(known) => None,
            Some(_) => Some(AlarmEvent::Changed(alarm.clone())),
        }
    })
}

pub(super) fn reaction(finished: &Finished) -> Reaction {
    match finished.ending {
        Ending::Code(0) => Reaction::Delivered,
        ending => Reaction::Failed(failure(ending, &finished.output)),
    }
}
