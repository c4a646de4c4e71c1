//! Delivers alarms to sinks, each in a task of its own, so that one that fails or hangs delays no
//! other.
//!
//! The alarms that a sink knows are remembered; what is to be delivered follows from comparing them
//! with the alarms in force. So a restart neither repeats nor loses a delivery.

mod command;
mod delivery;
mod fm;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AlarmLedger, Line, line};
use crate::drivers::command::{Finished, InvalidArgv};
use crate::drivers::outside::{Purpose, Runner};
use crate::model::{AbsolutePath, Alarm};
use crate::observe::{Node, host_name};
use crate::settings::Settings;
use crate::sys::{Clock, Root};
use command::CommandSink;
use delivery::{Delivery, MessageContext, Reaction};
use fm::FaultManagementSink;

/// The wait after the first failure.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(3_600);

/// The limit for one sink where no daemon goes on with the delivery.
const ONCE_TIMEOUT: Duration = Duration::from_secs(120);

enum Sink {
    FaultManagement(FaultManagementSink),
    Command(CommandSink),
}

impl Sink {
    fn from_settings(settings: &Settings) -> Vec<Self> {
        let fm = &settings.fault_management;
        let fm = (*fm.enabled).then(|| Self::FaultManagement(FaultManagementSink::new(fm)));
        fm.into_iter()
            .chain(
                settings.alarm_commands.iter().map(|entry| Self::Command(CommandSink::new(entry))),
            )
            .collect()
    }

    /// The name under which its known alarms are remembered.
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

    /// The first message that it has not had yet.
    fn next_delivery(
        &self,
        delivered: &[Alarm],
        in_force: &[Alarm],
        context: MessageContext<'_>,
    ) -> Option<Result<Delivery, InvalidArgv>> {
        match self {
            Self::FaultManagement(sink) => sink.next_delivery(delivered, in_force, context),
            Self::Command(sink) => sink.next_delivery(delivered, in_force, context),
        }
    }

    fn reaction(&self, finished: &Finished) -> Reaction {
        match self {
            Self::FaultManagement(_) => fm::reaction(finished),
            Self::Command(_) => command::reaction(finished),
        }
    }
}

/// The memory of deliveries, and the runner of programs.
struct Deliverer {
    root: Root,
    state: AbsolutePath,
    ledger: AlarmLedger,
    host: String,
    clock: Arc<dyn Clock>,
    runner: Runner,
}

impl Deliverer {
    fn new(node: &Node, root: Root, ledger: &AlarmLedger, clock: Arc<dyn Clock>) -> Self {
        // Programs for another root run on this machine, without its systemd.
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

    /// Delivers everything that a sink does not know. The error says why it failed.
    async fn deliver(&self, sink: &Sink) -> Result<(), String> {
        let name = sink.name();
        loop {
            let (state, _) = self.ledger.read(&self.root, &self.state);
            let context = MessageContext { host: &self.host, now: self.clock.now() };
            let delivered = state.told.get(&name).map(Vec::as_slice).unwrap_or_default();
            let Some(message) = sink.next_delivery(delivered, &state.in_force, context) else {
                return Ok(());
            };
            let message = message.map_err(|e| e.to_string())?;
            let finished = self
                .runner
                .run(&message.argv, Purpose::Alarm, &message.stdin, sink.limit())
                .await
                .map_err(|e| e.to_string())?;
            match sink.reaction(&finished) {
                Reaction::Delivered => {}
                Reaction::Rejected(why) => {
                    let line = Line::error(super::Message::DeliveryFailed).reason(&why);
                    line.log(format_args!(
                        "{name} refused an alarm, which is not delivered to it again: {why}"
                    ));
                }
                Reaction::Failed(why) => return Err(why),
            }
            let changed = self.ledger.update(&self.root, &self.state, |now| {
                message.apply(now.told.entry(name.clone()).or_default())
            });
            changed.note.iter().for_each(line::log_note);
        }
    }

    /// Forgets the sinks that are no longer in the configuration.
    fn forget_others(&self, sinks: &[Sink]) {
        let names: Vec<String> = sinks.iter().map(Sink::name).collect();
        let changed = self
            .ledger
            .update(&self.root, &self.state, |now| now.told.retain(|name, _| names.contains(name)));
        changed.note.iter().for_each(line::log_note);
    }
}

/// The tasks that deliver alarms, until the value is dropped.
#[derive(Debug)]
pub struct Sinks {
    changes: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// Starts a task for each sink, which delivers now and after each [`Self::wake`]. `root` is the
    /// node's root directory, opened again for the tasks.
    #[must_use]
    pub fn start(node: &Node, root: Root, ledger: &AlarmLedger, clock: Arc<dyn Clock>) -> Self {
        let deliverer = Arc::new(Deliverer::new(node, root, ledger, clock));
        let sinks = Sink::from_settings(&node.settings);
        deliverer.forget_others(&sinks);
        let changes = watch::Sender::new(());
        let serve = |sink| tokio::spawn(serve(sink, Arc::clone(&deliverer), changes.subscribe()));
        let tasks = sinks.into_iter().map(serve).collect();
        Self { changes, tasks }
    }

    /// Wakes the tasks, since alarms may have changed.
    pub fn wake(&self) {
        self.changes.send_replace(());
    }
}

impl Sinks {
    /// Stops the tasks; a command that runs for one is killed.
    pub async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Delivers once to each sink, where no daemon goes on with it.
pub async fn deliver_once(node: &Node, root: Root, ledger: &AlarmLedger, clock: Arc<dyn Clock>) {
    let deliverer = Deliverer::new(node, root, ledger, clock);
    let sinks = Sink::from_settings(&node.settings);
    deliverer.forget_others(&sinks);
    for sink in &sinks {
        let delivered = tokio::time::timeout(ONCE_TIMEOUT, deliverer.deliver(sink)).await;
        let over = || format!("it did not finish within {} s", ONCE_TIMEOUT.as_secs());
        if let Err(why) = delivered.unwrap_or_else(|_| Err(over())) {
            log_failure(sink, &why, "the next pass tries again");
        }
    }
}

async fn serve(sink: Sink, deliverer: Arc<Deliverer>, mut changes: watch::Receiver<()>) {
    let mut wait = FIRST_RETRY_WAIT;
    let mut logged = None;
    loop {
        changes.mark_unchanged();
        let pause = match deliverer.deliver(&sink).await {
            Ok(()) => {
                if logged.take().is_some() {
                    Line::info(super::Message::DeliveryRecovered)
                        .log(format_args!("{}: all alarms were delivered", sink.name()));
                }
                wait = FIRST_RETRY_WAIT;
                None
            }
            Err(why) => {
                let pause = wait;
                wait = (wait * 2).min(MAX_RETRY_WAIT);
                // An unchanged error is logged once.
                if logged.as_ref() != Some(&why) {
                    log_failure(&sink, &why, &format!("it is retried in {} s", pause.as_secs()));
                    logged = Some(why);
                }
                Some(pause)
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

fn log_failure(sink: &Sink, why: &str, then: &str) {
    let line = Line::warn(super::Message::DeliveryFailed).reason(why);
    line.log(format_args!("{}: alarms could not be delivered: {why}; {then}", sink.name()));
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
