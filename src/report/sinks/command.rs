//! A command of the site: it is given the alarm as JSON, and has been told when it ends well.

use std::time::Duration;

use serde::Serialize;

use super::message::{Answer, Circumstances, Message, badly};
use crate::drivers::command::{Argv, Ending, Finished, InvalidArgv};
use crate::model::{Alarm, AlarmEvent, SinkName};
use crate::report::AlarmJson;
use crate::settings::AlarmCommand;

/// The format of what it reads.
const FORMAT: u32 = 1;

pub(super) struct CommandSink {
    pub name: SinkName,
    pub limit: Duration,
    run: Vec<String>,
}

/// `docs/alarms.md` explains each.
#[derive(Serialize)]
struct Told<'a> {
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

    pub fn next(
        &self,
        told: &[Alarm],
        in_force: &[Alarm],
        circumstances: Circumstances<'_>,
    ) -> Option<Result<Message, InvalidArgv>> {
        let event = first_news(told, in_force)?;
        Some(self.message(&event, circumstances))
    }

    fn message(
        &self,
        event: &AlarmEvent,
        Circumstances { host, now }: Circumstances<'_>,
    ) -> Result<Message, InvalidArgv> {
        let alarm = event.alarm();
        let words = Told {
            format: FORMAT,
            event: event.word(),
            alarm: AlarmJson::new(alarm, Some(host)),
            at: now.to_string(),
        };
        // Texts and numbers: nothing of it can fail to be written.
        let mut stdin = serde_json::to_vec(&words).unwrap_or_default();
        stdin.push(b'\n');
        let known =
            if matches!(event, AlarmEvent::Cleared(_)) { Vec::new() } else { vec![alarm.clone()] };
        Ok(Message {
            argv: Argv::new(self.run.iter().cloned())?,
            stdin,
            settles: vec![(alarm.kind, alarm.entity.clone())],
            known,
        })
    }
}

/// What is over is told first, so that nobody runs for something that is no longer so.
fn first_news(told: &[Alarm], in_force: &[Alarm]) -> Option<AlarmEvent> {
    let over = told.iter().find(|alarm| !in_force.iter().any(|now| now.key() == alarm.key()));
    if let Some(alarm) = over {
        return Some(AlarmEvent::Cleared(alarm.clone()));
    }
    in_force.iter().find_map(|alarm| match told.iter().find(|known| known.key() == alarm.key()) {
        None => Some(AlarmEvent::Raised(alarm.clone())),
        Some(known) if alarm.says_the_same(known) => None,
        Some(_) => Some(AlarmEvent::Changed(alarm.clone())),
    })
}

pub(super) fn answer(finished: &Finished) -> Answer {
    match finished.ending {
        Ending::Code(0) => Answer::Told,
        ending => Answer::Later(badly(ending, &finished.output)),
    }
}
