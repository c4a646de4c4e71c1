//! Those that are told of alarms: each by itself, so that one that fails or hangs costs nobody else
//! anything.
//!
//! What each was told is remembered; what it should be told follows from comparing that with what
//! is in force. So nothing is told twice after a restart, and nothing is lost with one.

mod command;
mod fm;
mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Ledger, Line, line};
use crate::drivers::command::{Finished, InvalidArgv};
use crate::drivers::outside::{Purpose, Runner};
use crate::model::{AbsolutePath, Alarm};
use crate::observe::{Node, host_name};
use crate::settings::Settings;
use crate::sys::{Clock, Root};
use command::CommandSink;
use fm::FaultManagementSink;
use message::{Answer, Circumstances, Message};

/// The first wait after somebody could not be told.
const FIRST: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How long somebody is told things when there is no daemon to go on with it.
const AT_ONCE: Duration = Duration::from_secs(120);

enum Sink {
    FaultManagement(FaultManagementSink),
    Command(CommandSink),
}

impl Sink {
    fn all(settings: &Settings) -> Vec<Self> {
        let fm = &settings.fault_management;
        let fm = (*fm.enabled).then(|| Self::FaultManagement(FaultManagementSink::new(fm)));
        fm.into_iter()
            .chain(
                settings.alarm_commands.iter().map(|entry| Self::Command(CommandSink::new(entry))),
            )
            .collect()
    }

    /// The name under which it is remembered what it was told.
    fn name(&self) -> String {
        match self {
            Self::FaultManagement(_) => "fm".to_owned(),
            Self::Command(sink) => format!("command/{}", sink.name),
        }
    }

    fn limit(&self) -> Duration {
        match self {
            Self::FaultManagement(sink) => sink.limit,
            Self::Command(sink) => sink.limit,
        }
    }

    /// The first thing that it does not know yet.
    fn next(
        &self,
        told: &[Alarm],
        in_force: &[Alarm],
        circumstances: Circumstances<'_>,
    ) -> Option<Result<Message, InvalidArgv>> {
        match self {
            Self::FaultManagement(sink) => sink.next(told, in_force, circumstances),
            Self::Command(sink) => sink.next(told, in_force, circumstances),
        }
    }

    fn answer(&self, finished: &Finished) -> Answer {
        match self {
            Self::FaultManagement(_) => fm::answer(finished),
            Self::Command(_) => command::answer(finished),
        }
    }
}

/// Where it is written down who was told what, and how programs are run here.
struct Office {
    root: Root,
    state: AbsolutePath,
    ledger: Ledger,
    host: String,
    clock: Arc<dyn Clock>,
    runner: Runner,
}

impl Office {
    fn new(node: &Node, root: Root, ledger: &Ledger, clock: Arc<dyn Clock>) -> Self {
        // Another root folder's programs are those of this machine, and its systemd has nothing to
        // do with it.
        let runner = if node.root.is_host() { Runner::of_this_machine() } else { Runner::Child };
        let host = host_name(&node.root);
        Self {
            root,
            state: (*node.settings.paths.state).clone(),
            ledger: ledger.clone(),
            host,
            clock,
            runner,
        }
    }

    /// Tells one all that it does not know. The error says why it could not be told.
    async fn tell(&self, sink: &Sink) -> Result<(), String> {
        let name = sink.name();
        loop {
            let (state, _) = self.ledger.look(&self.root, &self.state);
            let circumstances = Circumstances { host: &self.host, now: self.clock.now() };
            let told = state.told.get(&name).map(Vec::as_slice).unwrap_or_default();
            let Some(message) = sink.next(told, &state.in_force, circumstances) else {
                return Ok(());
            };
            let message = message.map_err(|e| e.to_string())?;
            let finished = self
                .runner
                .run(&message.argv, Purpose::Alarm, &message.stdin, sink.limit())
                .await
                .map_err(|e| e.to_string())?;
            match sink.answer(&finished) {
                Answer::Told => {}
                Answer::Never(why) => {
                    let line = Line::error(super::Message::SinkNotTold).reason(&why);
                    line.say(format_args!(
                        "{name} does not take an alarm, and is not told of it again: {why}"
                    ));
                }
                Answer::Later(why) => return Err(why),
            }
            let changed = self.ledger.change(&self.root, &self.state, |now| {
                message.apply(now.told.entry(name.clone()).or_default())
            });
            changed.note.iter().for_each(line::note);
        }
    }

    /// What was told to somebody who is no longer in the configuration is forgotten.
    fn forget_others(&self, sinks: &[Sink]) {
        let names: Vec<String> = sinks.iter().map(Sink::name).collect();
        let changed = self
            .ledger
            .change(&self.root, &self.state, |now| now.told.retain(|name, _| names.contains(name)));
        changed.note.iter().for_each(line::note);
    }
}

/// All who are told of alarms, at work until the value goes away.
#[derive(Debug)]
pub struct Sinks {
    news: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// Tells everybody what he does not know yet, and again whenever there is news. The node's root
    /// folder is opened anew as `root`, since they work beside everything else.
    #[must_use]
    pub fn start(node: &Node, root: Root, ledger: &Ledger, clock: Arc<dyn Clock>) -> Self {
        let office = Arc::new(Office::new(node, root, ledger, clock));
        let sinks = Sink::all(&node.settings);
        office.forget_others(&sinks);
        let news = watch::Sender::new(());
        let serve = |sink| tokio::spawn(serve(sink, Arc::clone(&office), news.subscribe()));
        let tasks = sinks.into_iter().map(serve).collect();
        Self { news, tasks }
    }

    /// There is something new, perhaps.
    pub fn wake(&self) {
        self.news.send_replace(());
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Tells everybody once what he does not know yet, where no daemon goes on with it.
pub async fn tell_once(node: &Node, root: Root, ledger: &Ledger, clock: Arc<dyn Clock>) {
    let office = Office::new(node, root, ledger, clock);
    let sinks = Sink::all(&node.settings);
    office.forget_others(&sinks);
    for sink in &sinks {
        let told = tokio::time::timeout(AT_ONCE, office.tell(sink)).await;
        if let Err(why) =
            told.unwrap_or_else(|_| Err(format!("it takes more than {} s", AT_ONCE.as_secs())))
        {
            not_told(sink, &why, "the next pass tries again");
        }
    }
}

async fn serve(sink: Sink, office: Arc<Office>, mut news: watch::Receiver<()>) {
    let mut wait = FIRST;
    let mut said = None;
    loop {
        news.mark_unchanged();
        let pause = match office.tell(&sink).await {
            Ok(()) => {
                if said.take().is_some() {
                    Line::info(super::Message::SinkTold)
                        .say(format_args!("{} was told of all alarms", sink.name()));
                }
                wait = FIRST;
                None
            }
            Err(why) => {
                let pause = wait;
                wait = (wait * 2).min(LONGEST);
                // The same again and again would be only noise.
                if said.as_ref() != Some(&why) {
                    not_told(&sink, &why, &format!("it is tried again in {} s", pause.as_secs()));
                    said = Some(why);
                }
                Some(pause)
            }
        };
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = after(pause) => {}
        }
    }
}

fn not_told(sink: &Sink, why: &str, then: &str) {
    let line = Line::warn(super::Message::SinkNotTold).reason(why);
    line.say(format_args!("{} could not be told of alarms: {why}; {then}", sink.name()));
}

async fn after(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
